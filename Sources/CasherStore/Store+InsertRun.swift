import CasherSystem

extension Store {
  /// Stores a run, its path set and the rows of the blobs it names in one transaction, in place of a run with the same
  /// strong key and condition key, or the same id. Throws `.missingBlob` when a blob is not there, `.tooLarge` when the
  /// run alone is more than the store may hold; then nothing is stored.
  public func insert(_ run: StoredRun, pathSetBody: [UInt8]) throws(StoreError) {
    let body = Packed.pack(run.body)
    let pathSet = Packed.pack(pathSetBody)
    let outcome = try writeWithPending { connection throws(StoreError) -> Insertion in
      var ids: [Int64] = []
      var size = Int64(body.count)
      for digest in run.blobs {
        guard let row = try BlobRow.find(digest, connection), !row.isDamaged else { return .missing(digest) }
        ids.append(row.id)
        size &+= row.stored
      }
      if size > options.limit { return .tooLarge(size) }
      let replaced = try removeReplaced(by: run, connection)
      let pathSetID = try self.pathSetID(run.pathSet, pathSet, connection)
      let row = try insertRow(run, body, pathSetID, blobs: ids, connection)
      for tag in run.tags {
        try connection.run(
          "INSERT OR IGNORE INTO tags VALUES(?, ?, ?)", .integer(row), .text(tag.name), .text(tag.value))
      }
      // Only now, for the new run may name the same ones.
      try removeUnnamed(replaced, connection)
      return .done(try Totals(connection).stored > options.limit)
    }
    switch outcome {
    case .done(let exceeds):
      if exceeds { wakeWorker(urgently: true) } else if database.isLogLong { wakeWorker() }
    case .missing(let digest): throw missing(digest)
    case .tooLarge(let size):
      throw StoreError(
        .tooLarge, directory, detail: "the run takes \(size) bytes, and the cache may hold \(options.limit)")
    }
  }

  private enum Insertion {
    case done(Bool)
    case missing(Digest)
    case tooLarge(Int64)
  }

  /// Removes a run and the blobs that only it named; false when there is none.
  @discardableResult
  public func remove(run id: Digest) throws(StoreError) -> Bool {
    var isRemoved = false
    try shrinking { () throws(StoreError) in
      isRemoved = try database.write { connection throws(StoreError) in
        guard let row = try connection.first("SELECT seq FROM runs WHERE id = ?", .digest(id), map: { $0.integer(0) })
        else { return false }
        try removeUnnamed(try removeRun(row, connection), connection)
        return true
      }
    }
    if isRemoved { try processRemovals() }
    return isRemoved
  }

  // MARK: rows

  private func removeReplaced(by run: StoredRun, _ connection: Connection) throws(StoreError) -> [Int64] {
    let rows = try connection.all(
      "SELECT seq FROM runs WHERE strong = ?1 AND condition = ?2 UNION SELECT seq FROM runs WHERE id = ?3",
      .digest(run.strongKey), .digest(run.conditionKey), .digest(run.id)
    ) { $0.integer(0) }
    var blobs: [Int64] = []
    for row in rows { blobs += try removeRun(row, connection, keepingPathSet: run.pathSet) }
    return blobs
  }

  private func pathSetID(_ digest: Digest, _ body: [UInt8], _ connection: Connection) throws(StoreError) -> Int64 {
    let find: StaticString = "SELECT id FROM path_sets WHERE digest = ?"
    if let id = try connection.first(find, .digest(digest), map: { $0.integer(0) }) { return id }
    try connection.run(
      "INSERT INTO path_sets(digest, stored, body) VALUES(?, ?, ?)", .digest(digest), .integer(Int64(body.count)),
      .bytes(body))
    return connection.lastInsertedRow
  }

  private func insertRow(
    _ run: StoredRun, _ body: [UInt8], _ pathSet: Int64, blobs: [Int64], _ connection: Connection
  ) throws(StoreError) -> Int64 {
    try connection.run(
      """
      INSERT INTO runs(id, weak, path_set, strong, condition, created, used, hits, duration, status, command, directory,
        mount, parent, output_bytes, inputs, outputs, stored)
      VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """, .digest(run.id), .digest(run.weakKey), .integer(pathSet), .digest(run.strongKey), .digest(run.conditionKey),
      .integer(run.created), .integer(run.lastUsed), .integer(run.hits), .integer(run.duration),
      .integer(Int64(run.exitStatus)), .bytes(run.command), .bytes(run.directory.bytes), .bytes(run.mount.bytes),
      .optional(run.parent), .integer(run.outputBytes), .integer(run.inputCount), .integer(run.outputCount),
      .integer(Int64(body.count)))
    let row = connection.lastInsertedRow
    try connection.run("INSERT INTO bodies VALUES(?, ?)", .integer(row), .bytes(body))
    try connection.run(
      """
      INSERT INTO variants VALUES(?, ?, ?, 1)
      ON CONFLICT(weak, path_set) DO UPDATE SET runs = runs + 1, used = max(used, excluded.used)
      """, .digest(run.weakKey), .integer(pathSet), .integer(run.lastUsed))
    for blob in Set(blobs).sorted() {
      try connection.run("INSERT INTO run_blobs VALUES(?, ?)", .integer(row), .integer(blob))
    }
    for key in Set(run.outputKeys).sorted() {
      try connection.run("INSERT INTO run_outputs VALUES(?, ?)", .integer(row), .integer(key))
    }
    for id in run.innerRuns {
      try connection.run("INSERT OR IGNORE INTO inner_runs VALUES(?, ?)", .integer(row), .digest(id))
    }
    return row
  }

  /// Removes a run's rows and gives the blobs that it named, which `removeUnnamed` then looks at. Pins that owners hold
  /// on the run become pins on its blobs.
  func removeRun(
    _ row: Int64, _ connection: Connection, keepingPathSet kept: Digest? = nil
  ) throws(StoreError) -> [Int64] {
    let blobs = try connection.all("SELECT blob FROM run_blobs WHERE run = ?", .integer(row)) { $0.integer(0) }
    try connection.run(
      """
      INSERT OR IGNORE INTO blob_pins SELECT p.owner, r.id, n.blob, 1
      FROM runs r JOIN run_pins p ON p.run = r.id JOIN run_blobs n ON n.run = r.seq WHERE r.seq = ?
      """, .integer(row))
    try connection.run("DELETE FROM run_pins WHERE run = (SELECT id FROM runs WHERE seq = ?)", .integer(row))
    try connection.run(
      """
      UPDATE variants SET runs = runs - 1
      WHERE (weak, path_set) = (SELECT weak, path_set FROM runs WHERE seq = ?)
      """, .integer(row))
    try connection.run(
      """
      DELETE FROM variants
      WHERE (weak, path_set) = (SELECT weak, path_set FROM runs WHERE seq = ?) AND runs <= 0
      """, .integer(row))
    let pathSet = try connection.first("SELECT path_set FROM runs WHERE seq = ?", .integer(row)) { $0.integer(0) }
    try connection.run("DELETE FROM run_blobs WHERE run = ?", .integer(row))
    try connection.run("DELETE FROM run_outputs WHERE run = ?", .integer(row))
    try connection.run("DELETE FROM inner_runs WHERE run = ?", .integer(row))
    try connection.run("DELETE FROM tags WHERE run = ?", .integer(row))
    try connection.run("DELETE FROM bodies WHERE run = ?", .integer(row))
    try connection.run("DELETE FROM runs WHERE seq = ?", .integer(row))
    if let pathSet {
      try connection.run(
        "DELETE FROM path_sets WHERE id = ? AND refs <= 0 AND digest IS NOT ?", .integer(pathSet), .optional(kept))
    }
    return blobs
  }
}
