import CasherSystem

/// Digests of files by device, inode and the state that they were in. Bounded in memory, the rest in the database.
final class DigestCache: Sendable {
  struct Entry: Sendable {
    var key: InodeKey
    var size: Int64
    var modified: Int64
    var changed: Int64
    var digest: Digest
    /// Days since 1970 on which it was last of use.
    var day: Int64

    func isOf(_ status: FileStatus) -> Bool {
      key == status.key && size == status.size && modified == status.modified && changed == status.changed
    }
  }

  private struct State {
    /// What was used lately, and what was used before that; each of at most `generation` entries.
    var young: [InodeKey: Entry] = [:]
    var old: [InodeKey: Entry] = [:]
    var new: [Entry] = []

    mutating func keep(_ entry: Entry) {
      if young.count >= DigestCache.generation {
        old = young
        young = [:]
      }
      young[entry.key] = entry
    }
  }

  private let state = Monitor(State())
  /// Two of these take about 40 MB.
  private static let generation = 100_000
  /// Days after which a row that was of no use goes.
  static let lifetime: Int64 = 90

  static var today: Int64 { Clock.now() / 86_400_000_000_000 }

  var hasNothingNew: Bool { state.withLock { $0.new.isEmpty } }

  /// The entry of the file in this state, among those in memory.
  func find(_ status: FileStatus, today: Int64) -> Digest? {
    state.withLock { state in
      if let entry = state.young[status.key] { return entry.isOf(status) ? entry.digest : nil }
      guard var entry = state.old[status.key], entry.isOf(status) else { return nil }
      if entry.day != today {
        entry.day = today
        state.new.append(entry)
      }
      state.keep(entry)
      return entry.digest
    }
  }

  func keep(_ entry: Entry, isNew: Bool) {
    state.withLock { state in
      state.keep(entry)
      if isNew { state.new.append(entry) }
    }
  }

  func takeNew() -> [Entry] {
    state.withLock { state in
      defer { state.new = [] }
      return state.new
    }
  }

  func write(_ entries: [Entry], _ connection: Connection) throws(StoreError) {
    for entry in entries {
      try connection.run(
        """
        INSERT INTO digests VALUES(?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT(device, inode) DO UPDATE SET size = excluded.size, modified = excluded.modified,
          changed = excluded.changed, digest = excluded.digest, day = excluded.day
        """, .integer(Int64(bitPattern: entry.key.device)), .integer(Int64(bitPattern: entry.key.inode)),
        .integer(entry.size), .integer(entry.modified), .integer(entry.changed), .digest(entry.digest),
        .integer(entry.day))
    }
    if !entries.isEmpty { try prune(connection) }
  }

  /// Once a day, drops the rows that were of no use for long.
  private func prune(_ connection: Connection) throws(StoreError) {
    let today = DigestCache.today
    let last = try connection.first("SELECT value FROM counters WHERE name = 'digests-pruned'") { $0.integer(0) }
    if last == today { return }
    try connection.run("DELETE FROM digests WHERE day < ?", .integer(today - DigestCache.lifetime))
    try connection.run(
      "INSERT INTO counters VALUES('digests-pruned', ?1) ON CONFLICT(name) DO UPDATE SET value = ?1", .integer(today))
  }
}

extension Store {
  /// The digest that was remembered for this file in this state; nil when unknown. A file that is in memory costs no
  /// statement.
  public func cachedDigest(_ status: FileStatus) -> Digest? {
    let today = DigestCache.today
    if let digest = digestCache.find(status, today: today) { return digest }
    let found = try? database.read { connection throws(StoreError) in
      try connection.first(
        """
        SELECT size, modified, changed, digest, day FROM digests WHERE device = ? AND inode = ?
        """, .integer(Int64(bitPattern: status.key.device)), .integer(Int64(bitPattern: status.key.inode))
      ) { row -> DigestCache.Entry? in
        row.digest(3).map {
          DigestCache.Entry(
            key: status.key, size: row.integer(0), modified: row.integer(1), changed: row.integer(2), digest: $0,
            day: row.integer(4))
        }
      }
    }
    guard var entry = found, entry.isOf(status) else { return nil }
    let isStale = entry.day != today
    entry.day = today
    digestCache.keep(entry, isNew: isStale && !options.isReadOnly)
    return entry.digest
  }

  /// Remembers a file's digest.
  ///
  /// The caller makes sure that the file was not changed within the clock's granularity of being digested: that
  /// `status` was the same before and after the reading, and that its `changed` lay more than a clock tick (10 ms
  /// covers every kernel) before the reading began. A change after that moves `changed`.
  public func rememberDigest(_ digest: Digest, of status: FileStatus) {
    let entry = DigestCache.Entry(
      key: status.key, size: status.size, modified: status.modified, changed: status.changed, digest: digest,
      day: DigestCache.today)
    digestCache.keep(entry, isNew: !options.isReadOnly)
    wakeWorker()
  }
}
