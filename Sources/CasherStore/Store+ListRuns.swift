import CasherSystem

/// Lists of runs. Each stops reading when it has as many as were asked for.
extension Store {
  /// Newest first, without blobs; with bodies when asked for.
  public func runs(matching filter: RunFilter, withBodies: Bool = false) throws(StoreError) -> [StoredRun] {
    var result: [StoredRun] = []
    try visitRuns(matching: filter, withBodies: withBodies) { run in
      result.append(run)
      return true
    }
    return result
  }

  /// Calls `body` for the runs, newest first, without blobs and with bodies when asked for, until it gives false. All
  /// are those of one moment, and one is in memory at a time.
  public func visitRuns(
    matching filter: RunFilter, withBodies: Bool = false, _ body: (StoredRun) throws(StoreError) -> Bool
  ) throws(StoreError) {
    try database.readTransaction { connection throws(StoreError) in
      let query = try ListQuery(filter, connection)
      // Most stores have none, and then no run need be asked for its own.
      let hasTags = try connection.first("SELECT 1 FROM tags LIMIT 1") { _ in true } ?? false
      try connection.query(built: query.sql, query.values) { columns throws(StoreError) in
        guard let row = RunRow(columns) else { return true }
        var run = row.run
        if hasTags { run.tags = try tags(of: row.row, connection) }
        if withBodies { run.body = try self.body(of: row.row, connection) }
        return try body(run)
      }
    }
  }

  /// The ids that begin with these hexadecimal digits, newest first, at most `limit`. None for an empty prefix, or one
  /// that is not hexadecimal.
  public func runs(idPrefix: String, limit: Int = 2) throws(StoreError) -> [Digest] {
    let count = idPrefix.utf8.count
    guard (1...64).contains(count),
      let first = Digest(hexadecimal: idPrefix + String(repeating: "0", count: 64 - count)),
      let last = Digest(hexadecimal: idPrefix + String(repeating: "f", count: 64 - count))
    else { return [] }
    return try database.read { connection throws(StoreError) in
      try connection.all(
        "SELECT id FROM runs WHERE id BETWEEN ? AND ? ORDER BY created DESC, seq DESC LIMIT ?", .digest(first),
        .digest(last), .integer(Int64(clamping: limit))
      ) { $0.digest(0) }
    }
  }

  /// The runs that name a blob, as an output or as what they printed; those stored last first, without bodies and blobs.
  public func runs(naming blob: Digest, limit: Int) throws(StoreError) -> [StoredRun] {
    try database.readTransaction { connection throws(StoreError) in
      try connection.all(
        """
        SELECT r.*, p.digest FROM run_blobs n JOIN runs r ON r.seq = n.run JOIN path_sets p ON p.id = r.path_set
        WHERE n.blob = (SELECT id FROM blobs WHERE digest = ?) ORDER BY n.run DESC LIMIT ?
        """, .digest(blob), .integer(Int64(clamping: limit))
      ) { RunRow($0)?.run }
    }
  }
}

extension Store {
  /// The runs that left something at a path, which has this key among their `outputKeys`; those stored last first,
  /// without bodies and blobs. With `blob` only those that name this content.
  public func runs(leaving key: Int64, naming blob: Digest? = nil, limit: Int) throws(StoreError) -> [StoredRun] {
    try database.readTransaction { connection throws(StoreError) in
      try connection.all(
        """
        SELECT r.*, p.digest FROM run_outputs o JOIN runs r ON r.seq = o.run JOIN path_sets p ON p.id = r.path_set
        WHERE o.path = ?1 AND (?2 IS NULL OR EXISTS(
          SELECT 1 FROM run_blobs n WHERE n.run = o.run AND n.blob = (SELECT id FROM blobs WHERE digest = ?2)))
        ORDER BY o.run DESC LIMIT ?3
        """, .integer(key), .optional(blob), .integer(Int64(clamping: limit))
      ) { RunRow($0)?.run }
    }
  }

  /// The runs within which this one was made or replayed, without bodies and blobs.
  public func runs(around id: Digest) throws(StoreError) -> [StoredRun] {
    try database.readTransaction { connection throws(StoreError) in
      try connection.all(
        """
        SELECT r.*, p.digest FROM runs r JOIN path_sets p ON p.id = r.path_set
        WHERE r.seq IN (SELECT run FROM inner_runs WHERE id = ?1)
          OR r.id = (SELECT parent FROM runs WHERE id = ?1)
        """, .digest(id)
      ) { RunRow($0)?.run }
    }
  }
}

/// The statement for a list of runs.
private struct ListQuery {
  var sql = ""
  var values: [SQLValue] = []

  /// When fewer rows than this fit what an index can find, they are found by it and sorted; else the runs are gone
  /// through from the newest on, and those that fit are met soon.
  private static let fewRows: Int64 = 10_000
  /// Bytes of the command that are in its index.
  private static let indexedBytes = 200

  init(_ filter: RunFilter, _ connection: Connection) throws(StoreError) {
    var conditions: [String] = []
    func require(_ condition: String, _ bound: [SQLValue]) {
      conditions.append(condition)
      values += bound
    }
    var index = ""
    if let command = filter.exactCommand {
      index = " INDEXED BY runs_by_command"
      let head = Array(command.prefix(ListQuery.indexedBytes))
      require("substr(r.command, 1, 200) = ?", [.bytes(head)])
      require("r.command = ?", [.bytes(command)])
    } else if let pattern = filter.command {
      require("CAST(r.command AS TEXT) GLOB ?", [.text(pattern)])
      let range = ListQuery.range(of: pattern)
      if let range, try ListQuery.areFew(range, connection) {
        index = " INDEXED BY runs_by_command"
        require("substr(r.command, 1, 200) >= ?", [.bytes(range.lower)])
        require("substr(r.command, 1, 200) < ?", [.bytes(range.upper)])
      }
    }
    if let tag = filter.tag {
      // Not EXISTS, which SQLite might turn round and begin with the tags.
      let isRare = index.isEmpty ? try ListQuery.areFew(tag, connection) : false
      require(
        isRare
          ? "r.seq IN (SELECT run FROM tags WHERE name = ? AND value = ?)"
          : "(SELECT 1 FROM tags t WHERE t.run = r.seq AND t.name = ? AND t.value = ?) IS NOT NULL",
        [.text(tag.name), .text(tag.value)])
    }
    if let since = filter.since { require("r.created >= ?", [.integer(since)]) }
    if let succeeded = filter.succeeded { require(succeeded ? "r.status = 0" : "r.status <> 0", []) }
    if let mount = filter.mount { require("r.mount = ?", [.bytes(mount.bytes)]) }
    if let directory = filter.directory { require("r.directory = ?", [.bytes(directory.bytes)]) }
    if let parent = filter.parent { require("r.parent = ?", [.digest(parent)]) }
    if let weakKey = filter.weakKey { require("r.weak = ?", [.digest(weakKey)]) }
    if filter.isOutermost { require("r.parent IS NULL", []) }
    sql =
      "SELECT r.*, p.digest FROM runs r\(index) JOIN path_sets p ON p.id = r.path_set"
      + (conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND "))
      + " ORDER BY r.created DESC, r.seq DESC LIMIT ? OFFSET ?"
    values += [.integer(filter.limit.map { Int64(clamping: $0) } ?? -1), .integer(Int64(clamping: filter.skip))]
  }

  /// The commands that a pattern can fit, by what it begins with; nil when it begins with a wildcard.
  private static func range(of pattern: String) -> (lower: [UInt8], upper: [UInt8])? {
    let wild = Set("*?[".utf8)
    let head = Array(pattern.utf8.prefix { !wild.contains($0) }.prefix(indexedBytes))
    guard let last = head.lastIndex(where: { $0 < 255 }) else { return nil }
    return (head, Array(head[..<last]) + [head[last] + 1])
  }

  private static func areFew(
    _ range: (lower: [UInt8], upper: [UInt8]), _ connection: Connection
  ) throws(StoreError) -> Bool {
    let count = try connection.first(
      """
      SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_by_command
        WHERE substr(command, 1, 200) >= ? AND substr(command, 1, 200) < ? LIMIT ?)
      """, .bytes(range.lower), .bytes(range.upper), .integer(fewRows)
    ) { $0.integer(0) }
    return count ?? 0 < fewRows
  }

  private static func areFew(_ tag: Tag, _ connection: Connection) throws(StoreError) -> Bool {
    let count = try connection.first(
      "SELECT count(*) FROM (SELECT 1 FROM tags WHERE name = ? AND value = ? LIMIT ?)", .text(tag.name),
      .text(tag.value), .integer(fewRows)
    ) { $0.integer(0) }
    return count ?? 0 < fewRows
  }
}
