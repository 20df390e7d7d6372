import CFuse
import CLinux
import CasherSystem
import Glibc
import Synchronization

/// A request of the kernel, to be answered exactly once.
struct Request: @unchecked Sendable {  // libfuse lets any thread answer
  let pointer: fuse_req_t
  let overlay: Overlay

  /// Nil when libfuse calls without a request, which it never does.
  init?(_ pointer: fuse_req_t?) {
    guard let pointer, let context = fuse_req_userdata(pointer) else { return nil }
    self.pointer = pointer
    overlay = Unmanaged<Overlay>.fromOpaque(context).takeUnretainedValue()
  }

  var context: fuse_ctx { fuse_req_ctx(pointer)?.pointee ?? fuse_ctx() }

  func actor(_ view: View) -> Actor {
    let context = context
    return Actor(view: view, thread: context.pid, user: context.uid, group: context.gid)
  }

  /// Counts and traces it.
  func note(_ operation: Operation, _ node: Node? = nil, _ name: FilePath? = nil) {
    overlay.counts.add(operation)
    guard overlay.configuration.trace else { return }
    let context = context
    var line = "\(operation) thread=\(context.pid) user=\(context.uid)"
    if let node {
      line += " view=\(node.view.isMain ? "main" : String(node.view.token.description.prefix(8))) path=\(node.path)"
    }
    if let name { line += " name=\(name)" }
    try? FileDescriptor.standardError.writeAll(Array((line + "\n").utf8))
  }

  // MARK: answers

  func fail(_ error: Errno) { fuse_reply_err(pointer, error.rawValue) }
  func succeed() { fuse_reply_err(pointer, 0) }

  /// Answers with what `body` does, or with the error it throws.
  func answer(_ body: () throws(Errno) -> Void) {
    do throws(Errno) { try body() } catch { fail(error) }
  }

  // MARK: as the caller

  /// Makes the caller the owner of what is created. The kernel has checked the caller's permissions already
  /// (default_permissions); a directory that only a supplementary group may write needs those groups too.
  func asCaller<Result>(_ body: () throws(Errno) -> Result) throws(Errno) -> Result {
    let context = context
    guard overlay.isRoot, context.uid != 0 || context.gid != 0 else { return try body() }
    do throws(Errno) {
      return try Credentials.actingAs(user: context.uid, group: context.gid, groups: [], body)
    } catch {
      guard error == .accessDenied || error == .notPermitted else { throw error }
      let groups = CallerGroups.groups(ofThread: context.pid)
      return try Credentials.actingAs(user: context.uid, group: context.gid, groups: groups, body)
    }
  }
}

/// Supplementary groups of a thread (/proc/TID/status, proc(5)).
enum CallerGroups {
  static func groups(ofThread thread: Int32) -> [UInt32] {
    guard let file = try? FileDescriptor.open(FilePath("/proc/\(thread)/status"), O_RDONLY) else { return [] }
    defer { file.close() }
    guard let bytes = try? file.readAll(limit: 1 << 16) else { return [] }
    for line in bytes.split(separator: UInt8(ascii: "\n")) where line.starts(with: "Groups:".utf8) {
      return line.dropFirst(7).split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        .compactMap { UInt32(String(decoding: $0, as: UTF8.self)) }
    }
    return []
  }
}

extension Overlay {
  /// The node of an id that the kernel sent; ids are addresses of nodes that its table keeps until the kernel has
  /// forgotten them.
  func node(_ id: fuse_ino_t) -> Node? {
    if id == 1 { return mainView.root }
    guard let pointer = UnsafeRawPointer(bitPattern: UInt(id)) else { return nil }
    return Unmanaged<Node>.fromOpaque(pointer).takeUnretainedValue()
  }
}

/// A file that a process has open.
final class FileHandle: Sendable {
  let node: Node
  let isWritable: Bool
  let flags: Int32
  /// The lower file: open from the begin without passthrough, else when first needed.
  private let descriptor: Mutex<Int32>
  /// Owners of POSIX locks that were set through this handle.
  let lockOwners = Mutex<Set<UInt64>>([])

  init(node: Node, flags: Int32, descriptor: Int32) {
    self.node = node
    self.flags = flags
    isWritable = flags & O_ACCMODE != O_RDONLY
    self.descriptor = Mutex(descriptor)
  }

  deinit {
    descriptor.withLock { if $0 >= 0 { _ = close($0) } }
  }

  /// The lower file, opened in the handle's mode.
  func opened() throws(Errno) -> Int32 {
    let known = descriptor.withLock { $0 }
    if known >= 0 { return known }
    let fresh = try node.inode.withDescriptor { descriptor throws(Errno) in
      try descriptor.reopen(isWritable ? O_RDWR : O_RDONLY).rawValue
    }
    return descriptor.withLock { descriptor in
      if descriptor >= 0 { _ = close(fresh) } else { descriptor = fresh }
      return descriptor
    }
  }

  var token: UInt64 { UInt64(UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque())) }

  /// The handle that a request names.
  static func of(_ info: UnsafeMutablePointer<fuse_file_info>?) -> FileHandle? {
    guard let info, let pointer = UnsafeRawPointer(bitPattern: UInt(info.pointee.fh)) else { return nil }
    return Unmanaged<FileHandle>.fromOpaque(pointer).takeUnretainedValue()
  }
}
