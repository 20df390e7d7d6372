import CasherSystem

extension Store {
  /// How long a blob that no run names yet is kept for the run that is going to: nanoseconds.
  static let reservation: Int64 = 3_600_000_000_000

  /// Writes what is pending. When nothing is, another thread may be about to commit what was, which is waited for.
  func writePending() throws(StoreError) {
    if pending.withLock({ $0.isEmpty }) && digestCache.hasNothingNew {
      database.waitForWriter()
      return
    }
    try writeWithPending { _ in }
  }

  /// A transaction that writes what is pending and then does `body`. When it fails, blobs that were pending are
  /// dropped: whoever put them finds them missing when the run is to be stored.
  func writeWithPending<Result>(
    _ body: (Connection) throws(StoreError) -> Result
  ) throws(StoreError) -> Result {
    var batch = Pending()
    var digests: [DigestCache.Entry] = []
    var placed: [FilePath] = []
    let fail = { (isLocked: Bool) in
      if isLocked { for path in placed { self.layout.discard(path) } }
      for blob in batch.blobs.values where blob.form != .inline { self.layout.discard(blob.temporary) }
      self.forget(batch)
      self.pending.withLock { pending in
        for (run, touch) in batch.touches { pending.touch(run, touch) }
        for (name, value) in batch.counters { pending.counters[name, default: 0] &+= value }
        for (command, counts) in batch.commands { pending.commands[command, default: CommandCounts()] &+= counts }
        pending.misses.merge(batch.misses) { newer, _ in newer }
      }
    }
    // Both before another thread takes the next batch, which must not have the same blobs in it.
    return try database.write(onSuccess: { forget(batch) }, onFailure: fail) { connection throws(StoreError) in
      batch = pending.withLock { pending in
        let batch = pending
        // Blobs stay where other threads find them until they have rows.
        pending.reserved = []
        pending.touches = [:]
        pending.counters = [:]
        pending.commands = [:]
        pending.misses = [:]
        pending.inflatedUses = []
        return batch
      }
      digests = digestCache.takeNew()
      try write(batch, connection, &placed)
      try digestCache.write(digests, connection)
      return try body(connection)
    }
  }

  private func forget(_ batch: Pending) {
    guard !batch.blobs.isEmpty else { return }
    pending.withLock { pending in
      for digest in batch.blobs.keys {
        if let blob = pending.blobs.removeValue(forKey: digest) { pending.inlineBytes -= blob.data.count }
      }
    }
  }

  private func write(_ batch: Pending, _ connection: Connection, _ placed: inout [FilePath]) throws(StoreError) {
    let now = Clock.now()
    for blob in batch.blobs.values { try write(blob, connection, now: now, &placed) }
    if options.durability == .full {
      for parent in Set(placed.map(\.parent)) {
        try attempt(directory.appending(parent)) { () throws(Errno) in try layout.synchronize(parent) }
      }
    }
    for digest in batch.reserved {
      try connection.run(
        "UPDATE blobs SET reserved = ? WHERE digest = ?", .integer(now &+ Store.reservation), .digest(digest))
    }
    for (run, touch) in batch.touches {
      try connection.run(
        "UPDATE runs SET hits = hits + ?, used = max(used, ?) WHERE id = ?", .integer(touch.hits), .integer(touch.used),
        .digest(run))
      try connection.run(
        """
        UPDATE variants SET used = max(used, ?2)
        WHERE (weak, path_set) = (SELECT weak, path_set FROM runs WHERE id = ?1)
        """, .digest(run), .integer(touch.used))
    }
    for (name, value) in batch.counters {
      try connection.run(
        "INSERT INTO counters VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET value = value + excluded.value", .text(name),
        .integer(value))
    }
    try writeActivity(batch, connection)
    for digest in batch.inflatedUses {
      try connection.run(
        "UPDATE inflated SET used = ? WHERE blob = (SELECT id FROM blobs WHERE digest = ?)", .integer(now),
        .digest(digest))
    }
  }

  /// Gives a blob its name and its row, unless another process has done so meanwhile.
  private func write(
    _ blob: NewBlob, _ connection: Connection, now: Int64, _ placed: inout [FilePath]
  ) throws(StoreError) {
    let row = try BlobRow.find(blob.digest, connection)
    let reserved = SQLValue.integer(now &+ Store.reservation)
    if let row, !row.isDamaged, try inspect(row) == .sound {
      if blob.form != .inline { layout.discard(blob.temporary) }
      return try connection.run("UPDATE blobs SET reserved = ? WHERE id = ?", reserved, .integer(row.id))
    }
    var stamp: FileStamp?
    if blob.form != .inline {
      let path = StoreLayout.path("blobs", blob.digest, compressed: blob.form == .zstd)
      try layout.place(blob.temporary, at: path, synchronizing: options.durability == .full)
      placed.append(path)
      stamp = FileStamp(
        try attempt(directory.appending(path)) { () throws(Errno) in try layout.root.status(of: path) })
      // The file may have been on the list of those that are to be removed.
      try connection.run("DELETE FROM removals WHERE path = ?", .bytes(path.bytes))
      if let row, row.form != .inline, row.path != path {
        try connection.run("INSERT OR IGNORE INTO removals VALUES(?)", .bytes(row.path.bytes))
      }
    }
    let boot: SQLValue = blob.form == .inline || options.durability == .full ? .null : .integer(Boot.current)
    let data: SQLValue = blob.form == .inline ? .bytes(blob.data) : .null
    try connection.run(
      """
      INSERT INTO blobs(digest, size, stored, form, reserved, boot, inode, modified, changed, data)
      VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT(digest) DO UPDATE SET size = excluded.size, stored = excluded.stored, form = excluded.form,
        damaged = 0, boot = excluded.boot, inode = excluded.inode, modified = excluded.modified,
        changed = excluded.changed, data = excluded.data
      """, .digest(blob.digest), .integer(blob.size), .integer(blob.stored), .integer(blob.form.rawValue), reserved,
      boot,
      .integer(stamp?.inode ?? 0), .integer(stamp?.modified ?? 0), .integer(stamp?.changed ?? 0), data)
  }
}

extension Pending {
  mutating func touch(_ run: Digest, _ more: Touch) {
    var touch = touches[run] ?? Touch()
    touch.hits &+= more.hits
    touch.used = max(touch.used, more.used)
    touches[run] = touch
  }
}
