import CasherSystem
import Glibc

/// Plain copies of compressed blobs: made when one is opened first, kept in `inflated`, given up first when space is
/// needed.
extension Store {
  /// Bytes up to which a copy is held in memory where the disk has no room for it.
  private static let memoryLimit: Int64 = 256 << 20

  func openInflated(_ row: BlobRow) throws(StoreError) -> FileDescriptor {
    if let file = try openCopy(row) { return file }
    if options.isReadOnly { return try inflateToMemory(row) }
    // One thread inflates, the others wait and look again.
    _ = inflating.wait { $0.insert(row.digest).inserted ? true : nil }
    defer { inflating.update { _ = $0.remove(row.digest) } }
    if let file = try openCopy(row) { return file }
    do throws(StoreError) { return try makeCopy(row) } catch {
      guard error.code == .noSpace, row.size <= Store.memoryLimit else { throw error }
      return try inflateToMemory(row)
    }
  }

  /// The copy that is there; nil when there is none, or not as it was made, or made before the machine was last
  /// started.
  private func openCopy(_ row: BlobRow) throws(StoreError) -> FileDescriptor? {
    let stamp = try database.read { connection throws(StoreError) in
      try connection.first(
        "SELECT size, inode, modified, changed FROM inflated WHERE blob = ? AND boot = ?", .integer(row.id),
        .integer(Boot.current)
      ) { FileStamp(size: $0.integer(0), inode: $0.integer(1), modified: $0.integer(2), changed: $0.integer(3)) }
    }
    guard let stamp, let file = try? layout.root.open(copyPath(row), O_RDONLY | O_NOFOLLOW) else { return nil }
    guard let status = try? file.status(), FileStamp(status) == stamp, status.size == row.size else {
      file.close()
      return nil
    }
    if !options.isReadOnly { pending.withLock { _ = $0.inflatedUses.insert(row.digest) } }
    return file
  }

  private func copyPath(_ row: BlobRow) -> FilePath { StoreLayout.path("inflated", row.digest) }

  private func makeCopy(_ row: BlobRow) throws(StoreError) -> FileDescriptor {
    let name = layout.scratchName()
    let path = directory.appending(name)
    let target = try attempt(path) { () throws(Errno) in
      try layout.root.open(name, O_RDWR | O_CREAT | O_EXCL, mode: 0o400)
    }
    defer { target.close() }
    let file: FileDescriptor
    do throws(StoreError) {
      try inflate(row, into: target, path)
      file = try attempt(path) { () throws(Errno) in try layout.root.open(name, O_RDONLY) }
    } catch {
      layout.discard(name)
      throw error
    }
    // The content is right whether or not the copy can be kept.
    do throws(StoreError) { try keepCopy(name, row) } catch { layout.discard(name) }
    return file
  }

  private func keepCopy(_ name: FilePath, _ row: BlobRow) throws(StoreError) {
    let place = copyPath(row)
    var isPlaced = false
    let now = Clock.now()
    try database.write(onFailure: { if $0 && isPlaced { layout.discard(place) } }) { connection throws(StoreError) in
      guard let present = try BlobRow.find(row.digest, connection), present.id == row.id else {
        return layout.discard(name)
      }
      try connection.run("DELETE FROM inflated WHERE blob = ?", .integer(row.id))
      try layout.place(name, at: place)
      isPlaced = true
      let status = try attempt(directory.appending(place)) { () throws(Errno) in try layout.root.status(of: place) }
      let stamp = FileStamp(status)
      try connection.run("DELETE FROM removals WHERE path = ?", .bytes(place.bytes))
      try connection.run(
        "INSERT INTO inflated VALUES(?, ?, ?, ?, ?, ?, ?)", .integer(row.id), .integer(stamp.size), .integer(now),
        .integer(Boot.current), .integer(stamp.inode), .integer(stamp.modified), .integer(stamp.changed))
    }
    wakeWorker()
  }

  private func inflateToMemory(_ row: BlobRow) throws(StoreError) -> FileDescriptor {
    let target = try attempt(directory) { () throws(Errno) in try FileDescriptor.anonymous("casher-blob") }
    defer { target.close() }
    try inflate(row, into: target, directory)
    return try attempt(directory) { () throws(Errno) in try target.reopen(O_RDONLY) }
  }

  /// Writes the blob's plain content and checks its size and digest.
  private func inflate(_ row: BlobRow, into target: FileDescriptor, _ place: FilePath) throws(StoreError) {
    let source = try openStored(row)
    defer { source.close() }
    try attempt(path(row)) { () throws(Errno) in _ = try source.seek(to: 0) }
    var hash = SHA256()
    var writer = SparseWriter(target)
    var size: Int64 = 0
    let whole = try inflate(source, row) { bytes throws(StoreError) in
      hash.update(bytes)
      size += Int64(bytes.count)
      try attempt(place) { () throws(Errno) in try writer.write(bytes) }
    }
    guard whole, size == row.size, hash.finalize() == row.digest else {
      markDamaged(row)
      throw StoreError(.corruptBlob, path(row))
    }
    try attempt(place) { () throws(Errno) in try writer.finish() }
  }
}
