import CasherSystem

extension Store {
  // MARK: lookups

  /// The path sets known under a weak key, most recently used first.
  public func pathSets(weakKey: Digest, limit: Int = .max) throws(StoreError) -> [(digest: Digest, body: [UInt8])] {
    try database.read { connection throws(StoreError) in
      try connection.all(
        """
        SELECT p.digest, p.body FROM variants v JOIN path_sets p ON p.id = v.path_set
        WHERE v.weak = ? ORDER BY v.used DESC LIMIT ?
        """, .digest(weakKey), .integer(Int64(clamping: limit))
      ) { row throws(StoreError) in
        guard let digest = row.digest(0), let body = Packed.unpack(row.bytes(1)) else {
          throw StoreError(.damagedRecord, directory, detail: "a path set")
        }
        return (digest, body)
      }
    }
  }

  /// As `pathSets`, without the bodies: for callers that keep decoded path sets.
  public func pathSetDigests(weakKey: Digest, limit: Int = .max) throws(StoreError) -> [Digest] {
    try database.read { connection throws(StoreError) in
      try connection.all(
        """
        SELECT p.digest FROM variants v JOIN path_sets p ON p.id = v.path_set
        WHERE v.weak = ? ORDER BY v.used DESC LIMIT ?
        """, .digest(weakKey), .integer(Int64(clamping: limit))
      ) { $0.digest(0) }
    }
  }

  /// Nil when it is not there.
  public func pathSetBody(_ digest: Digest) throws(StoreError) -> [UInt8]? {
    try database.read { connection throws(StoreError) in
      try connection.first("SELECT body FROM path_sets WHERE digest = ?", .digest(digest)) { row throws(StoreError) in
        guard let body = Packed.unpack(row.bytes(0)) else {
          throw StoreError(.damagedRecord, directory, detail: "a path set")
        }
        return body
      }
    }
  }

  /// The runs of a strong key with their bodies and blobs, most recently used first.
  public func runs(strongKey: Digest, limit: Int = .max) throws(StoreError) -> [StoredRun] {
    try database.readTransaction { connection throws(StoreError) in
      try whole(
        try connection.all(
          """
          SELECT r.*, p.digest FROM runs r JOIN path_sets p ON p.id = r.path_set
          WHERE r.strong = ? ORDER BY r.used DESC, r.seq DESC LIMIT ?
          """, .digest(strongKey), .integer(Int64(clamping: limit))
        ) { RunRow($0) }, connection)
    }
  }

  /// The runs of a weak key with their bodies and blobs, most recently used first.
  public func runs(weakKey: Digest, limit: Int = 16) throws(StoreError) -> [StoredRun] {
    try database.readTransaction { connection throws(StoreError) in
      try whole(
        try connection.all(
          """
          SELECT r.*, p.digest FROM runs r JOIN path_sets p ON p.id = r.path_set
          WHERE r.weak = ? ORDER BY r.used DESC LIMIT ?
          """, .digest(weakKey), .integer(Int64(clamping: limit))
        ) { RunRow($0) }, connection)
    }
  }

  /// The run that was stored last, in whichever process; nil when there is none.
  public func newestRun() throws(StoreError) -> NewestRun? {
    try database.read { connection throws(StoreError) in try newestRun(connection) }
  }

  private func newestRun(_ connection: Connection) throws(StoreError) -> NewestRun? {
    try connection.first("SELECT seq, id FROM runs ORDER BY seq DESC LIMIT 1") { row in
      row.digest(1).map { NewestRun(row: row.integer(0), id: $0) }
    }
  }

  /// The runs of the weak key that were stored since `newest` was the newest one of all, in their order, and the last of
  /// them, or `newest` when there is none; nil when that cannot be told any more, or when they are more than `limit`.
  public func runs(
    weakKey: Digest, storedAfter newest: NewestRun, limit: Int
  ) throws(StoreError) -> (runs: [StoredRun], newest: NewestRun)? {
    try database.readTransaction { connection throws(StoreError) -> (runs: [StoredRun], newest: NewestRun)? in
      // A number is given out again once the newest run is removed; as long as that one is there, later ones have
      // higher numbers.
      let isThere = try connection.first(
        "SELECT 1 FROM runs WHERE seq = ? AND id = ?", .integer(newest.row), .digest(newest.id)
      ) { _ in true }
      if isThere == nil { return nil }
      // Few are later: the key's own index would be the longer way.
      let found = try connection.all(
        """
        SELECT r.*, p.digest FROM runs r JOIN path_sets p ON p.id = r.path_set
        WHERE r.seq > ? AND +r.weak = ? ORDER BY r.seq LIMIT ?
        """, .integer(newest.row), .digest(weakKey), .integer(Int64(limit) + 1)
      ) { RunRow($0) }
      if found.count > limit { return nil }
      return (try whole(found, connection), found.last.map { NewestRun(row: $0.row, id: $0.run.id) } ?? newest)
    }
  }

  /// All runs of a weak key with their bodies, most recently used first, and the store's newest run at that moment; nil
  /// when they are more than `limit`, or have more than `inputLimit` inputs together.
  public func allRuns(
    weakKey: Digest, limit: Int, inputLimit: Int64
  ) throws(StoreError) -> (runs: [StoredRun], newest: NewestRun)? {
    try database.readTransaction { connection throws(StoreError) -> (runs: [StoredRun], newest: NewestRun)? in
      guard let newest = try newestRun(connection) else { return nil }
      let found = try connection.all(
        """
        SELECT r.*, p.digest FROM runs r JOIN path_sets p ON p.id = r.path_set
        WHERE r.weak = ? ORDER BY r.used DESC LIMIT ?
        """, .digest(weakKey), .integer(Int64(limit) + 1)
      ) { RunRow($0) }
      if found.count > limit || found.reduce(0, { $0 &+ $1.run.inputCount }) > inputLimit { return nil }
      return (try whole(found, connection), newest)
    }
  }

  /// Records a hit on a run: its place in the order of eviction, and its count. Cheap; written with the next flush.
  public func touch(_ run: Digest) {
    if options.isReadOnly { return }
    pending.withLock { $0.touch(run, Pending.Touch(hits: 1, used: Clock.now())) }
    wakeWorker()
  }

  /// The run with its body and blobs; nil when it is not there.
  public func run(_ id: Digest) throws(StoreError) -> StoredRun? {
    try database.readTransaction { connection throws(StoreError) in
      try whole(
        try connection.all(
          "SELECT r.*, p.digest FROM runs r JOIN path_sets p ON p.id = r.path_set WHERE r.id = ?", .digest(id)
        ) { RunRow($0) }, connection
      ).first
    }
  }

  // MARK: what belongs to a row

  private func whole(_ rows: [RunRow], _ connection: Connection) throws(StoreError) -> [StoredRun] {
    var result: [StoredRun] = []
    for row in rows {
      var run = row.run
      run.body = try body(of: row.row, connection)
      run.tags = try tags(of: row.row, connection)
      run.blobs = try connection.all(
        "SELECT b.digest FROM run_blobs n LEFT JOIN blobs b ON b.id = n.blob WHERE n.run = ?", .integer(row.row)
      ) { columns throws(StoreError) in
        guard let blob = columns.digest(0) else { throw StoreError(.damagedRecord, directory, detail: "a run's blob") }
        return blob
      }
      result.append(run)
    }
    return result
  }

  func body(of row: Int64, _ connection: Connection) throws(StoreError) -> [UInt8] {
    let frame = try connection.first("SELECT body FROM bodies WHERE run = ?", .integer(row)) { $0.bytes(0) }
    guard let frame, let body = Packed.unpack(frame) else {
      throw StoreError(.damagedRecord, directory, detail: "a run")
    }
    return body
  }

  func tags(of row: Int64, _ connection: Connection) throws(StoreError) -> [Tag] {
    try connection.all("SELECT name, value FROM tags WHERE run = ?", .integer(row)) {
      Tag(name: $0.text(0), value: $0.text(1))
    }
  }
}

/// Which run of a store was stored last: as long as that is the same, no run has been added.
public struct NewestRun: Hashable, Sendable {
  let row: Int64
  let id: Digest
}

/// A row of `runs` with its path set's digest behind it.
struct RunRow {
  let row: Int64
  let run: StoredRun

  init?(_ columns: Row) {
    guard let id = columns.digest(1), let weak = columns.digest(2), let strong = columns.digest(4),
      let condition = columns.digest(5), let pathSet = columns.digest(19)
    else { return nil }
    row = columns.integer(0)
    run = StoredRun(
      id: id, weakKey: weak, pathSet: pathSet, strongKey: strong, conditionKey: condition, created: columns.integer(6),
      lastUsed: columns.integer(7), duration: columns.integer(9),
      exitStatus: UInt8(truncatingIfNeeded: columns.integer(10)), command: columns.bytes(11),
      directory: FilePath(columns.bytes(12)), mount: FilePath(columns.bytes(13)), parent: columns.digest(14),
      outputBytes: columns.integer(15), inputCount: columns.integer(16), outputCount: columns.integer(17),
      hits: columns.integer(8), body: [], blobs: [])
  }
}
