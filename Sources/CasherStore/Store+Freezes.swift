import CasherSystem

/// Freezes. They outlive the runs that they name, and do not count toward the store's limit: of each directory a few are
/// kept, and those that are alike share one body.
extension Store {
  /// How many freezes of one directory are kept.
  public static let keptFreezes = 20

  /// Keeps a freeze, and gives its number. The oldest of its directory goes when there are too many.
  @discardableResult
  public func insert(_ freeze: StoredFreeze) throws(StoreError) -> Int64 {
    let digest = SHA256.digest(of: freeze.body)
    let body = Packed.pack(freeze.body)
    return try database.write { connection throws(StoreError) in
      try connection.run(
        "INSERT OR IGNORE INTO freeze_bodies(digest, body) VALUES(?, ?)", .digest(digest), .bytes(body))
      try connection.run(
        """
        INSERT INTO freezes(mount, created, cause, files, bytes, body)
        SELECT ?, ?, ?, ?, ?, id FROM freeze_bodies WHERE digest = ?
        """, .bytes(freeze.mount.bytes), .integer(freeze.created), .text(freeze.cause), .integer(freeze.files),
        .integer(freeze.bytes), .digest(digest))
      let id = connection.lastInsertedRow
      try connection.run(
        """
        DELETE FROM freezes WHERE mount = ?1
          AND id <= (SELECT id FROM freezes WHERE mount = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)
        """, .bytes(freeze.mount.bytes), .integer(Int64(Store.keptFreezes)))
      return id
    }
  }

  /// Newest first, without bodies; of one directory, or of all.
  public func freezes(of mount: FilePath? = nil, limit: Int = .max) throws(StoreError) -> [StoredFreeze] {
    try database.read { connection throws(StoreError) in
      try connection.all(
        """
        SELECT id, mount, created, cause, files, bytes FROM freezes WHERE ?1 IS NULL OR mount = ?1
        ORDER BY id DESC LIMIT ?2
        """, mount.map { .bytes($0.bytes) } ?? .null, .integer(Int64(clamping: limit))
      ) { StoredFreeze($0) }
    }
  }

  /// The freeze with its body; nil when it is not there.
  public func freeze(_ id: Int64) throws(StoreError) -> StoredFreeze? {
    try database.read { connection throws(StoreError) in
      try connection.first(
        """
        SELECT f.id, f.mount, f.created, f.cause, f.files, f.bytes, b.body
        FROM freezes f JOIN freeze_bodies b ON b.id = f.body WHERE f.id = ?
        """, .integer(id)
      ) { row throws(StoreError) in
        guard let body = Packed.unpack(row.bytes(6)) else {
          throw StoreError(.damagedRecord, directory, detail: "a freeze")
        }
        var freeze = StoredFreeze(row)
        freeze.body = body
        return freeze
      }
    }
  }

  /// The latest freeze of a directory with its body.
  public func lastFreeze(of mount: FilePath) throws(StoreError) -> StoredFreeze? {
    guard let last = try freezes(of: mount, limit: 1).first else { return nil }
    return try freeze(last.id)
  }

  /// Forgets freezes; ids that are not there are passed over.
  public func remove(freezes ids: [Int64]) throws(StoreError) {
    try database.write { connection throws(StoreError) in
      for id in ids { try connection.run("DELETE FROM freezes WHERE id = ?", .integer(id)) }
    }
  }
}
