import CasherSystem

/// What the database knows about a blob, its content aside.
struct BlobRow: Sendable {
  var id: Int64
  var digest: Digest
  /// Bytes of content.
  var size: Int64
  /// Bytes as they lie in the store.
  var stored: Int64
  var form: BlobForm
  /// Found damaged or missing; putting the content again mends it.
  var isDamaged: Bool
  /// The boot in which the file was written, until it has been synced.
  var boot: Int64?
  /// Of the file.
  var stamp: FileStamp

  /// Relative to the store; of no meaning for an inline one.
  var path: FilePath { StoreLayout.path("blobs", digest, compressed: form == .zstd) }
}

extension BlobRow {
  /// From the columns id, digest, size, stored, form, damaged, boot, inode, modified, changed, of which the first is
  /// number `first`; nil for values that cannot be.
  init?(row: Row, from first: Int32 = 0) {
    guard let digest = row.digest(first + 1), let form = BlobForm(rawValue: row.integer(first + 4)) else { return nil }
    id = row.integer(first)
    self.digest = digest
    size = row.integer(first + 2)
    stored = row.integer(first + 3)
    self.form = form
    isDamaged = row.integer(first + 5) != 0
    boot = row.optionalInteger(first + 6)
    stamp = FileStamp(
      size: stored, inode: row.integer(first + 7), modified: row.integer(first + 8), changed: row.integer(first + 9))
  }

  static func find(_ digest: Digest, _ connection: Connection) throws(StoreError) -> BlobRow? {
    try connection.first(
      """
      SELECT id, digest, size, stored, form, damaged, boot, inode, modified, changed FROM blobs WHERE digest = ?
      """, .digest(digest)
    ) { BlobRow(row: $0) }
  }

  /// As `find`, with the content of an inline blob; other forms have none here.
  static func findWithContent(
    _ digest: Digest, _ connection: Connection
  ) throws(StoreError) -> (row: BlobRow, content: [UInt8])? {
    try connection.first(
      """
      SELECT id, digest, size, stored, form, damaged, boot, inode, modified, changed, data FROM blobs WHERE digest = ?
      """, .digest(digest)
    ) { columns in BlobRow(row: columns).map { ($0, columns.bytes(10)) } }
  }
}
