import CFuse
import CasherSystem
import Glibc
import Synchronization

/// A directory mounted over itself: one tree, seen through the main view and through the views of runs.
public final class Overlay: Sendable {
  public let configuration: Configuration
  /// Where it is mounted, absolute and without symlinks.
  public let directory: FilePath
  /// Lower's root (O_PATH), opened before the mount.
  public let rootDescriptor: FileDescriptor
  public let mainView = View(token: FilePath([]), attachment: nil)
  let recorder: any Recorder
  let table: InodeTable
  public let placements: Placements
  let rootInode: Inode
  let viewsInode: Inode
  let mainRoot: Node
  let notifier = Notifier()
  let locks = LockTable()
  /// In place of `locks`, where files are locked by who is in no view too.
  let lowerLocks: LowerLocks?
  /// RELEASE requests that are being served.
  let releasesUnderWay = Atomic<Int>(0)
  let listings: DirectoryListings
  let requests = Counters()
  /// Whether requests are carried out as the user who makes them.
  let switchesUsers: Bool
  /// Whether lower has access lists (acl(5)).
  let hasAccessLists: Bool
  let viewsCName: EntryName
  /// What the journal held when it was opened.
  let journalled: PlacementJournal.Content
  private let views = Mutex<[FilePath: View]>([:])
  private let life = Monitor(Life())
  private let connection: Connection
  private let deviceNumber = Atomic<UInt64>(0)
  /// What keeps a detached mount.
  private let detachedRoot = Mutex<FileDescriptor?>(nil)

  private struct Life {
    var isMounted = false
    var loopThread: ThreadReference?
    var isStopping = false
    var end: EndReason?
  }

  /// Holds the session while there is one. A box of its own, because the descriptor pool needs it too.
  final class Connection: Sendable {
    private let session = Mutex<Session?>(nil)
    var current: Session? {
      get { session.withLock { $0 } }
      set { session.withLock { $0 = newValue } }
    }
  }

  /// Opens lower; nothing is mounted yet.
  public init(configuration: Configuration, recorder: any Recorder) throws(OverlayError) {
    self.configuration = configuration
    self.recorder = recorder
    listings = DirectoryListings(timeout: configuration.timeout)
    let root: FileDescriptor
    let status: (status: FileStatus, birth: Int64)
    do throws(Errno) {
      root = try FileDescriptor.open(configuration.directory, OpenFlags.path | O_DIRECTORY)
    } catch { throw OverlayError(opening: configuration.directory, error) }
    do throws(Errno) {
      try FileDescriptor.open(configuration.directory, O_RDONLY | O_DIRECTORY).close()
      let lower = try FileDescriptor.workingDirectory.readLink(root.procPath)
      directory = configuration.mountPoint ?? lower
      status = configuration.isDetached ? try root.statusAndMount(of: "") : try root.statusAndBirth(of: "")
    } catch {
      root.close()
      throw OverlayError(opening: configuration.directory, error)
    }
    let present: FilePath?
    do throws(Errno) { present = try MountTable.top(at: directory)?.type } catch {
      root.close()
      throw OverlayError(.failed, directory, cause: error)
    }
    if present == (configuration.isDetached ? Overlay.viewType : Overlay.mountType) {
      root.close()
      throw OverlayError(.alreadyMounted, directory)
    }
    var journal: PlacementJournal?
    var journalled = PlacementJournal.Content()
    if let path = configuration.journal {
      do throws(Errno) {
        (journal, journalled) = try PlacementJournal.open(
          at: path, copy: configuration.journalCopy, isSynchronous: configuration.synchronizesJournal)
      } catch {
        root.close()
        throw OverlayError(.unreadable, path, cause: error)
      }
    }
    rootDescriptor = root
    self.journalled = journalled
    switchesUsers = geteuid() == 0
    let nothing = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    do throws(Errno) {
      _ = try root.attributeOfPath("system.posix_acl_access", into: nothing)
      hasAccessLists = true
    } catch { hasAccessLists = error == .noData }
    lowerLocks = configuration.isDetached ? LowerLocks() : nil
    viewsCName = configuration.viewsName.withCString { EntryName(copying: $0) }
    let limit = ProcessLimits.raiseDescriptorLimit()
    let connection = Connection()
    self.connection = connection
    // The rest is for open directories, open files, sockets and the store.
    let capacity = configuration.descriptorLimit ?? min(limit / 2, 262_144)
    let pool = DescriptorPool(capacity: capacity) { connection.current?.closeBacking($0) }
    let home = status.status.key.device & 0xffff_ffff
    table = InodeTable(
      root: root, pool: pool, blobs: configuration.blobs,
      identities: configuration.isDetached ? Identities(home: home) : Identities())
    placements = Placements(blobs: configuration.blobs, journal: journal)
    rootInode = Inode(
      key: status.status.key, birth: Inode.birthBits(status.birth), type: .directory, role: .root, table: table)
    viewsInode = Inode(
      key: InodeKey(device: .max, inode: .max), birth: 0, type: .directory, role: .viewsDirectory, table: table)
    table.addPermanent(rootInode)
    table.addPermanent(viewsInode)
    mainRoot = table.special(rootInode, in: mainView)
  }

  deinit {
    rootDescriptor.close()
    viewsCName.free()
  }

  static let mountType: FilePath = "fuse.casherfs"
  /// The type of a detached mount, in the mount tables of those who are in one of its views.
  static let viewType: FilePath = "fuse.casherfs-view"

  // MARK: the mount

  /// Mounts the directory over itself and begins to serve it.
  public func mount() throws(OverlayError) {
    try checkMeans()
    // The kernel has applied the caller's file creation mask already.
    umask(0)
    guard
      let session = Session(
        options: mountOptions, owner: self,
        wantsPassthrough: configuration.wantsPassthrough && SystemAdministration.isAvailable,
        stackDepth: isStacked ? 2 : 1)
    else { throw OverlayError(.failed, directory) }
    LibraryLog.begin()
    do throws(OverlayError) { try attach(session) } catch {
      session.destroy()
      throw error
    }
    LibraryLog.end()
    connection.current = session
    do throws(Errno) {
      try SystemThread.start { [self] in notifier.run(session) }
      try SystemThread.start { [self] in serve(session) }
    } catch {
      notifier.end()
      unmount(lazily: true)
      session.disconnect()
      notifier.waitForEnd()
      session.destroy()
      throw OverlayError(.failed, directory, cause: error)
    }
    life.update { $0.isMounted = true }
    // Not by a look at the mount: a process that is killed while it waits for an answer of its own waits for ever, and
    // whoever uses the mount with it.
    let deadline = Clock.monotonic() &+ Overlay.negotiationTimeout
    var hasEnded = false
    while !session.isNegotiated, !hasEnded, Clock.monotonic() < deadline {
      hasEnded = life.wait(timeout: 200_000) { $0.end == nil ? nil : true } ?? false
    }
    guard session.isNegotiated, let device = mountedDevice else {
      stop()
      throw OverlayError(.failed, directory)
    }
    deviceNumber.store(device, ordering: .relaxed)
    _ = session.usesPassthrough
  }

  private func attach(_ session: Session) throws(OverlayError) {
    if configuration.isDetached {
      do throws(Errno) {
        let root = try session.mountDetached()
        detachedRoot.withLock { $0 = root }
      } catch { throw OverlayError(mounting: directory, error) }
    } else if !session.mount(at: directory) {
      throw OverlayError(mounting: directory, LibraryLog.cause())
    }
  }

  private var mountedDevice: UInt64? {
    guard configuration.isDetached else { return (try? MountTable.top(at: directory))??.device }
    return detachedRoot.withLock { root in try? root?.device() }
  }

  /// The view as a mount of its own that is attached nowhere yet: whoever has the descriptor can attach it. Of a detached
  /// mount only; not to be called by a thread that serves requests.
  public func openView(_ view: View) throws(Errno) -> FileDescriptor {
    guard let root = detachedRoot.withLock({ $0 }) else { throw Errno(rawValue: ENODEV) }
    return try root.cloneTree(configuration.viewsName.appending(view.token))
  }

  var session: Session? { connection.current }

  /// Waits until the mount has ended, and says why.
  @discardableResult
  public func serve() -> EndReason { life.wait { $0.end } ?? .unmounted }

  /// Ends the mount, also while it is in use: whoever still stands in it finds it disconnected. To be called from any
  /// thread that does not serve a request; returns when no request is served any more.
  public func stop() {
    guard let session = connection.current else { return }
    life.update { $0.isStopping = true }
    session.exit()
    // The loop's thread may be about to wait: the signal is sent until it has come out.
    while true {
      let ended = life.wait(timeout: 10_000_000) { life -> Bool? in
        if life.end != nil { return true }
        life.loopThread?.interrupt(with: Overlay.wakeSignal)
        return nil
      }
      if ended == true { return }
    }
  }

  /// Unmounts; false when the mount is in use. Whatever else is mounted at the directory stays.
  @discardableResult
  public func unmount(lazily: Bool = false) -> Bool {
    if configuration.isDetached {
      detachedRoot.withLock { root in
        root?.close()
        root = nil
      }
      return true
    }
    for _ in 0..<Overlay.looks {
      // Not knowing is not being gone: whoever has asked would wait for the end of a daemon that serves on.
      if let isOnTop { return isOnTop ? Unmounting.unmount(directory, lazily: lazily) : true }
      var pause = timespec(tv_sec: 0, tv_nsec: 10_000_000)
      nanosleep(&pause, nil)
    }
    return false
  }

  /// How often the mount table is looked at while it cannot be read.
  private static let looks = 10

  /// Whether what is mounted at the directory, if anything, is this; nil where the mount table cannot be read.
  private var isOnTop: Bool? {
    let top: MountEntry?
    do throws(Errno) { top = try MountTable.top(at: directory) } catch { return nil }
    guard let entry = top else { return false }
    // Before the mount is known to work there is no number; what was there before was of another type.
    return device.map { $0 == entry.device } ?? (entry.type == Overlay.mountType)
  }

  /// The device number that files of the mount show (stat(2), st_dev); nil before `mount`.
  public var device: UInt64? {
    let number = deviceNumber.load(ordering: .relaxed)
    return number == 0 ? nil : number
  }

  /// Where the views are reached, relative to the root of the mount or of any view: `viewsDirectory/<token>` is the
  /// root of a view.
  public var viewsDirectory: FilePath { configuration.viewsName }

  /// Whether the kernel reads and writes files of lower by itself.
  public var usesPassthrough: Bool { connection.current?.usesPassthrough ?? false }

  /// Requests by kind and what is held in memory, in a fixed order.
  public var counters: [(name: String, value: Int)] {
    [
      ("nodes", table.liveNodes), ("inodes", table.liveInodes), ("descriptors", table.pool.openCount),
      (
        "writers", mainView.writers.withLock { $0.count } + allViews.reduce(0) { $0 + $1.writers.withLock { $0.count } }
      ),
      ("views", allViews.count), ("placed.files", placements.count), ("placed.bytes", Int(placements.bytes)),
    ] + requests.all.map { ("requests.\($0.name)", $0.value) }
  }

  /// Interrupts the loop's thread. Ignored by whoever does not handle it.
  private static let wakeSignal = SIGURG
  /// How long the kernel may take to send its first request, nanoseconds.
  private static let negotiationTimeout: Int64 = 30_000_000_000

  private func serve(_ session: Session) {
    ThreadReference.makeInterruptible(by: Overlay.wakeSignal)
    life.update { $0.loopThread = .current }
    let result = session.loop(threads: configuration.threads, idle: configuration.threads)
    notifier.end()
    locks.cancelAll()
    lowerLocks?.close()
    connection.current = nil
    unmount(lazily: true)
    session.disconnect()
    notifier.waitForEnd()
    session.destroy()
    table.forgetAll()
    life.update { life in
      life.loopThread = nil
      life.end =
        life.isStopping ? .stopped : result < 0 ? .failed(Errno(rawValue: -result)) : .unmounted
    }
  }

  /// Whether lower is itself a filesystem over another, which the kernel counts.
  private var isStacked: Bool {
    let overlayfs = 0x794c_7630
    return (try? rootDescriptor.filesystemType()) == overlayfs
  }

  private func checkMeans() throws(OverlayError) {
    do throws(Errno) { try FileDescriptor.open("/dev/fuse", O_RDWR).close() } catch {
      throw OverlayError(.noDevice, directory, cause: error)
    }
    if geteuid() != 0 && !Unmounting.hasHelper { throw OverlayError(.noHelper, directory) }
  }

  private var mountOptions: [UInt8] {
    var name: [UInt8] = []
    for byte in directory.bytes {
      if byte == UInt8(ascii: ",") || byte == UInt8(ascii: "\\") { name.append(UInt8(ascii: "\\")) }
      name.append(byte)
    }
    var options = "subtype=casherfs,default_permissions"
    if geteuid() == 0 || configuration.allowsOthers { options += ",allow_other" }
    // What lower's own mount refuses, this one refuses too.
    if let lower = try? rootDescriptor.fileSystemStatus() {
      let flags = Int(lower.f_flag)
      if flags & Int(ST_RDONLY) != 0 || configuration.isReadOnly { options += ",ro" }
      if flags & 8 != 0 { options += ",noexec" }
      if geteuid() == 0 {
        if flags & Int(ST_NOSUID) == 0 { options += ",suid" }
        if flags & 4 == 0 { options += ",dev" }
      }
    }
    return Array(options.utf8) + Array(",fsname=".utf8) + name
  }

  // MARK: views

  /// A view of its own for a run, reached as `viewsDirectory/<token>`; whoever knows the token can enter.
  public func makeView(token: FilePath, attachment: (any AnyObject & Sendable)?) -> View {
    let view = View(token: token, attachment: attachment)
    views.withLock { $0[token] = view }
    return view
  }

  /// The view of this token, if it is not retired.
  public func view(token: FilePath) -> View? { views.withLock { $0[token] } }

  /// Takes the view out of the views' directory. Processes that are in it keep working.
  public func retire(_ view: View) {
    let removed = views.withLock { views -> Bool in
      guard views[view.token] === view else { return false }
      views[view.token] = nil
      return true
    }
    if removed {
      // Of a detached mount, what is in a view keeps other filesystems from being unmounted.
      dropRetiredViews(unlessFewerThan: configuration.isDetached ? 1 : Overlay.retiredViewsLimit)
      notifier.send(table.nodes(of: viewsInode, except: nil).map { .entry($0, view.token, .isGone) })
    }
  }

  /// So many retired views may wait to be forgotten before they are seen to.
  private static let retiredViewsLimit = 8

  /// A process that outlives its run for a moment leaves names of the view's directories in the kernel's cache, which
  /// hold the whole view for as long as memory is not short. Makes the kernel drop what is below the roots of such views.
  ///
  /// With a name that the root has goes all below it, but for what is in use at that moment. No name of the root leads to
  /// that any more; so the second time each directory is told of each of its names.
  private func dropRetiredViews(unlessFewerThan limit: Int) {
    let present = Set(allViews.map(ObjectIdentifier.init))
    let roots = table.nodes(of: rootInode, except: mainView).filter { !present.contains(ObjectIdentifier($0.view)) }
    guard roots.count >= limit else { return }
    let again = Set(
      roots.filter { $0.view.wasDropped.exchange(true, ordering: .relaxed) }.map { ObjectIdentifier($0.view) })
    let nodes = table.children(of: roots, orIn: again)
    notifier.send(nodes.compactMap { node in node.parent.map { .entry($0, node.name, .isGone) } })
    notifier.send(roots.map { .entry($0, configuration.viewsName, .isGone) })
  }

  /// Whether processes may still be in a view other than the main one. They keep the filesystem alive in mount
  /// namespaces of their own, where an unmount does not reach it. Waits, at most `timeoutNanoseconds`, for what is
  /// under way: the kernel forgets a view some time after its last process has ended.
  public func hasUsedViews(timeoutNanoseconds: Int64) -> Bool {
    let deadline = Clock.monotonic() &+ timeoutNanoseconds
    while true {
      if table.nodes(of: rootInode, except: mainView).isEmpty { return false }
      dropRetiredViews(unlessFewerThan: 1)
      if Clock.monotonic() >= deadline { return true }
      flushNotifications()
      var pause = timespec(tv_sec: 0, tv_nsec: 5_000_000)
      nanosleep(&pause, nil)
    }
  }

  var allViews: [View] { views.withLock { Array($0.values) } }

  /// Waits until nothing is open for writing in the view, as the last close is told to the overlay later; false when
  /// the time, in nanoseconds, has passed before.
  public func waitForWriters(in view: View, timeoutNanoseconds: Int64) -> Bool {
    view.writers.wait(timeout: timeoutNanoseconds) { $0.isEmpty ? true : nil } ?? false
  }

  /// What is open for writing in the view, as paths below the root; sorted.
  public func pathsOpenForWriting(in view: View) -> [FilePath] {
    let handles = view.writers.withLock { Array($0.values) }
    return Set(handles.map(\.node.path)).sorted()
  }

  // MARK: inodes, and changes made to lower directly

  /// The inode of this key, if the kernel knows it through any view.
  public func inode(for key: InodeKey) -> Inode? { table.inode(for: key) }

  /// Whether a file is open for writing through the mount; each open counts until its RELEASE.
  public func isBeingWritten(_ key: InodeKey) -> Bool {
    table.openWriters > 0 && (table.inode(for: key)?.writableHandles ?? 0) > 0
  }

  /// Makes all views look the name up again; returns at once.
  public func invalidateEntry(_ name: FilePath, inDirectory key: InodeKey, _ change: NameChange) {
    guard let inode = table.inode(for: key) else { return }
    inode.didChangeNames()
    notifier.send(table.nodes(of: inode, except: nil).map { .entry($0, name, change) })
  }

  /// Makes all views look again at what stands at a path relative to the root, one of whose names another has changed:
  /// at the name and at what it stands for; returns at once.
  public func invalidate(_ path: FilePath) {
    guard
      let directory = try? rootDescriptor.open(path.parent.isEmpty ? "." : path.parent, OpenFlags.path | O_DIRECTORY)
    else { return }
    defer { directory.close() }
    let found = path.lastComponent.withCString { try? table.identities.look($0, in: directory) }
    if let parent = try? table.identities.look("", in: directory) {
      invalidateEntry(
        path.lastComponent, inDirectory: parent.status.key, found == nil ? .isGone : .isThere)
      invalidateInode(parent.status.key)
    }
    if let found { invalidateInode(found.status.key) }
  }

  /// A command is about to begin in a view: many requests will come.
  public func expectRequests() {
    if configuration.keepsAwake { RequestPace.shared.expect() }
  }

  /// Makes all views ask again for the attributes and the content; returns at once.
  public func invalidateInode(_ key: InodeKey) {
    guard let inode = table.inode(for: key) else { return }
    notifier.send(table.nodes(of: inode, except: nil).map { .content($0, offset: 0, length: 0) })
  }

  /// `unmount`, tried again for a second: a program that is ending, or another that looks through all mounts, has it in
  /// use for a moment.
  public func unmountOnceUnused() -> Bool {
    for _ in 0..<10 {
      if unmount() { return true }
      var pause = timespec(tv_sec: 0, tv_nsec: 100_000_000)
      nanosleep(&pause, nil)
    }
    return unmount()
  }

  /// Waits until the kernel has been told of everything that was invalidated, or changed in any view, before the call.
  /// Never to be called while a request waits for the caller.
  public func flushNotifications() { notifier.flush() }

  /// Makes the kernel look every name up again at its next use, in every view; false where it cannot be told so.
  public func forgetNames() -> Bool { session?.forgetNames() ?? false }
}

extension OverlayError {
  fileprivate init(opening directory: FilePath, _ cause: Errno) {
    switch cause {
    case .noSuchFile: self.init(.missing, directory)
    case .notDirectory: self.init(.notDirectory, directory)
    case Errno(rawValue: ENOTCONN): self.init(.disconnected, directory)
    default: self.init(.unreadable, directory, cause: cause)
    }
  }

  fileprivate init(mounting directory: FilePath, _ cause: Errno?) {
    switch cause {
    case Errno(rawValue: EBUSY): self.init(.busy, directory)
    case .notPermitted, .accessDenied: self.init(.notPermitted, directory, cause: cause)
    default: self.init(.failed, directory, cause: cause)
    }
  }
}
