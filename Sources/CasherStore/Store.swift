import CasherSystem
import Synchronization

/// The cache's directory: blobs by content, runs in SQLite. Used by many threads, and by many processes at once.
///
/// A store does not survive fork(2): open it in the process that uses it. It lives until `close()`.
public final class Store: Sendable {
  public let directory: FilePath
  public let options: StoreOptions
  let layout: StoreLayout
  let database: Database
  let pending = Monitor(Pending())
  let digestCache = DigestCache()
  let worker = Worker()
  /// The last eviction that began by itself, and when (CLOCK_MONOTONIC).
  let automatic = Monitor<(report: EvictionReport, time: Int64)?>(nil)
  private let evictionObserver = Monitor<(@Sendable (EvictionReport) -> Void)?>(nil)
  /// Blobs that a thread is inflating; others that want the same wait for it.
  let inflating = Monitor<Set<Digest>>([])

  /// Opens the store at `path`, an absolute path, and makes it first where there is none: the directory and its
  /// parents, mode 0700. Throws with a sentence for people when it belongs to someone else, is of a newer format,
  /// damaged, not writable, or on a filesystem that does not lock.
  public static func open(at path: FilePath, options: StoreOptions = StoreOptions()) throws(StoreError) -> Store {
    try StoreLayout.open(path, options) { layout throws(StoreError) in
      let database = try Database(directory: path, options: options)
      if !options.isReadOnly { layout.makeReserve() }
      return Store(layout: layout, database: database, options: options)
    }
  }

  /// The digest of empty content, which can be had whatever became of the store.
  public static let nothing = SHA256.digest(of: [UInt8]())

  /// Whether the directory that was opened still stands at its path.
  public var isInPlace: Bool {
    do throws(Errno) {
      return try layout.root.status().key == FileDescriptor.workingDirectory.status(of: directory).key
    } catch { return false }
  }

  init(layout: StoreLayout, database: Database, options: StoreOptions) {
    self.layout = layout
    self.database = database
    self.options = options
    directory = layout.directory
  }

  /// Has `observer` told of each eviction that begins by itself.
  public func onAutomaticEviction(_ observer: @escaping @Sendable (EvictionReport) -> Void) {
    evictionObserver.withLock { $0 = observer }
  }

  func tellObserver(of report: EvictionReport) { evictionObserver.withLock { $0 }?(report) }
  /// SQL statements that this process has run on all of its stores.
  public static var statementsRun: Int { StatementCount.present }

  /// Where one mount keeps its socket, journal and log; made when it is not there. `id` is a name without slashes.
  public func mountsDirectory(_ id: String) throws(StoreError) -> FilePath {
    let name = FilePath("mounts/" + id)
    let path = directory.appending(name)
    guard !id.isEmpty, id != ".", id != "..", !id.utf8.contains(UInt8(ascii: "/")) else {
      throw StoreError(.invalidSetting, path, detail: "\(id) is no name for a mount")
    }
    do throws(Errno) { try layout.root.makeDirectory(name, mode: 0o700) } catch {
      if error != .exists { throw StoreError(error, path) }
    }
    return path
  }

  /// Writes what is only remembered so far (hits, counters, digests, blobs' rows) and waits until it is done, an
  /// automatic eviction included.
  public func flush() throws(StoreError) {
    if options.isReadOnly { return }
    try writePending()
    try evictOverLimit()
  }

  /// Copies the write-ahead log into the database when it has grown long. For who stores many runs one after the other:
  /// as long as writing goes on the store's own thread does not get to the log's end, and it would only grow.
  public func shortenLog() throws(StoreError) { try database.shortenLog() }

  /// As `flush`, then has the operating system write everything to the disk.
  public func synchronize() throws(StoreError) {
    try flush()
    if options.isReadOnly { return }
    let before = Clock.now()
    try attempt(directory) { () throws(Errno) in try layout.root.synchronizeFilesystem() }
    try database.write { connection throws(StoreError) in
      // Files stand under their names, unchanged, since `changed`.
      try connection.run(
        "UPDATE blobs SET boot = NULL WHERE boot = ? AND changed < ?", .integer(Boot.current), .integer(before))
    }
    try database.maintain { connection throws(StoreError) in
      try connection.run(script: "PRAGMA wal_checkpoint(TRUNCATE)")
    }
    try attempt(directory) { () throws(Errno) in try layout.root.synchronizeFilesystem() }
  }

  /// Flushes as far as possible and lets go of everything. No other call may be made afterwards.
  public func close() {
    worker.stop()
    try? flush()
    database.close()
    layout.close()
  }
}
