import CSQLite
import Foundation

/// A connection to a store's database that is none of the store's own.
final class Database3 {
  struct Failure: Error { let words: String }
  private let handle: OpaquePointer

  init(_ path: String) throws {
    var handle: OpaquePointer?
    guard sqlite3_open(path, &handle) == SQLITE_OK, let handle else { throw Failure(words: "open") }
    self.handle = handle
    sqlite3_busy_timeout(handle, 10_000)
  }

  deinit { sqlite3_close(handle) }

  /// Columns of a row joined by `|`, rows by newlines.
  func run(_ sql: String) throws -> String {
    var statement: OpaquePointer?
    guard sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK else {
      throw Failure(words: String(cString: sqlite3_errmsg(handle)))
    }
    defer { sqlite3_finalize(statement) }
    var lines: [String] = []
    while true {
      switch sqlite3_step(statement) {
      case SQLITE_ROW:
        lines.append(
          (0..<sqlite3_column_count(statement)).map { column in
            sqlite3_column_text(statement, column).map { String(cString: $0) } ?? ""
          }.joined(separator: "|"))
      case SQLITE_DONE: return lines.joined(separator: "\n")
      default: throw Failure(words: String(cString: sqlite3_errmsg(handle)))
      }
    }
  }
}
