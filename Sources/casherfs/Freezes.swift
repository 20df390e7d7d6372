import CasherRecord
import CasherStore
import CasherSystem

/// What commands do with freezes on record.
enum Freezes {
  static func record(of freeze: StoredFreeze) throws(Failure) -> FreezeRecord {
    do throws(DecodingFailure) { return try FreezeRecord(encoded: freeze.body) } catch {
      throw Failure(.storeUnusable, "the record of freeze \(freeze.id) is damaged: \(error).")
    }
  }

  /// The freeze of the number that a user gives.
  static func find(_ text: String, in store: Store) throws(Failure) -> StoredFreeze {
    guard let id = Int64(text) else {
      throw Failure(.usage, "'\(text)' is not the number of a freeze; 'casherfs freezes' lists them.")
    }
    let found = try StoreAccess.reading { () throws(StoreError) in try store.freeze(id) }
    guard let found else {
      throw Failure(.noSuchFreeze, "there is no freeze \(id); 'casherfs freezes' lists them.")
    }
    return found
  }

  /// The last freeze of a directory, or else of the nearest one around it.
  static func last(around directory: FilePath, in store: Store) throws(Failure) -> StoredFreeze? {
    try StoreAccess.reading { () throws(StoreError) in
      for ancestor in ancestors(of: directory) {
        if let freeze = try store.lastFreeze(of: ancestor) { return freeze }
      }
      return nil
    }
  }

  /// A directory and those around it, innermost first, for an absolute path.
  static func ancestors(of path: FilePath) -> [FilePath] {
    var result = [path]
    while let last = result.last, last.bytes.count > 1 { result.append(last.parent) }
    return result
  }

  static func members(_ freeze: StoredFreeze) -> [(String, JSON)] {
    [
      ("id", .integer(freeze.id)), ("directory", .path(freeze.mount)),
      ("created", .number(Double(freeze.created) / 1e9)),
      ("cause", .string(freeze.cause)), ("files", .integer(freeze.files)), ("bytes", .integer(freeze.bytes)),
    ]
  }

  static func json(_ result: FreezeRecord.Result, _ maker: FreezeRecord.Maker) -> JSON {
    let content: [(String, JSON)] =
      switch result.content {
      case .file(let digest, let size):
        [("type", .string("file")), ("sha256", .digest(digest)), ("size", .integer(size))]
      case .symlink(let target): [("type", .string("symlink")), ("target", .path(target))]
      }
    return .object(
      [("path", .path(result.path))] + content + [
        ("mode", .string(String(result.permissions, radix: 8))), ("run", .digest(maker.run)),
        ("command", .bytes(maker.command)),
      ])
  }
}
