import CasherSystem

/// What keeps blobs from eviction although no run may name them: rows, so that every process heeds them and they
/// survive crashes. An owner is whoever takes the pins, a mount's id for one.
extension Store {
  /// Keeps a stored run's blobs until `unpin(run:for:)`. One row, whatever the number of blobs; pinning again changes
  /// nothing. Throws `.missingBlob` when the run is no longer stored.
  public func pin(run: Digest, for owner: String) throws(StoreError) {
    let isStored = try database.write { connection throws(StoreError) in
      try connection.run(
        "INSERT OR IGNORE INTO run_pins SELECT ?1, id FROM runs WHERE id = ?2", .text(owner), .digest(run))
      return try connection.first(
        "SELECT 1 FROM run_pins WHERE owner = ? AND run = ?", .text(owner), .digest(run)
      ) { _ in true } ?? false
    }
    if !isStored { throw StoreError(.missingBlob, directory, detail: "run \(run.hexadecimal) is no longer stored") }
  }

  /// The runs that the owner keeps.
  public func pinnedRuns(of owner: String) throws(StoreError) -> [Digest] {
    try database.read { connection throws(StoreError) in
      try connection.all("SELECT run FROM run_pins WHERE owner = ?", .text(owner)) { $0.digest(0) }
    }
  }

  public func unpin(run: Digest, for owner: String) throws(StoreError) {
    try database.write { connection throws(StoreError) in
      try connection.run("DELETE FROM run_pins WHERE owner = ? AND run = ?", .text(owner), .digest(run))
      let blobs = try connection.all(
        "SELECT blob FROM blob_pins WHERE owner = ? AND holder = ?", .text(owner), .digest(run)
      ) { $0.integer(0) }
      try connection.run("DELETE FROM blob_pins WHERE owner = ? AND holder = ?", .text(owner), .digest(run))
      try removeUnnamed(blobs, connection)
    }
    try processRemovals()
  }

  /// Keeps blobs, each counted, until `unpin(blobs:for:)` was called as often. Throws `.missingBlob` for one that is
  /// not there, and pins none then.
  public func pin(blobs: [Digest], for owner: String) throws(StoreError) {
    let absent = try writeWithPending { connection throws(StoreError) -> Digest? in
      var ids: [Int64] = []
      for digest in blobs {
        guard let row = try BlobRow.find(digest, connection), !row.isDamaged else { return digest }
        ids.append(row.id)
      }
      for id in ids {
        try connection.run(
          """
          INSERT INTO blob_pins VALUES(?, x'', ?, 1) ON CONFLICT(owner, holder, blob) DO UPDATE SET count = count + 1
          """, .text(owner), .integer(id))
      }
      return nil
    }
    if let absent { throw missing(absent) }
  }

  public func unpin(blobs: [Digest], for owner: String) throws(StoreError) {
    try database.write { connection throws(StoreError) in
      var freed: [Int64] = []
      for digest in blobs {
        guard let row = try BlobRow.find(digest, connection) else { continue }
        try connection.run(
          "UPDATE blob_pins SET count = count - 1 WHERE owner = ? AND holder = x'' AND blob = ?", .text(owner),
          .integer(row.id))
        try connection.run(
          "DELETE FROM blob_pins WHERE owner = ? AND holder = x'' AND blob = ? AND count <= 0", .text(owner),
          .integer(row.id))
        freed.append(row.id)
      }
      try removeUnnamed(freed, connection)
    }
    try processRemovals()
  }

  /// Gives up everything that the owner holds.
  public func unpinAll(for owner: String) throws(StoreError) {
    try database.write { connection throws(StoreError) in
      let blobs = try connection.all("SELECT blob FROM blob_pins WHERE owner = ?", .text(owner)) { $0.integer(0) }
      try connection.run("DELETE FROM run_pins WHERE owner = ?", .text(owner))
      try connection.run("DELETE FROM blob_pins WHERE owner = ?", .text(owner))
      try removeUnnamed(blobs, connection)
    }
    try processRemovals()
  }

  /// Everyone who holds pins.
  public func pinOwners() throws(StoreError) -> [String] {
    try database.read { connection throws(StoreError) in
      try connection.all("SELECT owner FROM run_pins UNION SELECT owner FROM blob_pins ORDER BY 1") { $0.text(0) }
    }
  }
}
