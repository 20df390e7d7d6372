import CasherSystem

/// What happened to the calls of one command since the last transaction.
struct CommandCounts: Sendable {
  var hits: Int64 = 0
  var misses: Int64 = 0
  var uncacheable: Int64 = 0
  var saved: Int64 = 0
  /// Nanoseconds since 1970.
  var used: Int64 = 0

  static func &+= (left: inout CommandCounts, right: CommandCounts) {
    left.hits &+= right.hits
    left.misses &+= right.misses
    left.uncacheable &+= right.uncacheable
    left.saved &+= right.saved
    left.used = max(left.used, right.used)
  }
}

/// Statistics by command and over time. All of them are bounded.
extension Store {
  /// Bytes of a command that it is told from others by in the statistics.
  public static let commandLimit = 1000
  /// Commands that statistics are kept of; those used last.
  private static let keptCommands: Int64 = 10_000

  /// Notes why a call was a miss although there are runs under its weak key; the last such note is kept.
  public func noteMiss(_ weakKey: Digest, _ note: MissNote) {
    if options.isReadOnly { return }
    pending.withLock { $0.misses[weakKey] = note }
    wakeWorker()
  }

  /// Why a call with this weak key was last a miss; nil when none was.
  public func lastMiss(weakKey: Digest) throws(StoreError) -> MissNote? {
    if let note = pending.withLock({ $0.misses[weakKey] }) { return note }
    return try database.read { connection throws(StoreError) in
      try connection.first("SELECT time, reason, detail FROM misses WHERE weak = ?", .digest(weakKey)) { row in
        MissNote(
          time: row.integer(0), reason: row.text(1),
          detail: row.text(2).split(separator: "\n").map(String.init))
      }
    }
  }

  /// Statistics of commands, those that saved most time first.
  public func commandStatistics(limit: Int = .max) throws(StoreError) -> [CommandStatistics] {
    try database.read { connection throws(StoreError) in
      try connection.all(
        """
        SELECT command, hits, misses, uncacheable, saved, used FROM commands
        ORDER BY saved DESC, hits + misses DESC, command LIMIT ?
        """, .integer(Int64(clamping: limit))
      ) { row in
        CommandStatistics(
          command: row.bytes(0), hits: row.integer(1), misses: row.integer(2), uncacheable: row.integer(3),
          saved: row.integer(4), used: row.integer(5))
      }
    }
  }

  /// What happened over time, the oldest first; spans without events are left out.
  public func activity(by span: ActivityBucket.Span) throws(StoreError) -> [ActivityBucket] {
    try database.read { connection throws(StoreError) in
      try connection.all(
        "SELECT start, hits, misses, uncacheable, saved, stored FROM activity WHERE span = ? ORDER BY start",
        .integer(span.rawValue)
      ) { row in
        ActivityBucket(
          start: row.integer(0), hits: row.integer(1), misses: row.integer(2), uncacheable: row.integer(3),
          saved: row.integer(4), storedBytes: row.integer(5))
      }
    }
  }

  /// From now on `Statistics.sinceZero` counts from here; the counts since the cache was made go on.
  public func zeroStatistics() throws(StoreError) {
    try writeWithPending { connection throws(StoreError) in
      try connection.run("DELETE FROM counters WHERE name LIKE 'zero:%'")
      try connection.run(
        """
        INSERT INTO counters SELECT 'zero:' || name, value FROM counters
        WHERE name IN ('hits', 'misses', 'errors', 'saved') OR name LIKE 'uncacheable:%' OR name LIKE 'miss:%'
        """)
      try connection.run("INSERT INTO counters VALUES('zero:time', ?)", .integer(Clock.now()))
    }
  }

  // MARK: writing

  func writeActivity(_ batch: Pending, _ connection: Connection) throws(StoreError) {
    for (weakKey, note) in batch.misses {
      try connection.run(
        """
        INSERT INTO misses SELECT ?1, ?2, ?3, ?4 WHERE EXISTS(SELECT 1 FROM variants WHERE weak = ?1)
        ON CONFLICT(weak) DO UPDATE SET time = excluded.time, reason = excluded.reason, detail = excluded.detail
        """, .digest(weakKey), .integer(note.time), .text(note.reason), .text(note.detail.joined(separator: "\n")))
    }
    for (command, counts) in batch.commands {
      try connection.run(
        """
        INSERT INTO commands VALUES(?, ?, ?, ?, ?, ?)
        ON CONFLICT(command) DO UPDATE SET hits = hits + excluded.hits, misses = misses + excluded.misses,
          uncacheable = uncacheable + excluded.uncacheable, saved = saved + excluded.saved,
          used = max(used, excluded.used)
        """, .bytes(command), .integer(counts.hits), .integer(counts.misses), .integer(counts.uncacheable),
        .integer(counts.saved), .integer(counts.used))
    }
    if !batch.commands.isEmpty {
      try connection.run(
        "DELETE FROM commands WHERE used < (SELECT used FROM commands ORDER BY used DESC LIMIT 1 OFFSET ?)",
        .integer(Store.keptCommands - 1))
    }
    if !batch.counters.isEmpty { try writeBuckets(batch.counters, connection) }
  }

  private func writeBuckets(_ counters: [String: Int64], _ connection: Connection) throws(StoreError) {
    let now = Clock.now() / 1_000_000_000
    let stored = try Totals(connection).stored
    let uncacheable = counters.reduce(into: Int64(0)) {
      if $1.key.hasPrefix(Store.uncacheablePrefix) { $0 &+= $1.value }
    }
    for span in [ActivityBucket.Span.hour, .day] {
      try connection.run(
        """
        INSERT INTO activity VALUES(?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT(span, start) DO UPDATE SET hits = hits + excluded.hits, misses = misses + excluded.misses,
          uncacheable = uncacheable + excluded.uncacheable, saved = saved + excluded.saved, stored = excluded.stored
        """, .integer(span.rawValue), .integer(now - now % span.rawValue), .integer(counters["hits"] ?? 0),
        .integer(counters["misses"] ?? 0), .integer(uncacheable), .integer(counters["saved"] ?? 0), .integer(stored))
      try connection.run(
        "DELETE FROM activity WHERE span = ? AND start < ?", .integer(span.rawValue), .integer(now - span.lifetime))
    }
  }
}
