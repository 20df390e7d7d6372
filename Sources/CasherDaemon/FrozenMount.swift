import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem
import Glibc

extension DaemonConfiguration {
  /// The name in the store of what belongs to a mount that shows a freeze at the directory. It is none of `mountID`:
  /// such a mount has nothing to do with what is kept of the directory itself.
  public var frozenID: String {
    FrozenMount.prefix + String(SHA256.digest(of: directory.bytes).hexadecimal.prefix(16))
  }
}

/// What a mount that shows a freeze keeps in the store while it lasts.
enum FrozenMount {
  static let prefix = "frozen-"
  static let tree = FilePath("tree")
  /// Where the overlay remembers what it shows; nobody reads it.
  static let journal = FilePath("shown")

  /// Gives up what such mounts had kept whose daemons were killed.
  static func clean(_ store: Store) {
    let mounts = store.directory.appending("mounts")
    for entry in (try? FileDescriptor.workingDirectory.entries(of: mounts)) ?? []
    where entry.name.bytes.starts(with: prefix.utf8) {
      let directory = mounts.appending(entry.name)
      // Held while the daemon lives, and by whoever cleans.
      guard let lock = try? FileDescriptor.open(directory.appending("lock"), O_RDWR) else { continue }
      defer { lock.close() }
      guard (try? lock.holdLock(exclusive: true, waiting: false)) != nil else { continue }
      give(up: directory, store)
    }
  }

  /// Removes everything but the log and the lock.
  static func give(up directory: FilePath, _ store: Store) {
    try? store.unpinAll(for: directory.lastComponent.description)
    FrozenTree.remove(directory.appending(tree))
    for name in [journal, FilePath("socket")] { try? FileDescriptor.workingDirectory.remove(directory.appending(name)) }
  }
}

extension Daemon {
  /// Gives up what the killed daemon of a mount that showed a freeze at the directory had kept.
  public static func tidyFrozen(_ configuration: DaemonConfiguration) {
    let left = configuration.storeDirectory.appending("mounts").appending(configuration.frozenID)
      .appending(FrozenMount.journal)
    guard ((try? FileDescriptor.workingDirectory.statusIfPresent(of: left)) ?? nil) != nil,
      let store = try? Store.open(at: configuration.storeDirectory, options: configuration.storeOptions)
    else { return }
    FrozenMount.clean(store)
    store.close()
  }

  /// Shows a freeze at the configuration's directory, read-only, until it is unmounted. `ready` is called once it can be
  /// seen, with the results that cannot be had any more. As `run`, to be called on the main thread before any other was
  /// started.
  public static func showFreeze(
    _ id: Int64, _ configuration: DaemonConfiguration, ready: (Recovery) -> Void
  ) throws(DaemonError) {
    if configuration.storeDirectory.isWithin(configuration.directory) {
      throw .storeInsideMount(configuration.storeDirectory)
    }
    let connections = ConnectionGuard.start()
    defer { connections.end() }
    Signals.blockForWaiting([SIGTERM, SIGINT, SIGHUP])
    Signals.ignore(SIGPIPE)
    let store: Store
    do throws(StoreError) {
      store = try Store.open(at: configuration.storeDirectory, options: configuration.storeOptions)
    } catch { throw .store(error) }
    defer { store.close() }
    FrozenMount.clean(store)
    let directory: FilePath
    do throws(StoreError) { directory = try store.mountsDirectory(configuration.frozenID) } catch {
      throw .store(error)
    }
    let lock: MountLock?
    do throws(Errno) { lock = try MountLock(in: directory) } catch { throw .socket(directory, error) }
    guard let lock else { throw .stillServed(configuration.directory) }
    defer { lock.release() }
    FrozenMount.give(up: directory, store)
    defer { FrozenMount.give(up: directory, store) }
    let log = DaemonLog(in: directory, limit: configuration.logLimit, mount: configuration.directory)
    let record = try load(id, store)
    let kept = try pin(record, for: configuration.frozenID, store)
    let (overlay, tree) = try show(record, kept, configuration, store, in: directory, log)
    defer { tree.remove() }
    try serve(overlay, id, store, at: directory.appending("socket")) {
      if let device = overlay.device { connections.add(device: device) }
      log.write("mounted", [("directory", "\(configuration.directory)"), ("frozen", "\(id)")])
      ready(missing(record, kept))
    }
    if let device = overlay.device { connections.remove(device: device) }
    log.write("unmounted")
  }

  private static func load(_ id: Int64, _ store: Store) throws(DaemonError) -> FreezeRecord {
    let freeze: StoredFreeze?
    do throws(StoreError) { freeze = try store.freeze(id) } catch { throw .store(error) }
    guard let freeze else { throw .frozen("there is no freeze \(id)") }
    do throws(DecodingFailure) { return try FreezeRecord(encoded: freeze.body) } catch {
      throw .frozen("the record of freeze \(id) is damaged: \(error)")
    }
  }

  /// Keeps the contents from eviction, as far as they are there, and says which they are.
  private static func pin(
    _ record: FreezeRecord, for owner: String, _ store: Store
  ) throws(DaemonError) -> Set<Digest> {
    let wanted = Set(
      record.results.compactMap { result -> Digest? in
        if case .file(let digest, _) = result.content { return digest }
        return nil
      })
    // What goes between the look and the pinning is not there at the next look.
    for _ in 0..<3 {
      let present = wanted.filter { (try? store.hasBlob($0)) ?? false }
      do throws(StoreError) {
        try store.pin(blobs: Array(present), for: owner)
        return present
      } catch {
        if error.code != .missingBlob { throw .store(error) }
      }
    }
    throw .frozen("the contents are being removed from the cache at this moment")
  }

  private static func missing(_ record: FreezeRecord, _ kept: Set<Digest>) -> Recovery {
    var recovery = Recovery()
    for result in record.results {
      guard case .file(let digest, _) = result.content, !kept.contains(digest) else { continue }
      recovery.lost.append(.init(path: result.path, reason: Missing.goneContent))
    }
    return recovery
  }

  private static func show(
    _ record: FreezeRecord, _ kept: Set<Digest>, _ configuration: DaemonConfiguration, _ store: Store,
    in directory: FilePath, _ log: DaemonLog
  ) throws(DaemonError) -> (Overlay, FrozenTree) {
    let tree: FrozenTree
    do throws(Errno) {
      tree = try FrozenTree(at: directory.appending(FrozenMount.tree))
      try tree.fill(with: record)
    } catch { throw .frozen("the freeze cannot be laid out in \(directory): \(error)") }
    let socket = directory.appending("socket")
    let answers = RunTable { node in
      MountAnswer(
        socket: socket, mount: configuration.directory, directory: node.path, view: node.view.token
      ).encoded
    }
    var settings = Overlay.Configuration(directory: tree.path)
    settings.mountPoint = configuration.directory
    settings.isReadOnly = true
    settings.timeout = configuration.timeout
    settings.wantsPassthrough = configuration.passthrough
    settings.trace = configuration.trace
    if let threads = configuration.threads { settings.threads = threads }
    settings.blobs = PlacedBlobs(store: store, owner: configuration.frozenID, log: log)
    settings.journal = directory.appending(FrozenMount.journal)
    let overlay: Overlay
    do throws(OverlayError) { overlay = try Overlay(configuration: settings, recorder: answers) } catch {
      throw .overlay(error)
    }
    try tree.place(record, in: overlay) { kept.contains($0) }
    return (overlay, tree)
  }

  /// Mounts and serves until the mount has ended.
  private static func serve(
    _ overlay: Overlay, _ freeze: Int64, _ store: Store, at socket: FilePath, ready: () -> Void
  ) throws(DaemonError) {
    do throws(OverlayError) { try overlay.mount() } catch { throw .overlay(error) }
    do throws(Errno) {
      try? FileDescriptor.workingDirectory.remove(socket)
      let listener = try MessageSocket.listen(at: socket)
      try FileDescriptor.workingDirectory.setPermissions(of: socket, 0o600)
      let server = FrozenServer(overlay: overlay, listener: listener, freeze: freeze, store: store.directory)
      let watcher = MountWatcher(overlay: overlay, rootView: nil, directory: overlay.directory)
      let watch = try MountTableWatch()
      try SystemThread.start { server.serve() }
      try SystemThread.start { watcher.run(watch) }
      try SystemThread.start {
        Signals.wait(for: [SIGTERM, SIGINT, SIGHUP])
        overlay.stop()
      }
    } catch {
      overlay.unmount()
      throw .socket(socket, error)
    }
    ready()
    overlay.serve()
  }
}
