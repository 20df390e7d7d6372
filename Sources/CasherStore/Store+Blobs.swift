import CasherSystem
import Glibc

/// What looking at a blob's file tells.
enum BlobState {
  case sound, missing, truncated
  /// Of the right size, but touched since it was put there, or perhaps lost in a crash: its content must be digested.
  case suspect
}

/// A blob's plain content.
public enum BlobContent: Sendable {
  case bytes([UInt8])
  /// At position 0; the receiver closes it.
  case file(FileDescriptor)

  public func close() { if case .file(let file) = self { file.close() } }
}

extension Store {
  /// Whether the blob is there as far as looking at its file tells: size and times, and the content when those are not
  /// what they were.
  public func hasBlob(_ digest: Digest) throws(StoreError) -> Bool {
    if pending.withLock({ $0.blobs[digest] != nil }) { return true }
    guard let row = try find(digest) else { return false }
    return try isUsable(row)
  }

  /// The size of the content in bytes; nil when there is no such blob.
  public func blobSize(_ digest: Digest) throws(StoreError) -> Int64? {
    if let blob = pending.withLock({ $0.blobs[digest] }) { return blob.size }
    return try find(digest)?.size
  }

  /// The run's blobs that cannot be used: looks at each file and opens only those that are not as they were put. A hit
  /// may be given only when this is empty.
  public func unusableBlobs(of run: Digest) throws(StoreError) -> [Digest] {
    try replayState(of: run).unusable
  }

  /// As `unusableBlobs(of:)`, with the store's newest run at that moment. Throws `.missingBlob` when the run is not stored.
  public func replayState(of run: Digest) throws(StoreError) -> (unusable: [Digest], newest: NewestRun) {
    var newest: NewestRun?
    let rows = try database.read { connection throws(StoreError) in
      try connection.all(
        """
        SELECT b.id, b.digest, b.size, b.stored, b.form, b.damaged, b.boot, b.inode, b.modified, b.changed, n.blob,
          last.seq, last.id
        FROM (SELECT seq, id FROM runs ORDER BY seq DESC LIMIT 1) last, runs r
          LEFT JOIN run_blobs n ON n.run = r.seq LEFT JOIN blobs b ON b.id = n.blob WHERE r.id = ?
        """, .digest(run)
      ) { row throws(StoreError) -> BlobRow? in
        newest = row.digest(12).map { NewestRun(row: row.integer(11), id: $0) }
        if row.isNull(10) { return nil }
        guard let blob = BlobRow(row: row) else { throw StoreError(.damagedRecord, directory, detail: "a run's blob") }
        return blob
      }
    }
    guard let newest else {
      throw StoreError(.missingBlob, directory, detail: "run \(run.hexadecimal) is not stored")
    }
    var result: [Digest] = []
    for row in rows where !(try isUsable(row)) { result.append(row.digest) }
    return (result, newest)
  }

  /// A descriptor to read the blob's plain content from, at position 0. The caller closes it. It stays readable when
  /// the blob is evicted. A compressed blob is inflated first, once; its digest is checked then.
  public func openBlob(_ digest: Digest) throws(StoreError) -> FileDescriptor {
    switch try blobContent(digest) {
    case .bytes(let bytes): return try memoryFile(bytes)
    case .file(let file): return file
    }
  }

  /// As `openBlob`, but gives the bytes themselves of a small blob that the database holds.
  public func blobContent(_ digest: Digest) throws(StoreError) -> BlobContent {
    if digest == Store.nothing { return .bytes([]) }
    if let blob = pending.withLock({ $0.blobs[digest] }) {
      if blob.form == .inline { return .bytes(blob.data) }
      if let file = try open(blob) { return .file(file) }
    }
    let found = try database.read { connection throws(StoreError) in
      try BlobRow.findWithContent(digest, connection)
    }
    guard let (row, data) = found else { throw missing(digest) }
    switch row.form {
    case .inline: return .bytes(try checked(data, row))
    case .plain: return .file(try openStored(row))
    case .zstd: return .file(try openInflated(row))
    }
  }

  /// The whole content; throws `.tooLarge` for more than `limit` bytes.
  public func blobBytes(_ digest: Digest, limit: Int64 = 1 << 30) throws(StoreError) -> [UInt8] {
    if let size = try blobSize(digest), size > limit {
      let path = directory.appending(StoreLayout.path("blobs", digest))
      throw StoreError(.tooLarge, path, detail: "\(size) bytes, \(limit) at most")
    }
    if let blob = pending.withLock({ $0.blobs[digest] }), blob.form == .inline { return blob.data }
    if let row = try find(digest) {
      if row.form == .inline { return try inlineContent(row) }
    }
    let file = try openBlob(digest)
    defer { file.close() }
    let place = directory.appending(StoreLayout.path("blobs", digest))
    return try attempt(place) { () throws(Errno) in try file.readAll(limit: Int(clamping: limit)) }
  }

  /// The whole content when it is no longer than `limit` bytes, else nil.
  public func blobBytes(_ digest: Digest, ifAtMost limit: Int64) throws(StoreError) -> [UInt8]? {
    if let size = try blobSize(digest), size > limit { return nil }
    return try blobBytes(digest, limit: limit)
  }

  // MARK: what the other parts of the store need

  func find(_ digest: Digest) throws(StoreError) -> BlobRow? {
    try database.read { connection throws(StoreError) in try BlobRow.find(digest, connection) }
  }

  func path(_ row: BlobRow) -> FilePath { directory.appending(row.path) }

  func missing(_ digest: Digest) -> StoreError {
    StoreError(.missingBlob, directory.appending(StoreLayout.path("blobs", digest)))
  }

  /// Compares a blob's file, without opening it, with what is known of it.
  func inspect(_ row: BlobRow) throws(StoreError) -> BlobState {
    if row.form == .inline { return row.isDamaged ? .suspect : .sound }
    let status = try attempt(path(row)) { () throws(Errno) in try layout.root.statusIfPresent(of: row.path) }
    return status.map { state(of: row, $0) } ?? .missing
  }

  func isUsable(_ row: BlobRow) throws(StoreError) -> Bool {
    switch try inspect(row) {
    case .sound: return true
    case .missing, .truncated:
      markDamaged(row)
      return false
    case .suspect:
      do throws(StoreError) {
        if row.form == .inline { _ = try inlineContent(row) } else { try openStored(row).close() }
        return true
      } catch {
        if error.isAboutOneBlob { return false }
        throw error
      }
    }
  }

  /// Opens the blob's file as it lies there, compressed or not, once it is known to be right.
  func openStored(_ row: BlobRow) throws(StoreError) -> FileDescriptor {
    let file: FileDescriptor
    do throws(Errno) { file = try layout.root.open(row.path, O_RDONLY | O_NOFOLLOW) } catch {
      guard error == .noSuchFile || error == .tooManySymlinks else { throw StoreError(error, path(row)) }
      markDamaged(row)
      throw StoreError(.missingBlob, path(row), cause: error)
    }
    do throws(StoreError) {
      let status = try attempt(path(row)) { () throws(Errno) in try file.status() }
      switch state(of: row, status) {
      case .sound: break
      case .missing, .truncated:
        markDamaged(row)
        throw StoreError(.truncatedBlob, path(row), detail: "\(status.size) bytes instead of \(row.stored)")
      case .suspect:
        guard try digest(of: file, row) == row.digest else {
          markDamaged(row)
          throw StoreError(.corruptBlob, path(row))
        }
        trust(row, FileStamp(status))
      }
      return file
    } catch {
      file.close()
      throw error
    }
  }

  /// So that no run comes to rely on it, and putting the same content again writes it anew; until then its content is
  /// digested before each use. Without effect where the store cannot be written: then it is found out again.
  func markDamaged(_ row: BlobRow) {
    try? database.write { connection throws(StoreError) in
      try connection.run(
        "UPDATE blobs SET damaged = 1 WHERE id = ? AND digest = ? AND inode IS ? AND changed IS ?", .integer(row.id),
        .digest(row.digest), .integer(row.stamp.inode), .integer(row.stamp.changed))
    }
  }

  /// The digest of a file's content, decompressed where it is compressed; nil when it cannot be decompressed.
  func digest(of file: FileDescriptor, _ row: BlobRow) throws(StoreError) -> Digest? {
    if row.form == .plain { return try attempt(path(row)) { () throws(Errno) in try SHA256.digest(of: file).digest } }
    var hash = SHA256()
    var size: Int64 = 0
    let whole = try inflate(file, row) { bytes throws(StoreError) in
      hash.update(bytes)
      size += Int64(bytes.count)
    }
    let digest = hash.finalize()
    return whole && size == row.size ? digest : nil
  }

  /// Decompresses from the file's present position; false when the data are damaged or more than they should be.
  func inflate(
    _ file: FileDescriptor, _ row: BlobRow, write: (UnsafeRawBufferPointer) throws(StoreError) -> Void
  ) throws(StoreError) -> Bool {
    var size: Int64 = 0
    var exceeds = false
    let whole = try Zstandard.borrow { zstandard throws(StoreError) in
      try zstandard.decompress(
        read: { buffer throws(StoreError) in
          if exceeds { return 0 }
          return try attempt(path(row)) { () throws(Errno) in try file.read(into: buffer) }
        },
        write: { bytes throws(StoreError) in
          size += Int64(bytes.count)
          if size > row.size { exceeds = true } else { try write(bytes) }
        })
    }
    return whole && !exceeds
  }

  /// An unnamed file with these bytes, for reading.
  func memoryFile(_ bytes: [UInt8]) throws(StoreError) -> FileDescriptor {
    try attempt(directory) { () throws(Errno) in
      let file = try FileDescriptor.anonymous("casher-blob")
      defer { file.close() }
      try file.writeAll(bytes)
      return try file.reopen(O_RDONLY)
    }
  }

  // MARK: private

  private func state(of row: BlobRow, _ status: FileStatus) -> BlobState {
    if status.type != .regular { return .missing }
    if status.size != row.stored { return .truncated }
    let isOfThisBoot = row.boot == nil || row.boot == Boot.current
    return !row.isDamaged && isOfThisBoot && FileStamp(status) == row.stamp ? .sound : .suspect
  }

  /// What was digested and is right need not be digested again as long as its file is not touched.
  func trust(_ row: BlobRow, _ stamp: FileStamp) {
    try? database.write { connection throws(StoreError) in
      try connection.run(
        "UPDATE blobs SET boot = NULL, damaged = 0, inode = ?, modified = ?, changed = ? WHERE id = ? AND digest = ?",
        .integer(stamp.inode), .integer(stamp.modified), .integer(stamp.changed), .integer(row.id), .digest(row.digest))
    }
  }

  /// Nil when the blob got its row in the meantime, or was dropped.
  private func open(_ blob: NewBlob) throws(StoreError) -> FileDescriptor? {
    switch blob.form {
    case .inline, .zstd:
      try writePending()
      return nil
    case .plain:
      do throws(Errno) { return try layout.root.open(blob.temporary, O_RDONLY) } catch {
        guard error == .noSuchFile else { throw StoreError(error, directory.appending(blob.temporary)) }
        database.waitForWriter()
        return nil
      }
    }
  }

  private func inlineContent(_ row: BlobRow) throws(StoreError) -> [UInt8] {
    let bytes = try database.read { connection throws(StoreError) in
      try connection.first("SELECT data FROM blobs WHERE digest = ?", .digest(row.digest)) { $0.bytes(0) }
    }
    guard let bytes else { throw missing(row.digest) }
    return try checked(bytes, row)
  }

  /// The bytes of an inline blob, once they are known to be right.
  private func checked(_ bytes: [UInt8], _ row: BlobRow) throws(StoreError) -> [UInt8] {
    guard SHA256.digest(of: bytes) == row.digest else {
      markDamaged(row)
      throw StoreError(.corruptBlob, path(row))
    }
    if row.isDamaged { trust(row, row.stamp) }
    return bytes
  }
}
