import CasherSystem

/// What an eviction removed, or would remove.
public struct EvictionReport: Hashable, Sendable {
  /// Runs removed, least recently used first.
  public var runs: [Digest] = []
  /// Blobs removed.
  public var blobs: Int64 = 0
  /// Bytes of `Statistics.storedBytes` given back.
  public var freedBytes: Int64 = 0
  /// What is stored afterwards.
  public var storedBytes: Int64 = 0
  /// Runs that would have gone but are pinned.
  public var pinnedRuns: Int64 = 0
  /// Blobs that are pinned although no run names them any more.
  public var pinnedBlobs: Int64 = 0
  /// Bytes of blobs that stay because they are placed, or captured for a run that is about to be stored.
  public var keptBytes: Int64 = 0
  /// What is asked for has been reached, or there was no limit to reach.
  public var isReached = true
  public var isDryRun: Bool = false

  public init() {}
}

/// What an eviction is to remove.
public struct EvictionRequest: Hashable, Sendable {
  /// Bytes that may stay stored.
  public var maxBytes: Int64?
  /// Runs not used since this time go, nanoseconds since 1970.
  public var olderThan: Int64?
  /// Bytes that shall be free on the store's filesystem.
  public var minFree: Int64?
  /// Only runs with this tag, and only runs whose command fits this pattern, go. Without a size or an age all of them.
  public var tag: Tag?
  public var command: String?

  public init() {}

  /// Whether a size is to be reached, by removing as little as will do.
  fileprivate var hasLimit: Bool { maxBytes != nil || minFree != nil }
  fileprivate var isRestricted: Bool { tag != nil || command != nil }
  fileprivate var takesAll: Bool { isRestricted && !hasLimit && olderThan == nil }
}

extension Store {
  /// As `evict(_:dryRun:)`, for a size and an age alone.
  public func evict(
    maxBytes: Int64? = nil, olderThan: Int64? = nil, dryRun: Bool = false
  ) throws(StoreError) -> EvictionReport {
    var request = EvictionRequest()
    (request.maxBytes, request.olderThan) = (maxBytes, olderThan)
    return try evict(request, dryRun: dryRun)
  }

  /// Removes inflated copies and then least recently used runs until no more than asked for is stored, and those not
  /// used for long; with each run the blobs that nothing else names. What is pinned stays.
  ///
  /// The rows go first, in short transactions, and the files after them: a crash in between leaves files that the next
  /// eviction removes, never a row without its file.
  public func evict(_ request: EvictionRequest, dryRun: Bool = false) throws(StoreError) -> EvictionReport {
    if options.isReadOnly { throw StoreError(.readOnly, directory) }
    try? writePending()  // what cannot be written now is kept, or its loss is told to whom it concerns
    var eviction = Eviction(store: self, request)
    eviction.report.isDryRun = dryRun
    if dryRun {
      try database.rehearse { connection throws(StoreError) in
        let before = try Totals(connection)
        while try eviction.step(connection) {}
        try eviction.close(before, connection)
      }
      return eviction.report
    }
    let before = try database.read { connection throws(StoreError) in try Totals(connection) }
    try shrinking { () throws(StoreError) in
      while true {
        var next = eviction
        let goesOn = try database.write { connection throws(StoreError) in try next.step(connection) }
        eviction = next
        try processRemovals()
        if !goesOn { return }
      }
    }
    try database.read { connection throws(StoreError) in try eviction.close(before, connection) }
    if eviction.report.freedBytes > 0 { try? giveBackPages(all: request.minFree != nil) }
    return eviction.report
  }

  /// Makes the database's file smaller when much of it is unused, or with `all` in any case. Little is left for what comes: a page that is given
  /// back is filled with one from the file's end, at the cost of some writes each.
  private func giveBackPages(all: Bool) throws(StoreError) {
    try database.maintain { connection throws(StoreError) in
      let unused = try connection.first("PRAGMA freelist_count") { $0.integer(0) } ?? 0
      let pages = try connection.first("PRAGMA page_count") { $0.integer(0) } ?? 0
      guard all || unused > pages / 8 else { return }
      try connection.query(built: "PRAGMA incremental_vacuum(4096)", []) { _ in true }
    }
  }

  /// Does what gives space back, and once more with the reserve given up where the disk is too full even for that.
  func shrinking(_ body: () throws(StoreError) -> Void) throws(StoreError) {
    do throws(StoreError) { try body() } catch {
      guard error.code == .noSpace, layout.releaseReserve() else { throw error }
      defer { layout.makeReserve() }
      try body()
    }
  }

  /// Makes room when more is stored than the limit allows, down to 95 % of it, so that not every insertion evicts.
  func evictOverLimit() throws(StoreError) {
    let stored = try database.read { connection throws(StoreError) in try Totals(connection).stored }
    guard stored > options.limit else { return }
    // Where pins keep it from coming below the limit, it does not walk past them all after every call.
    if let last = lastAutomaticEviction, last.storedBytes > options.limit,
      stored < last.storedBytes &+ options.limit / 100, Clock.monotonic() &- automaticEvictionTime < Store.patience
    {
      return
    }
    let report = try evict(maxBytes: options.limit - options.limit / 20)
    automatic.withLock { $0 = (report, Clock.monotonic()) }
    if !report.runs.isEmpty || report.storedBytes > options.limit { tellObserver(of: report) }
  }

  /// Nanoseconds after which an eviction that could not free enough is tried again.
  private static let patience: Int64 = 30_000_000_000

  /// What the last eviction that began by itself did; nil when there was none. When its `storedBytes` is above the
  /// limit, pinned runs keep the store from shrinking.
  public var lastAutomaticEviction: EvictionReport? { automatic.withLock { $0?.report } }

  private var automaticEvictionTime: Int64 { automatic.withLock { $0?.time ?? .min } }

  /// Removes those of the blobs that nothing names or pins and nobody has reserved; their files are then on the list of
  /// `processRemovals`. Gives how many they were.
  @discardableResult
  func removeUnnamed(_ blobs: [Int64], _ connection: Connection) throws(StoreError) -> Int64 {
    let now = Clock.now()
    var count: Int64 = 0
    for id in blobs {
      let row = try connection.first(
        """
        SELECT id, digest, size, stored, form, damaged, boot, inode, modified, changed FROM blobs
        WHERE id = ? AND refs <= 0 AND reserved < ?
        """, .integer(id), .integer(now)
      ) { BlobRow(row: $0) }
      guard let row else { continue }
      if row.form != .inline {
        try connection.run("INSERT OR IGNORE INTO removals VALUES(?)", .bytes(row.path.bytes))
      }
      if row.form == .zstd { try removeCopy(id, row.digest, connection) }
      try connection.run("DELETE FROM blobs WHERE id = ?", .integer(id))
      count += 1
    }
    return count
  }

  /// Bytes that this user may still fill on the store's filesystem.
  fileprivate func freeBytes() throws(StoreError) -> Int64 {
    let status = try attempt(directory) { () throws(Errno) in try layout.root.fileSystemStatus() }
    let bytes = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
    return bytes.overflow ? .max : Int64(clamping: bytes.partialValue)
  }

  func removeCopy(_ blob: Int64, _ digest: Digest, _ connection: Connection) throws(StoreError) {
    try connection.run("DELETE FROM inflated WHERE blob = ?", .integer(blob))
    if connection.changes > 0 {
      let path = StoreLayout.path("inflated", digest)
      try connection.run("INSERT OR IGNORE INTO removals VALUES(?)", .bytes(path.bytes))
    }
  }

  /// Removes the files whose rows are gone. Under the writer's lock, and a name leaves the list when a file is put
  /// there again, so that no file goes that has a row.
  func processRemovals() throws(StoreError) {
    while true {
      let hasSome = try database.read { connection throws(StoreError) in
        try connection.first("SELECT 1 FROM removals LIMIT 1") { _ in true } ?? false
      }
      if !hasSome { return }
      try database.write { connection throws(StoreError) in
        for path in try connection.all("SELECT path FROM removals LIMIT 64", map: { FilePath($0.bytes(0)) }) {
          do throws(Errno) { try layout.root.remove(path) } catch {
            // What is gone is gone; what will never go, such as a directory someone put there, is left to `verify`.
            let isFinal: [Errno] = [.noSuchFile, .notDirectory, .isDirectory, .notPermitted, .accessDenied]
            guard isFinal.contains(error) else { throw StoreError(error, directory.appending(path)) }
          }
          try connection.run("DELETE FROM removals WHERE path = ?", .bytes(path.bytes))
        }
      }
    }
  }
}

/// One eviction on its way: where it stands, and what it has removed.
private struct Eviction {
  let store: Store
  let request: EvictionRequest
  var report = EvictionReport()
  /// The last run looked at; pinned ones stay behind it.
  private var cursor: (used: Int64, row: Int64) = (.min, 0)
  /// Bytes that were free when so many were stored.
  private var disk: (free: Int64, stored: Int64)?
  /// So many go in one transaction: the more, the fewer times the pages that they share are written, and the longer
  /// others wait.
  private static let batch: Int64 = 128

  init(store: Store, _ request: EvictionRequest) {
    self.store = store
    self.request = request
  }

  /// Removes some; false when there is nothing left to do.
  mutating func step(_ connection: Connection) throws(StoreError) -> Bool {
    // In a rehearsal nothing becomes free.
    if request.minFree != nil, disk == nil || !report.isDryRun {
      disk = (try store.freeBytes(), try Totals(connection).stored)
    }
    // Only the runs that were chosen are to go.
    if request.isRestricted { return try removeRuns(connection) }
    if try removeForgotten(connection) { return true }
    if try removeCopies(connection) { return true }
    return try removeRuns(connection)
  }

  mutating func close(_ before: Totals, _ connection: Connection) throws(StoreError) {
    let totals = try Totals(connection)
    report.storedBytes = totals.stored
    report.freedBytes = max(0, before.stored - totals.stored)
    report.isReached = try !exceeds(connection)
    report.pinnedBlobs =
      try connection.first(
        """
        SELECT count(DISTINCT p.blob) FROM blob_pins p
        WHERE NOT EXISTS(SELECT 1 FROM run_blobs n WHERE n.blob = p.blob)
        """
      ) { $0.integer(0) } ?? 0
    report.keptBytes =
      try connection.first(
        """
        SELECT CAST(total(stored) AS INTEGER) FROM blobs WHERE id IN (
          SELECT blob FROM blob_pins UNION
          SELECT n.blob FROM run_pins p JOIN runs r ON r.id = p.run JOIN run_blobs n ON n.run = r.seq UNION
          SELECT id FROM blobs WHERE refs = 0 AND reserved >= ?)
        """, .integer(Clock.now())
      ) { $0.integer(0) } ?? 0
  }

  private func exceeds(_ connection: Connection) throws(StoreError) -> Bool {
    let stored = try Totals(connection).stored
    if let maxBytes = request.maxBytes, stored > maxBytes { return true }
    if let minFree = request.minFree, let disk { return disk.free &+ (disk.stored - stored) < minFree }
    return false
  }

  /// Blobs that were put for a run that never came.
  private mutating func removeForgotten(_ connection: Connection) throws(StoreError) -> Bool {
    let blobs = try connection.all(
      "SELECT id FROM blobs WHERE refs = 0 AND reserved < ? LIMIT ?", .integer(Clock.now()), .integer(Eviction.batch)
    ) { $0.integer(0) }
    let removed = try store.removeUnnamed(blobs, connection)
    report.blobs += removed
    return removed > 0
  }

  private mutating func removeCopies(_ connection: Connection) throws(StoreError) -> Bool {
    let limit: Int64 = try exceeds(connection) ? .max : request.olderThan ?? .min
    let copies = try connection.all(
      """
      SELECT i.blob, b.digest FROM inflated i JOIN blobs b ON b.id = i.blob
      WHERE i.used < ? ORDER BY i.used LIMIT ?
      """, .integer(limit), .integer(Eviction.batch)
    ) { row in row.digest(1).map { (row.integer(0), $0) } }
    for (blob, digest) in copies {
      try store.removeCopy(blob, digest, connection)
      if limit == .max, !(try exceeds(connection)) { break }
    }
    return !copies.isEmpty
  }

  private mutating func removeRuns(_ connection: Connection) throws(StoreError) -> Bool {
    var isOver = try exceeds(connection)
    guard isOver || request.olderThan != nil || request.takesAll else { return false }
    let command: SQLValue = request.command.map { .text($0) } ?? .null
    let tag: (SQLValue, SQLValue) = request.tag.map { (.text($0.name), .text($0.value)) } ?? (.null, .null)
    let runs = try connection.all(
      """
      SELECT r.seq, r.id, r.used, EXISTS(SELECT 1 FROM run_pins p WHERE p.run = r.id) FROM runs r
      WHERE (r.used, r.seq) > (?1, ?2) AND (?4 IS NULL OR CAST(r.command AS TEXT) GLOB ?4)
        AND (?5 IS NULL OR EXISTS(SELECT 1 FROM tags t WHERE t.run = r.seq AND t.name = ?5 AND t.value = ?6))
      ORDER BY r.used, r.seq LIMIT ?3
      """, .integer(cursor.used), .integer(cursor.row), .integer(Eviction.batch), command, tag.0, tag.1
    ) { row in row.digest(1).map { (row: row.integer(0), id: $0, used: row.integer(2), isPinned: row.integer(3) != 0) }
    }
    for run in runs {
      guard isOver || request.takesAll || run.used < request.olderThan ?? .min else { return false }
      cursor = (run.used, run.row)
      if run.isPinned {
        report.pinnedRuns += 1
        continue
      }
      let blobs = try store.removeRun(run.row, connection)
      report.blobs += try store.removeUnnamed(blobs, connection)
      report.runs.append(run.id)
      isOver = try exceeds(connection)
    }
    return !runs.isEmpty
  }
}
