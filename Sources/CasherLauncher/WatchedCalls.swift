import CasherRecord
import CasherSystem
import CasherTracer
import Glibc

/// What a command that has a view of the root does besides using files: the calls that a tracer would have told of.
///
/// A socket is found by its inode, and in the view a path stands for another inode than on the machine; so a socket that is
/// connected to is shown there as it is.
final class WatchedCalls {
  private let watch: CallWatch
  private let trusted: [FilePath]
  private(set) var isOpen = true
  private var findings: [Finding] = []
  /// Sockets that the command has bound.
  private var own: Set<FilePath> = []
  /// Of the sockets of the machine that were shown to a namespace, which those are.
  private var shown: [Place: InodeKey] = [:]

  private struct Place: Hashable {
    var namespace: InodeKey
    var path: FilePath
  }

  /// What forbids storing, with the process and all it descends from.
  private struct Finding {
    var obstacle: Uncacheable
    /// The socket, where it is one with a path or an abstract name.
    var socket: FilePath?
    var lineage: [Int32]
  }

  /// `trusted` are Unix sockets that do not count.
  init(_ watch: CallWatch, trusting trusted: [FilePath]) {
    self.watch = watch
    self.trusted = trusted
  }

  var waitsFor: PollItem? { isOpen ? .reading(watch.listener) : nil }

  /// Looks at one call and lets it through.
  func proceed(_ item: PollItem) {
    guard isOpen else { return }
    // Nobody is watched any more.
    if item.isHungUp { return close() }
    guard let call = watch.receive() else { return }
    look(at: call)
    watch.letThrough(call)
  }

  func close() {
    if isOpen { watch.close() }
    isOpen = false
  }

  /// What forbids storing what a process and its descendants did, each once; of all when nil.
  func obstacles(of process: Int32? = nil) -> [Uncacheable] {
    var result: [Uncacheable] = []
    for finding in findings where process.map({ finding.lineage.contains($0) }) ?? true {
      if let socket = finding.socket, own.contains(socket) { continue }
      if !result.contains(finding.obstacle) { result.append(finding.obstacle) }
    }
    return result.sorted { $0.sentence < $1.sentence }
  }

  // MARK: one call

  private func look(at call: CallWatch.Notification) {
    let arguments = call.arguments
    switch call.call {
    case .connect, .bind: address(call, at: arguments[1], length: arguments[2])
    case .send: address(call, at: arguments[4], length: arguments[5])
    case .sendMessage: message(call, at: arguments[1])
    case .sendMessages:
      for index in 0..<min(arguments[2] & 0xffff_ffff, WatchedCalls.mostMessages) {
        message(call, at: arguments[1] &+ index &* WatchedCalls.messageStride)
      }
    case .accept:
      guard let family = call.family(ofSocket: arguments[0]), WatchedCalls.isNetwork(family) else { return }
      note(.network("a network socket that others connect to"), of: call)
    case .ioUring: note(.outsideUnobserved("the command reads and writes through io_uring"), of: call)
    case .openByHandle: privileged(.outsideUnobserved("the command opens files by handle"), call)
    case .mount:
      let propagation: UInt64 = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20
      if arguments[3] & propagation != 0 || isNeverCounting(call, at: arguments[1]) { return }
      changeOfMounts(.outsideUnobserved("the command mounts filesystems"), call)
    case .changeMounts: changeOfMounts(.outsideUnobserved("the command unmounts or moves filesystems"), call)
    case .enterNamespace:
      privileged(.outsideUnobserved("the command changes what its paths mean (setns)"), call)
    case .foreign:
      note(.outsideUnobserved("a program for another kind of machine makes calls that are not understood"), of: call)
    }
  }

  /// As many messages of sendmmsg(2) are looked at, and this far apart they are.
  private static let mostMessages: UInt64 = 64
  private static let messageStride: UInt64 = 64

  private func message(_ call: CallWatch.Notification, at place: UInt64) {
    // struct msghdr begins with the address and its length.
    guard let header = call.memory(at: place, count: 12), header.count == 12 else { return }
    let length = UInt64(header[8]) | UInt64(header[9]) << 8
    let start = header[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    if start != 0, length != 0 { address(call, at: start, length: length) }
  }

  private func address(_ call: CallWatch.Notification, at place: UInt64, length: UInt64) {
    let size = Int(min(length & 0xffff_ffff, 128))
    guard size >= 2, let bytes = call.memory(at: place, count: size), bytes.count >= 2, watch.isValid(call) else {
      return
    }
    let family = Int32(bytes[0]) | Int32(bytes[1]) << 8
    if family == AF_UNIX {
      unixSocket(call, Array(bytes.dropFirst(2)))
    } else if WatchedCalls.isNetwork(family), call.call != .bind {
      note(.network(WatchedCalls.description(family, bytes)), of: call)
    }
  }

  /// Not those that ask the kernel alone, or nobody.
  private static func isNetwork(_ family: Int32) -> Bool {
    ![AF_UNIX, AF_UNSPEC, AF_NETLINK, WatchedCalls.cryptography].contains(family)
  }

  /// AF_ALG.
  private static let cryptography: Int32 = 38

  private static func description(_ family: Int32, _ bytes: [UInt8]) -> String {
    let port = bytes.count >= 4 ? Int(bytes[2]) << 8 | Int(bytes[3]) : 0
    if family == AF_INET, bytes.count >= 8 { return bytes[4..<8].map { "\($0)" }.joined(separator: ".") + ":\(port)" }
    if family == AF_INET6, bytes.count >= 24 {
      var text = [CChar](repeating: 0, count: 64)
      let isWritten = bytes[8..<24].withUnsafeBytes { inet_ntop(AF_INET6, $0.baseAddress, &text, 64) != nil }
      let name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      if isWritten { return "[\(name)]:\(port)" }
    }
    return "a network address (family \(family))"
  }

  // MARK: Unix sockets

  private func unixSocket(_ call: CallWatch.Notification, _ name: [UInt8]) {
    guard let first = name.first else { return }
    if first == 0 {
      let socket = FilePath([UInt8(ascii: "@")] + name.dropFirst())
      if call.call == .bind { own.insert(socket) } else { note(.network("\(socket)"), socket: socket, of: call) }
      return
    }
    var path = FilePath(name.prefix { $0 != 0 })
    if trusted.contains(where: { $0 == path || MessageSocket.isSocket($0, reachedBy: path) }) { return }
    if !path.isAbsolute {
      guard let directory = try? FileDescriptor.workingDirectory.readLink(FilePath("/proc/\(call.thread)/cwd")) else {
        return
      }
      path = directory.appending(path)
    }
    if call.call == .bind {
      own.insert(WatchedCalls.canonical(path))
      return
    }
    // As this process sees it, which is as the machine has it.
    guard let real = try? path.canonical(),
      let status = try? FileDescriptor.workingDirectory.status(of: real), status.type == .socket
    else { return }
    if own.contains(real) { return }
    show(real, status.key, call)
    if TraceParser.harmlessSockets.contains(path) || trusted.contains(real) { return }
    note(.network("\(path)"), socket: real, of: call)
  }

  private static func canonical(_ path: FilePath) -> FilePath {
    ((try? path.parent.canonical()) ?? path.parent).appending(path.lastComponent)
  }

  private func show(_ path: FilePath, _ socket: InodeKey, _ call: CallWatch.Notification) {
    guard !OutsidePaths.neverCounting.contains(where: { path.isWithin($0) }),
      let space = try? FileDescriptor.workingDirectory.statusOfTarget(of: FilePath("/proc/\(call.thread)/ns/mnt"))
    else { return }
    let place = Place(namespace: space.key, path: path)
    if shown[place] == socket { return }
    // Without it the connection is refused, which the command can tell of.
    do throws(Errno) {
      try call.showOwn(path)
      shown[place] = socket
    } catch {}
  }

  private func isNeverCounting(_ call: CallWatch.Notification, at place: UInt64) -> Bool {
    guard let bytes = call.memory(at: place, count: 64) else { return false }
    let path = FilePath(bytes.prefix { $0 != 0 })
    return OutsidePaths.neverCounting.contains { path.isWithin($0) }
  }

  // MARK: findings

  /// A nested call makes mounts too, which are known.
  private func changeOfMounts(_ obstacle: Uncacheable, _ call: CallWatch.Notification) {
    let program = try? FileDescriptor.workingDirectory.readLink(FilePath("/proc/\(call.thread)/exe"))
    if program == nil || program != WatchedCalls.ownProgram { privileged(obstacle, call) }
  }

  private static let ownProgram = try? FileDescriptor.workingDirectory.readLink("/proc/self/exe")

  /// Of a call that fails without the privilege.
  private func privileged(_ obstacle: Uncacheable, _ call: CallWatch.Notification) {
    if ThreadStatus(of: call.thread)?.mayAdministrate ?? true { note(obstacle, of: call) }
  }

  private func note(_ obstacle: Uncacheable, socket: FilePath? = nil, of call: CallWatch.Notification) {
    findings.append(Finding(obstacle: obstacle, socket: socket, lineage: WatchedCalls.lineage(of: call.thread)))
  }

  /// The process of a thread, and the processes that it descends from.
  private static func lineage(of thread: Int32) -> [Int32] {
    var result = [thread]
    if let process = ThreadStatus(of: thread)?.process, process != thread { result.append(process) }
    while result.count < 256, let last = result.last, let entry = ProcessEntry(of: last), entry.parent > 1 {
      result.append(entry.parent)
    }
    return result
  }
}
