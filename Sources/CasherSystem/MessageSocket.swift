import CLinux
import Glibc

/// A connected Unix stream socket that carries messages: a little-endian UInt32 length, then that many bytes, with up
/// to four file descriptors beside the first byte.
public struct MessageSocket: Sendable {
  public let descriptor: FileDescriptor

  public init(_ descriptor: FileDescriptor) { self.descriptor = descriptor }

  /// Longest path that fits a socket address (unix(7)).
  private static let addressLimit = 107

  /// Connects to the socket at `path`, however long the path is. The corresponding C function is `connect`.
  public static func connect(to path: FilePath) throws(Errno) -> MessageSocket {
    let socket = try makeSocket()
    do throws(Errno) {
      try withAddress(of: path) { address, size throws(Errno) in
        _ = try check("connect") { Glibc.connect(socket.rawValue, address, size) }
      }
    } catch {
      socket.close()
      throw error
    }
    return MessageSocket(socket)
  }

  /// Listens at `path`, which must not exist. The corresponding C functions are `bind` and `listen`.
  public static func listen(at path: FilePath) throws(Errno) -> FileDescriptor {
    let socket = try makeSocket()
    do throws(Errno) {
      try withAddress(of: path) { address, size throws(Errno) in
        _ = try check("bind") { Glibc.bind(socket.rawValue, address, size) }
      }
      try check("listen") { Glibc.listen(socket.rawValue, 512) }
    } catch {
      socket.close()
      throw error
    }
    return socket
  }

  /// Waits for the next connection. The corresponding C function is `accept4`.
  public static func accept(on listener: FileDescriptor) throws(Errno) -> MessageSocket {
    let socket = try check("accept") { Glibc.accept(listener.rawValue, nil, nil) }
    _ = casher_fcntl(socket, F_SETFD, Int(FD_CLOEXEC))
    return MessageSocket(FileDescriptor(rawValue: socket))
  }

  /// The process at the other end when it connected (SO_PEERCRED).
  public func peer() throws(Errno) -> (process: Int32, user: UInt32, group: UInt32) {
    var process: pid_t = 0
    var user: uid_t = 0
    var group: gid_t = 0
    try check("getsockopt") { casher_peer_credentials(descriptor.rawValue, &process, &user, &group) }
    return (process, user, group)
  }

  /// The supplementary groups of the process at the other end when it connected (SO_PEERGROUPS).
  public func peerGroups() throws(Errno) -> [UInt32] {
    // What a process can have at most (NGROUPS_MAX); few have more than some.
    for room in [64, 65536] {
      var groups = [gid_t](repeating: 0, count: room)
      var count = Int32(room)
      do throws(Errno) {
        try check("getsockopt") { casher_peer_groups(descriptor.rawValue, &groups, &count) }
      } catch {
        if error.rawValue == ERANGE && room == 64 { continue }
        throw error
      }
      return groups.prefix(Int(count)).map { UInt32($0) }
    }
    return []
  }

  /// Sends one message. A peer that has gone is EPIPE, never a signal.
  public func send(_ bytes: [UInt8], descriptors: [FileDescriptor] = []) throws(Errno) {
    guard let count = UInt32(exactly: bytes.count) else { throw .invalid }
    var message: [UInt8] = []
    message.reserveCapacity(bytes.count + 4)
    withUnsafeBytes(of: count.littleEndian) { message.append(contentsOf: $0) }
    message.append(contentsOf: bytes)
    let numbers = descriptors.map(\.rawValue)
    var sent = try check("sendmsg") {
      message.withUnsafeBytes {
        casher_send_with_fds(descriptor.rawValue, $0.baseAddress, $0.count, numbers, Int32(numbers.count))
      }
    }
    while sent < message.count {
      let from = sent
      sent += try check("sendmsg") {
        message.withUnsafeBytes {
          casher_send_with_fds(descriptor.rawValue, $0.baseAddress?.advanced(by: from), $0.count - from, nil, 0)
        }
      }
    }
  }

  /// Receives one message; nil when the peer has closed. A message longer than `limit` bytes is EMSGSIZE.
  public func receive(limit: Int) throws(Errno) -> (bytes: [UInt8], descriptors: [FileDescriptor])? {
    var descriptors: [FileDescriptor] = []
    var header = [UInt8](repeating: 0, count: 4)
    do throws(Errno) {
      guard try fill(&header, &descriptors) else { return nil }
      let length = Int(header[0]) | Int(header[1]) << 8 | Int(header[2]) << 16 | Int(header[3]) << 24
      guard length <= limit else { throw Errno(rawValue: EMSGSIZE) }
      var body = [UInt8](repeating: 0, count: length)
      guard try fill(&body, &descriptors) else { throw Errno(rawValue: ECONNRESET) }
      return (body, descriptors)
    } catch {
      for descriptor in descriptors { descriptor.close() }
      throw error
    }
  }

  public func close() { descriptor.close() }

  /// Fills the buffer; false when the peer closed before the first byte.
  private func fill(_ buffer: inout [UInt8], _ descriptors: inout [FileDescriptor]) throws(Errno) -> Bool {
    var filled = 0
    while filled < buffer.count {
      var numbers: [Int32] = [-1, -1, -1, -1]
      var count: Int32 = 0
      let from = filled
      let size = try check("recvmsg") {
        buffer.withUnsafeMutableBytes {
          casher_receive_with_fds(
            descriptor.rawValue, $0.baseAddress?.advanced(by: from), $0.count - from, &numbers, &count)
        }
      }
      descriptors += numbers.prefix(Int(count)).map { FileDescriptor(rawValue: $0) }
      if size == 0 {
        if filled == 0 { return false }
        throw Errno(rawValue: ECONNRESET)
      }
      filled += size
    }
    return true
  }

  private static func makeSocket() throws(Errno) -> FileDescriptor {
    FileDescriptor(
      rawValue: try check("socket") {
        Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      })
  }

  /// A path that is too long for an address is reached through a descriptor of its directory.
  static func withAddress(
    of path: FilePath, _ body: (UnsafePointer<sockaddr>, socklen_t) throws(Errno) -> Void
  ) throws(Errno) {
    var reachable = path
    var directory: FileDescriptor?
    if path.bytes.count > addressLimit {
      // From two directories up, so that a tracer still sees whose socket it is (`isSocket(_:reachedBy:)`).
      let opened = try FileDescriptor.open(path.parent.parent, Int32(CASHER_O_PATH) | O_DIRECTORY)
      directory = opened
      reachable = opened.procPath.appending(path.parent.lastComponent).appending(path.lastComponent)
    }
    defer { directory?.close() }
    guard reachable.bytes.count <= addressLimit else { throw .nameTooLong }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: reachable.bytes) }
    let outcome = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer -> Errno? in
        do throws(Errno) { try body(pointer, socklen_t(MemoryLayout<sockaddr_un>.size)) } catch { return error }
        return nil
      }
    }
    if let outcome { throw outcome }
  }

  /// Whether `address` is what `connect(to: path)` uses where `path` is too long for an address: a descriptor in
  /// /proc and the last two components.
  public static func isSocket(_ path: FilePath, reachedBy address: FilePath) -> Bool {
    guard path.bytes.count > addressLimit, address.lastComponent == path.lastComponent,
      address.parent.lastComponent == path.parent.lastComponent
    else { return false }
    return address.parent.parent.parent == "/proc/self/fd"
  }
}
