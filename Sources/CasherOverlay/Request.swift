import CFuse
import CasherSystem
import Glibc

/// One request of the kernel, served on the thread it arrived on. Exactly one reply is sent for each.
struct Request {
  let raw: fuse_req_t
  let overlay: Overlay
  let user: UInt32
  let group: UInt32
  /// Thread id of the caller in this process's pid namespace; 0 when the kernel acts for itself.
  let thread: Int32
  /// The caller's file creation mask, where it has not been applied by the kernel.
  let mask: UInt32

  typealias CName = UnsafePointer<CChar>
  typealias Info = UnsafeMutablePointer<fuse_file_info>

  /// Calls `body` with the request and the node it is about; what it throws is the reply.
  static func serve(
    _ raw: fuse_req_t?, _ operation: Operation, _ id: fuse_ino_t, _ name: CName? = nil,
    _ body: (Request, Node) throws(Errno) -> Void
  ) {
    guard let raw, let overlay = Overlay.serving(raw) else { return }
    overlay.requests.count(operation)
    if overlay.configuration.keepsAwake { RequestPace.shared.tick() }
    let context = fuse_req_ctx(raw)?.pointee ?? fuse_ctx()
    let request = Request(
      raw: raw, overlay: overlay, user: context.uid, group: context.gid, thread: context.pid,
      mask: overlay.hasAccessLists ? context.umask & 0o777 : 0)
    let node = overlay.node(id)
    if overlay.configuration.trace { request.trace(operation, node, name) }
    do throws(Errno) { try body(request, node) } catch {
      if overlay.configuration.trace { request.trace("  \(operation): \(error)") }
      fuse_reply_err(raw, error.rawValue)
    }
  }

  func actor(_ view: View) -> Actor { Actor(view: view, thread: thread, user: user, group: group) }

  func succeed() { fuse_reply_err(raw, 0) }

  /// The recorder, when it is to be told of a change made through any view.
  var changeRecorder: (any Recorder)? { overlay.recorder.isIdle ? nil : overlay.recorder }

  /// The recorder, when it is to be told of what is looked at in the view.
  func lookRecorder(_ view: View) -> (any Recorder)? {
    overlay.isRecorded(view) && !overlay.recorder.isIdle ? overlay.recorder : nil
  }

  /// Does something as the user who asks, so that what is made belongs to that user. The kernel has checked the
  /// permissions before, with supplementary groups; they are only looked up where lower does not grant it without, and
  /// for set-group-id in `mode`, which only a member of the file's group may give it.
  func asCaller<Result>(making mode: UInt32 = 0, _ body: () throws(Errno) -> Result) throws(Errno) -> Result {
    guard overlay.switchesUsers, user != 0 || group != 0 else { return try body() }
    if mode & 0o2000 != 0, let groups = Credentials.groups(ofThread: thread) {
      return try Credentials.actingAs(user: user, group: group, groups: groups, body)
    }
    do throws(Errno) {
      return try Credentials.actingOnFilesAs(user: user, group: group, body)
    } catch {
      guard error == .accessDenied || error == .notPermitted, let groups = Credentials.groups(ofThread: thread) else {
        throw error
      }
      return try Credentials.actingAs(user: user, group: group, groups: groups, body)
    }
  }

  /// Makes something as the caller, with the caller's file creation mask. `body` gets the mode to make it with.
  func makeAsCaller<Result>(
    _ mode: UInt32, _ body: (UInt32) throws(Errno) -> Result
  ) throws(Errno) -> Result {
    try FileCreationMask.with(mask, mode) { mode throws(Errno) in
      try asCaller(making: mode) { () throws(Errno) in try body(mode) }
    }
  }

  private func trace(_ operation: Operation, _ node: Node, _ name: CName?) {
    var line = "\(operation) \(node.view.isMain ? "" : "[\(node.view.token.description.prefix(8))] ")\(node.path)"
    if let name { line += " '\(FilePath(cString: name))'" }
    trace(line + " thread=\(thread) user=\(user)")
  }

  private func trace(_ line: String) { try? FileDescriptor.standardError.writeAll(Array((line + "\n").utf8)) }
}

extension Overlay {
  /// The overlay that a request is for.
  static func serving(_ request: fuse_req_t) -> Overlay? { serving(session: fuse_req_userdata(request)) }

  static func serving(session: UnsafeMutableRawPointer?) -> Overlay? {
    guard let context = session?.assumingMemoryBound(to: cfuse_context.self), let owner = context.pointee.owner
    else { return nil }
    return Unmanaged<Overlay>.fromOpaque(owner).takeUnretainedValue()
  }

  /// The node of an id that the kernel sends. It sends only what it was given and has not forgotten.
  func node(_ id: fuse_ino_t) -> Node {
    guard id != fuse_ino_t(FUSE_ROOT_ID), let address = UnsafeRawPointer(bitPattern: UInt(truncatingIfNeeded: id))
    else {
      return mainRoot
    }
    return Unmanaged<Node>.fromOpaque(address).takeUnretainedValue()
  }

  // MARK: what the kernel may keep

  static let forEver = 1e6

  func entryTimeout(_ node: Node) -> Double {
    if node.inode.role != .ordinary { return Overlay.forEver }
    if !node.view.isRecorded { return recorder.observesMainView ? 0 : configuration.timeout }
    // Each use of a file's name in a recorded view has to be seen; of a directory's the first is enough.
    return node.isDirectory ? directoryTimeout : 0
  }

  /// How long directories of a recorded view are kept. What others do to one of a mount is told; of the root it is not.
  private var directoryTimeout: Double { configuration.isDetached ? configuration.timeout : Overlay.forEver }

  /// Whether what is looked at in the view is to be told.
  func isRecorded(_ view: View) -> Bool { view.isRecorded || recorder.observesMainView }

  func attributeTimeout(_ node: Node) -> Double {
    if node.isDirectory && node.view.isRecorded { return directoryTimeout }
    return node.inode.hasUnsettledAttributes ? 0 : configuration.timeout
  }

  // MARK: telling other views

  /// A name of the directory has changed through `view`.
  func didChange(_ name: Request.CName, in directory: Inode, through view: View, _ change: NameChange) {
    directory.didChangeNames()
    let others = table.nodes(of: directory, except: view)
    if others.isEmpty { return }
    let name = FilePath(cString: name)
    notifier.send(others.map { .entry($0, name, change) })
  }

  func didChangeAttributes(of inode: Inode, through view: View?) {
    notifier.send(table.nodes(of: inode, except: view).map { .attributes($0) })
  }

  func didChangeContent(of inode: Inode, offset: Int64 = 0, length: Int64 = 0, through view: View) {
    notifier.send(table.nodes(of: inode, except: view).map { .content($0, offset: offset, length: length) })
  }
}
