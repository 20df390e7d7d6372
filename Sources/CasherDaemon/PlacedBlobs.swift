import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem
import Glibc
import Synchronization

/// The store as the overlay sees it: where the content of placed files is. Keeps the runs that have placed files from
/// eviction by any process, also while this one is not there.
final class PlacedBlobs: BlobSource {
  private let store: Store
  /// The mount's id, under which the pins are taken.
  private let owner: String
  private let log: DaemonLog
  private let state = Mutex(State())
  /// Runs that may have nothing placed any more.
  private let ended = Monitor(Ended())

  private struct State {
    var pinned: Set<Digest> = []
    /// How many calls are placing files of a run just now.
    var placing: [Digest: Int] = [:]
  }

  private struct Ended {
    var runs: Set<Digest> = []
    var isClosed = false
    var isTidying = false
  }

  init(store: Store, owner: String, log: DaemonLog) {
    self.store = store
    self.owner = owner
    self.log = log
  }

  // MARK: BlobSource

  func open(_ blob: Digest) throws(Errno) -> FileDescriptor {
    do throws(StoreError) { return try store.openBlob(blob) } catch {
      log.write("error", [("what", "placed"), ("blob", blob.hexadecimal), ("reason", "\(error)")])
      // Whatever befell the store, the file's name is there: only what the caller can do something about is passed on.
      if let cause = error.cause, PlacedBlobs.shortages.contains(cause) { throw cause }
      throw .ioError
    }
  }

  private static let shortages: Set<Errno> = [
    .noSpace, .quotaExceeded, Errno(rawValue: ENOMEM), Errno(rawValue: EMFILE), Errno(rawValue: ENFILE),
  ]

  /// A file that the database has lost is taken for what its name says, once its content has been digested.
  func has(_ blob: Digest) -> Bool {
    if blob == Store.nothing { return true }
    if let isThere = try? store.hasBlob(blob), isThere { return true }
    return (try? store.adoptBlob(blob)) ?? false
  }

  /// A write after this moves the modification time, unless the file has come to be within the same tick of the clock.
  func didWrite(_ blob: Digest, as status: FileStatus) {
    guard status.links == 1, Clock.now() - status.modified > PlacedBlobs.granularity else { return }
    store.rememberDigest(blob, of: status)
  }

  /// Nanoseconds by which kernels move a file's times at least every so often (see `FileDigester`).
  private static let granularity: Int64 = 20_000_000

  func didRelease(run: Digest) { ended.update { _ = $0.runs.insert(run) } }

  // MARK: pins

  /// Calls `body`, which places files of the run, with its blobs kept from eviction.
  func placing<Failure: Error>(
    _ run: Digest, _ body: () throws(Failure) -> Void, orElse failed: (StoreError) -> Failure
  ) throws(Failure) {
    do throws(StoreError) {
      try state.withLock { state throws(StoreError) in
        if !state.pinned.contains(run) {
          try store.pin(run: run, for: owner)
          state.pinned.insert(run)
        }
        state.placing[run, default: 0] += 1
      }
    } catch { throw failed(error) }
    defer {
      state.withLock { state in
        let left = (state.placing[run] ?? 1) - 1
        state.placing[run] = left > 0 ? left : nil
      }
      didRelease(run: run)
    }
    try body()
  }

  /// What runs that an earlier daemon of the mount kept have left, and that is not there: where the list of what was placed
  /// is damaged, some of it was. To be called before `adopt`'s pins are given up.
  func suspected(in tree: Tree) -> [Missing] {
    var result: [FilePath: Missing] = [:]
    for id in (try? store.pinnedRuns(of: owner)) ?? [] {
      guard let run = try? store.run(id), let record = try? RunRecord(encoded: run.body) else { continue }
      let reason = "run \(id.hexadecimal.prefix(12)) has made it, unless it was removed since"
      for output in record.outputs where !output.path.isAbsolute {
        guard case .file = output.content, !isThere(output.path, in: tree) else { continue }
        result[output.path] = Missing(path: output.path, reason: reason)
      }
    }
    return result.values.sorted { $0.path < $1.path }
  }

  private func isThere(_ path: FilePath, in tree: Tree) -> Bool {
    do throws(Errno) { return try tree.status(of: path) != nil } catch { return false }
  }

  /// Takes over what an earlier daemon of the mount had pinned: keeps the runs that have placed files, by their blobs
  /// where the run itself is gone, and gives up the rest.
  func adopt(_ files: [PlacedFile]) {
    for (run, files) in Dictionary(grouping: files, by: \.run) {
      do throws(StoreError) {
        try store.pin(run: run, for: owner)
        state.withLock { _ = $0.pinned.insert(run) }
      } catch {
        if error.code != .missingBlob { log.write("error", [("what", "pin"), ("reason", "\(error)")]) }
        for file in files { try? store.pin(blobs: [file.blob], for: owner) }
      }
    }
  }

  /// Gives up the pins of runs that have nothing placed any more.
  private func release(_ runs: Set<Digest>, _ placements: Placements) {
    for run in runs {
      state.withLock { state in
        guard state.placing[run] == nil, state.pinned.contains(run), !placements.hasFiles(of: run) else { return }
        guard (try? store.unpin(run: run, for: owner)) != nil else { return }
        state.pinned.remove(run)
      }
    }
  }

  /// To be called when nothing is placed and nothing will be.
  func releaseAll() {
    if (try? store.unpinAll(for: owner)) != nil { state.withLock { $0.pinned = [] } }
  }

  /// Gives up pins, and tidies the journal, some time after they are no longer needed, until `close`; on a thread of its
  /// own.
  func startTidying(_ overlay: Overlay) throws(Errno) {
    ended.update { $0.isTidying = true }
    do throws(Errno) {
      try SystemThread.start { [self] in
        tidy(overlay)
        ended.update { $0.isTidying = false }
      }
    } catch {
      ended.update { $0.isTidying = false }
      throw error
    }
  }

  private func tidy(_ overlay: Overlay) {
    while let runs = ended.wait({ ended -> Set<Digest>?? in
      if ended.isClosed { return .some(nil) }
      if ended.runs.isEmpty { return nil }
      defer { ended.runs = [] }
      return ended.runs
    }) ?? nil {
      // What is replaced over and over again need not be pinned over and over again.
      let isClosed = ended.wait(timeout: PlacedBlobs.delay) { $0.isClosed ? true : nil } ?? false
      if isClosed { return }
      release(runs, overlay.placements)
      overlay.tidyJournal()
      try? overlay.synchronizeJournal()
    }
  }

  /// Nanoseconds.
  private static let delay: Int64 = 1_000_000_000

  /// Ends the tidying, and waits for its end.
  func close() {
    ended.update { $0.isClosed = true }
    _ = ended.wait { $0.isTidying ? nil : true }
  }
}
