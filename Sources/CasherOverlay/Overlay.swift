import CFuse
import CLinux
import CasherSystem
import Glibc
import Synchronization

/// A directory mounted over itself: a FUSE filesystem that passes everything through to the directory beneath and tells
/// a `Recorder` what happens in it.
public final class Overlay: Sendable {
  public struct Configuration: Sendable {
    /// Absolute and without symlinks.
    public var directory: FilePath
    /// Seconds for which the main view's names and attributes are cached.
    public var timeout: Double = 1
    public var wantsPassthrough = true
    public var maxThreads: UInt32 = 16
    public var idleThreads: UInt32 = 3
    /// A line for each request, to stderr.
    public var trace = false
    /// Most descriptors of lower's files to hold; nil for what the process may have.
    public var descriptorLimit: Int?

    public init(directory: FilePath) { self.directory = directory }
  }

  public let configuration: Configuration
  /// The directory beneath the mount (O_PATH), opened before it was mounted over.
  public let rootDescriptor: FileDescriptor
  /// Name of the views' directory in every view's root; never listed.
  public let viewsDirectory: FilePath = ".casher-views"

  let recorder: any Recorder
  let inodes: InodeTable
  let mainView: View
  let notifier = Notifier()
  let locks = LockTable()
  let counts = RequestCounters()
  let isRoot = geteuid() == 0
  private let rootInode: Inode
  private let views = Mutex<[FilePath: View]>([:])
  private let passthrough = Atomic<UInt8>(0)
  private let deviceNumber = Atomic<UInt64>(0)
  private let session = Mutex<SessionState>(SessionState())

  private struct SessionState: @unchecked Sendable {  // the pointers are used under the lock or by the loop's owner
    var pointer: OpaquePointer?
    var thread: pthread_t?
    var isStopping = false
  }

  /// Opens the directory; nothing is mounted yet.
  public init(configuration: Configuration, recorder: any Recorder) throws(OverlayError) {
    self.configuration = configuration
    self.recorder = recorder
    let directory = configuration.directory
    do throws(Errno) {
      if try MountEntry.top(at: directory)?.isCasher == true { throw Errno(rawValue: EALREADY) }
      rootDescriptor = try FileDescriptor.open(directory, Int32(CASHER_O_PATH) | O_DIRECTORY)
      // Whether it can be read shows only when it is opened for that.
      try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY).close()
    } catch {
      throw Overlay.describe(error, directory)
    }
    let limit = configuration.descriptorLimit ?? DescriptorLimit.raise() / 2
    inodes = InodeTable(pool: DescriptorPool(limit: limit))
    let status: FileStatus
    do throws(Errno) { status = try rootDescriptor.status() } catch { throw Overlay.describe(error, directory) }
    rootInode = Inode(root: rootDescriptor, key: status.key, pool: inodes.pool)
    rootInode.state.withLock { $0.nodes = 1 << 20 }  // never released
    mainView = View(token: FilePath([]), attachment: nil)
    mainView.setUp(rootInode, viewsDirectory, inodes)
  }

  private static func describe(_ error: Errno, _ directory: FilePath) -> OverlayError {
    switch error {
    case .noSuchFile: OverlayError(.missing, directory, error)
    case .notDirectory: OverlayError(.notDirectory, directory, error)
    case .accessDenied, .notPermitted: OverlayError(.unreadable, directory, error)
    case Errno(rawValue: EALREADY): OverlayError(.alreadyMounted, directory, error)
    case Errno(rawValue: EBUSY): OverlayError(.busy, directory, error)
    default: OverlayError(.failed, directory, error)
    }
  }

  /// Whether reads and writes go to the lower files without passing through this process.
  ///
  /// Tried once, when INIT has been answered: registering a backing file needs CAP_SYS_ADMIN in the initial user
  /// namespace.
  public var usesPassthrough: Bool {
    let state = Passthrough(rawValue: passthrough.load(ordering: .relaxed)) ?? .unavailable
    guard state == .untried else { return state == .works }
    let file = casher_memfd_create("casher-probe", 1)
    defer { if file >= 0 { _ = close(file) } }
    let backing = casher_fuse_backing_open(inodes.pool.device, file)
    if backing > 0 { _ = casher_fuse_backing_close(inodes.pool.device, backing) }
    passthrough.store((backing > 0 ? Passthrough.works : .unavailable).rawValue, ordering: .relaxed)
    return backing > 0
  }

  /// The device number that files show in the mount; nil before it is mounted.
  public var device: UInt64? {
    let number = deviceNumber.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }

  // MARK: mounting and serving

  /// Mounts, as root by mount(2), as another user through fusermount3. Requests wait until `serve`.
  public func mount() throws(OverlayError) {
    do throws(Errno) { try FileDescriptor.open("/dev/fuse", O_RDWR).close() } catch {
      if error == .noSuchFile || error == .accessDenied || error == .notPermitted || error.rawValue == ENODEV {
        throw OverlayError(.noDevice, configuration.directory, error)
      }
    }
    umask(0)
    var operations = Operations.table()
    let context = Unmanaged.passUnretained(self).toOpaque()
    let created = FuseArguments.with(["casherfs", "-o" + mountOptions]) { arguments in
      fuse_session_new(arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size, context)
    }
    guard let created else { throw OverlayError(.failed, configuration.directory) }
    let result = configuration.directory.withCString { fuse_session_mount(created, $0) }
    guard result == 0 else {
      let error = Errno.current
      fuse_session_destroy(created)
      let code: OverlayError.Code =
        error == .notPermitted || error == .accessDenied ? .notPermitted : error.rawValue == EBUSY ? .busy : .failed
      throw OverlayError(code, configuration.directory, error)
    }
    let device = fuse_session_fd(created)
    inodes.pool.device = device
    if configuration.wantsPassthrough, casher_fuse_install_io(created, device) == 0 {
      canPassThrough.store(true, ordering: .relaxed)
    }
    session.withLock { $0.pointer = created }
    if let entry = try? MountEntry.top(at: configuration.directory) {
      deviceNumber.store(entry.device, ordering: .relaxed)
    }
    do throws(Errno) { try notifier.start(created) } catch {
      throw OverlayError(.failed, configuration.directory, error)
    }
  }

  private let canPassThrough = Atomic<Bool>(false)

  /// Called by INIT when the kernel can do it too.
  var wantsPassthrough: Bool { canPassThrough.load(ordering: .relaxed) }
  func acceptPassthrough() { passthrough.store(Passthrough.untried.rawValue, ordering: .relaxed) }

  private enum Passthrough: UInt8 { case unavailable, untried, works }

  private var mountOptions: String {
    // libfuse's option parser takes a backslash before a comma or a backslash (fuse_opt.h).
    var source = ""
    for character in String(decoding: configuration.directory.bytes, as: UTF8.self) {
      if character == "," || character == "\\" { source.append("\\") }
      source.append(character)
    }
    var options = "default_permissions,subtype=casherfs,fsname=\(source)"
    if isRoot {
      options += ",allow_other,suid,dev"
    } else if FuseConfiguration.allowsOthers {
      options += ",allow_other"
    }
    return options
  }

  /// Answers requests until the mount is gone or `stop` was called; then nothing is mounted any more.
  public func serve() {
    guard let session = session.withLock({ $0.pointer }) else { return }
    let isStopping = self.session.withLock { state -> Bool in
      state.thread = pthread_self()
      return state.isStopping
    }
    WakingSignal.prepare()
    if !isStopping { _ = casher_fuse_loop(session, configuration.maxThreads, configuration.idleThreads) }
    notifier.stop()
    self.session.withLock {
      $0.pointer = nil
      $0.thread = nil
    }
    if (try? MountEntry.top(at: configuration.directory))??.isCasher == true { detach() }
    fuse_session_destroy(session)
  }

  /// Ends `serve`, in whichever thread it runs, although the mount may be in use.
  public func stop() {
    detach()
    session.withLock { state in
      state.isStopping = true
      guard let pointer = state.pointer else { return }
      fuse_session_exit(pointer)
      if let thread = state.thread { pthread_kill(thread, WakingSignal.number) }
    }
  }

  /// Unmounts; false when the mount is in use. `serve` returns after that.
  @discardableResult
  public func unmount() -> Bool { Unmounting.unmount(configuration.directory, lazily: false) }

  private func detach() { _ = Unmounting.unmount(configuration.directory, lazily: true) }

  // MARK: views

  /// A new view, reached as `viewsDirectory/token` below any view's root.
  public func makeView(token: FilePath, attachment: (any AnyObject & Sendable)?) -> View {
    let view = View(token: token, attachment: attachment)
    view.setUp(rootInode, viewsDirectory, inodes)
    views.withLock { $0[token] = view }
    return view
  }

  public func view(token: FilePath) -> View? { views.withLock { $0[token] } }

  /// Takes the view out of the views' directory. Processes still in it keep working.
  public func retire(_ view: View) {
    views.withLock { $0[view.token] = nil }
    for other in allViews { if let directory = other.viewsNode { notifier.invalidate(view.token, in: directory) } }
    retired.withLock { $0.append(view) }
  }

  /// Views that the kernel may still know nodes of.
  private let retired = Mutex<[View]>([])

  /// Every view that the kernel may know nodes of.
  var allViews: [View] {
    let (old, forgotten) = retired.withLock { retired -> ([View], [View]) in
      let forgotten = retired.filter { $0.isForgotten }
      if !forgotten.isEmpty { retired.removeAll { view in forgotten.contains { $0 === view } } }
      return (retired, forgotten)
    }
    for view in forgotten { view.tearDown() }
    return [mainView] + views.withLock { Array($0.values) } + old
  }

  /// Waits until the view has no handle open for writing; false after `timeoutNanoseconds`.
  public func waitForWriters(in view: View, timeoutNanoseconds: Int64) -> Bool {
    view.waitForWriters(timeout: timeoutNanoseconds)
  }

  public func pathsOpenForWriting(in view: View) -> [FilePath] { view.pathsOpenForWriting }

  /// The inode when some view has a node of it.
  public func inode(for key: InodeKey) -> Inode? { inodes.inode(of: key) }

  // MARK: what the kernel must no longer believe

  /// For changes made to lower by other ways than requests: in all views.
  public func invalidateEntry(_ name: FilePath, inDirectory key: InodeKey) { entryChanged(name, in: key, except: nil) }

  public func invalidateInode(_ key: InodeKey) { inodeChanged(key, data: true, except: nil) }

  /// Waits until every invalidation so far has reached the kernel.
  public func flushNotifications() { notifier.flush() }

  /// Names and attributes of a directory have changed through `view`.
  func entryChanged(_ name: FilePath, in directory: InodeKey, except view: View?) {
    for other in allViews where other !== view {
      guard let node = other.node(of: directory) else { continue }
      notifier.invalidate(name, in: node)
      notifier.invalidate(node, data: false)
    }
  }

  func inodeChanged(_ key: InodeKey, data: Bool, except view: View?) {
    for other in allViews where other !== view {
      if let node = other.node(of: key) { notifier.invalidate(node, data: data) }
    }
  }

  /// Numbers for people who look at a running mount.
  public var counters: [(name: String, value: UInt64)] {
    let views = allViews
    return [
      ("views", UInt64(views.count)), ("nodes", UInt64(views.reduce(0) { $0 + $1.nodeCount })),
      ("inodes", UInt64(inodes.count)), ("descriptors", UInt64(max(0, inodes.pool.count))),
    ] + counts.all
  }
}
