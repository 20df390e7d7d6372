import CFuse
import CasherSystem
import Glibc
import Synchronization

/// libfuse's session: the connection to the kernel and the threads that serve it.
final class Session: @unchecked Sendable {  // the pointers are set once; libfuse locks what they lead to
  let raw: OpaquePointer
  private let context: UnsafeMutablePointer<cfuse_context>
  private let isOpen = Mutex(true)
  private let passthrough = Mutex<PassthroughState?>(nil)
  /// For `disconnect`, which must not fail for want of a descriptor.
  private var ended: Int32 = -1

  /// `owner` must outlive the session.
  init?(options: [UInt8], owner: Overlay, wantsPassthrough: Bool, stackDepth: UInt32) {
    let context = UnsafeMutablePointer<cfuse_context>.allocate(capacity: 1)
    context.initialize(to: cfuse_context())
    context.pointee.owner = Unmanaged.passUnretained(owner).toOpaque()
    context.pointee.wants_passthrough = wantsPassthrough ? 1 : 0
    context.pointee.wants_killpriv = 1
    context.pointee.stack_depth = stackDepth
    guard cfuse_prepare(context, Int32(clamping: Session.threadsThatRun)) == 0 else {
      context.deallocate()
      return nil
    }
    let words: [[UInt8]] = [Array("casherfs".utf8), Array("-o".utf8), options]
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { word in FilePath(word).withCString { strdup($0) } }
    defer { for argument in arguments { free(argument) } }
    let made = arguments.withUnsafeMutableBufferPointer { buffer -> OpaquePointer? in
      var list = fuse_args(argc: Int32(buffer.count), argv: buffer.baseAddress, allocated: 0)
      defer { fuse_opt_free_args(&list) }
      var operations = Bridge.operations
      return fuse_session_new(&list, &operations, MemoryLayout<fuse_lowlevel_ops>.size, context)
    }
    guard let made else {
      context.deallocate()
      return nil
    }
    raw = made
    self.context = context
  }

  deinit { context.deallocate() }

  /// Two at least: one answers while the other is told of what was closed.
  private static let threadsThatRun = max(2, sysconf(Int32(_SC_NPROCESSORS_ONLN)))

  /// Mounts; the kernel's first request waits until `loop` is called.
  func mount(at directory: FilePath) -> Bool {
    ended = cfuse_ended_descriptor()
    guard ended >= 0, directory.withCString({ fuse_session_mount(raw, $0) }) == 0 else { return false }
    return cfuse_install(raw, fuse_session_fd(raw)) == 0
  }

  /// Mounts where no path leads; the descriptor of the root keeps the mount.
  func mountDetached() throws(Errno) -> FileDescriptor {
    ended = cfuse_ended_descriptor()
    guard ended >= 0 else { throw Errno.current }
    let device = try FileDescriptor.open("/dev/fuse", O_RDWR)
    let root: FileDescriptor
    do throws(Errno) { root = try DetachedMount.fuse(device: device) } catch {
      device.close()
      throw error
    }
    guard cfuse_install(raw, device.rawValue) == 0 else {
      root.close()
      device.close()
      throw .invalid
    }
    return root
  }

  /// Serves until the mount is gone or `exit` was called; 0 or a negated error number.
  func loop(threads: Int, idle: Int) -> Int32 {
    cfuse_loop(raw, UInt32(clamping: threads), UInt32(clamping: idle))
  }

  /// Lets the threads end after their present requests; the loop's thread must be woken besides. The loop may have come out
  /// by itself meanwhile, and the session be freed.
  func exit() { isOpen.withLock { if $0 { fuse_session_exit(raw) } } }

  /// Closes the connection: whoever waits for an answer gets an error. The mount is not taken away by that.
  func disconnect() {
    isOpen.withLock { $0 = false }
    cfuse_disconnect(raw, ended)
    ended = -1
  }

  /// Frees everything. Nobody may use the session any more.
  func destroy() {
    if ended >= 0 { close(ended) }
    fuse_session_destroy(raw)
  }

  /// Makes the kernel ask for the node's attributes at their next use. Unlike every other notification it waits for
  /// nothing that a request may hold: it may be sent by the thread that serves a request about the node.
  func forgetAttributes(of node: Node) {
    fuse_lowlevel_notify_inval_inode(raw, node.identifier, -1, 0)
  }

  /// Makes the kernel look every name up again at its next use; false where it cannot be told so.
  func forgetNames() -> Bool { isOpen.withLock { $0 && cfuse_forget_names(raw) == 0 } }

  // MARK: passthrough

  /// Whether the kernel has agreed to what this process speaks: from then on requests are served.
  var isNegotiated: Bool { cfuse_is_negotiated(context) != 0 }

  /// Whether the kernel lets this process give it files to read and write by itself; tried once, with a file in memory.
  var usesPassthrough: Bool { passthroughState == .works }

  var passthroughState: PassthroughState {
    passthrough.withLock { known in
      if let known { return known }
      let state = tryPassthrough()
      known = state
      return state
    }
  }

  private func tryPassthrough() -> PassthroughState {
    guard context.pointee.wants_passthrough != 0 else { return .notWanted }
    guard cfuse_has_passthrough(context) != 0 else { return .unknownToKernel }
    do throws(Errno) {
      let file = try FileDescriptor.anonymous("casher-trial")
      defer { file.close() }
      let id = registerBacking(file)
      guard id > 0 else { return .refused(Errno(rawValue: -id)) }
      closeBacking(id)
      return .works
    } catch { return .refused(error) }
  }

  /// The id of a descriptor, which may be O_PATH, as a backing file; or a negated error number.
  ///
  /// The kernel opens such a file anew for every open of the mount's file, without asking what this process may do: who is
  /// no root has to have opened it for itself as well (`Request.openLower`).
  func registerBacking(_ descriptor: FileDescriptor) -> Int32 {
    if SystemAdministration.isLent, !PassthroughFiles.mayBeLent(descriptor) { return -EPERM }
    return isOpen.withLock { isOpen in
      isOpen ? SystemAdministration.using { cfuse_backing_open(raw, descriptor.rawValue) } : -ENODEV
    }
  }

  func closeBacking(_ id: Int32) {
    isOpen.withLock { if $0 { SystemAdministration.using { cfuse_backing_close(raw, id) } } }
  }
}
