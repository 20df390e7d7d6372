import CasherOverlay
import CasherStore
import CasherSystem
import Glibc

/// What a mount keeps in the store, and the store itself, held by one process at a time.
struct MountState {
  let configuration: DaemonConfiguration
  let store: Store
  /// `mounts/<id>` in the store.
  let directory: FilePath
  let log: DaemonLog
  let blobs: PlacedBlobs
  let runs: MountRuns
  private let lock: MountLock

  init(_ configuration: DaemonConfiguration) throws(DaemonError) {
    self.configuration = configuration
    let store: Store
    do throws(StoreError) {
      var options = configuration.storeOptions
      if configuration.durability == .full { options.durability = .full }
      store = try Store.open(at: configuration.storeDirectory, options: options)
      // What was put while nobody asked for this may be placed too.
      if configuration.durability == .full { try store.synchronize() }
    } catch { throw .store(error) }
    do throws(DaemonError) {
      do throws(StoreError) { directory = try store.mountsDirectory(configuration.mountID) } catch {
        throw .store(error)
      }
      let lock: MountLock?
      // Somebody else may have mounted it since it was found not to be mounted.
      let isMounted = { (try? MountTable.top(at: configuration.directory))?.type == MountEntry.casherType }
      do throws(Errno) { lock = try MountLock(in: directory, isInVain: isMounted) } catch {
        throw .socket(directory, error)
      }
      guard let lock else {
        if isMounted() { throw .overlay(OverlayError(.alreadyMounted, configuration.directory)) }
        throw .stillServed(configuration.directory)
      }
      self.lock = lock
    } catch {
      store.close()
      throw error
    }
    self.store = store
    let log = DaemonLog(in: directory, limit: configuration.logLimit, mount: configuration.directory)
    self.log = log
    store.onAutomaticEviction { report in
      log.write(
        "evicted",
        [
          ("runs", "\(report.runs.count)"), ("freed_bytes", "\(report.freedBytes)"),
          ("stored_bytes", "\(report.storedBytes)"), ("kept_bytes", "\(report.keptBytes)"),
        ])
    }
    blobs = PlacedBlobs(store: store, owner: configuration.mountID, log: log)
    runs = MountRuns(in: directory)
  }

  func close() {
    try? store.flush()
    store.close()
    lock.release()
  }

  /// Where the journal of what is placed is.
  static func journal(in directory: FilePath) -> FilePath { directory.appending("placed") }

  func makeOverlay(recorder: any Recorder) throws(DaemonError) -> Overlay {
    var overlayConfiguration = Overlay.Configuration(directory: configuration.directory)
    overlayConfiguration.timeout = configuration.timeout
    overlayConfiguration.wantsPassthrough = configuration.passthrough
    overlayConfiguration.keepsAwake = configuration.keepsAwake
    overlayConfiguration.trace = configuration.trace
    if let threads = configuration.threads { overlayConfiguration.threads = threads }
    overlayConfiguration.blobs = blobs
    overlayConfiguration.journal = MountState.journal(in: directory)
    configuration.removeStaleState()
    overlayConfiguration.journalCopy = configuration.journalCopy
    overlayConfiguration.synchronizesJournal = configuration.durability == .full
    do throws(OverlayError) { return try Overlay(configuration: overlayConfiguration, recorder: recorder) } catch {
      throw .overlay(error)
    }
  }

  func makeDigester(_ overlay: Overlay) -> FileDigester {
    FileDigester(store: store, placements: overlay.placements) { overlay.isBeingWritten($0) }
  }

  func freezing(_ overlay: Overlay, _ digester: FileDigester) -> Freezing {
    let tree = Tree(root: overlay.rootDescriptor, placements: overlay.placements)
    return Freezing(
      overlay: overlay, blobs: blobs, durability: configuration.durability, log: log,
      recording: FreezeRecording(
        mount: configuration.directory, tree: tree, store: store, digester: digester, runs: runs))
  }

  /// Places again what was placed when the last daemon was killed.
  @discardableResult
  func recover(_ overlay: Overlay) -> Recovery {
    var recovery = overlay.recover()
    if recovery.wasTorn {
      recovery.suspected = blobs.suspected(in: Tree(root: overlay.rootDescriptor, placements: overlay.placements))
    }
    blobs.adopt(overlay.placements.all)
    if recovery.wasTorn { log.write("recovery", [("what", "the journal's end was torn")]) }
    if recovery.files > 0 { log.write("recovery", [("files", "\(recovery.files)"), ("bytes", "\(recovery.bytes)")]) }
    for lost in recovery.lost + recovery.suspected {
      log.write("lost", [("path", "\(lost.path)"), ("reason", lost.reason)])
    }
    return recovery
  }

  /// Gives up the pins when nothing is placed any more.
  func settle(_ overlay: Overlay) {
    let placements = overlay.placements
    if placements.isEmpty, placements.lost.isEmpty, !placements.hasUnsynced { blobs.releaseAll() }
  }
}

extension Daemon {
  /// The files of a directory, which is not mounted, that the killed daemon of its mount has left in the store alone.
  /// The store need not be usable.
  public static func unwritten(_ configuration: DaemonConfiguration) -> [FilePath] {
    let mount = configuration.storeDirectory.appending("mounts").appending(configuration.mountID)
    return UnopenedJournal.missing(
      MountState.journal(in: mount), copy: configuration.journalCopy, from: configuration.directory)
  }

  /// The files of a directory, which is not mounted, that the killed daemon of a mount with another store has left there
  /// alone.
  public static func leftInOtherStores(_ configuration: DaemonConfiguration) -> [Missing] {
    configuration.journalCopiesOfOtherStores.flatMap { copy in
      UnopenedJournal.missing(nil, copy: copy, from: configuration.directory)
    }.map { Missing(path: $0, reason: "it is in another cache, with which the directory was mounted before") }
  }
}
