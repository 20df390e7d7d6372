import CasherSystem

/// What was known of a directory when it was frozen: what it is listed by, and a body that only its owner can decode.
public struct StoredFreeze: Hashable, Sendable {
  /// Never given again; 0 until it is stored.
  public var id: Int64 = 0
  public var mount: FilePath
  /// Nanoseconds since 1970.
  public var created: Int64
  /// A word for what the directory was frozen by.
  public var cause: String
  /// Results that stood in the directory.
  public var files: Int64
  /// Bytes of these.
  public var bytes: Int64
  /// Empty in lists.
  public var body: [UInt8]

  public init(mount: FilePath, created: Int64, cause: String, files: Int64, bytes: Int64, body: [UInt8]) {
    self.mount = mount
    self.created = created
    self.cause = cause
    self.files = files
    self.bytes = bytes
    self.body = body
  }

  init(_ row: Row) {
    self.init(
      mount: FilePath(row.bytes(1)), created: row.integer(2), cause: row.text(3), files: row.integer(4),
      bytes: row.integer(5), body: [])
    id = row.integer(0)
  }
}
