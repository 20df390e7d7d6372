import CasherSystem
import Glibc

/// Searches through all runs.
extension Store {
  /// Threads that search at once.
  private static let mostSearchers = 8

  /// The runs whose body has one of these words in it, with bodies and without blobs and tags, in no particular order.
  public func runs(mentioning words: [[UInt8]]) throws(StoreError) -> [StoredRun] {
    let bounds = try database.read { connection throws(StoreError) in
      try connection.first("SELECT min(run), max(run) FROM bodies") { row in
        row.isNull(0) ? nil : (first: row.integer(0), last: row.integer(1))
      }
    }
    guard let bounds else { return [] }
    let count = Int64(min(max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))), Store.mostSearchers))
    let step = max(1, (bounds.last - bounds.first) / count + 1)
    let found = Monitor<(parts: Int, rows: [Int64], error: StoreError?)>((0, [], nil))
    var parts = 0
    for first in stride(from: bounds.first, through: bounds.last, by: Int64.Stride(step)) {
      parts += 1
      let search: @Sendable () -> Void = { [self] in
        var part: (rows: [Int64], error: StoreError?) = ([], nil)
        do throws(StoreError) { part.rows = try rows(from: first, to: first + step - 1, mentioning: words) } catch {
          part.error = error
        }
        found.update { found in
          found.parts += 1
          found.rows += part.rows
          found.error = found.error ?? part.error
        }
      }
      if (try? SystemThread.start(search)) == nil { search() }
    }
    let result = found.wait { found -> (rows: [Int64], error: StoreError?)? in
      found.parts == parts ? (found.rows, found.error) : nil
    }
    guard let result else { return [] }
    if let error = result.error { throw error }
    return try database.readTransaction { connection throws(StoreError) in
      var runs: [StoredRun] = []
      for row in result.rows {
        let found = try connection.first(
          "SELECT r.*, p.digest FROM runs r JOIN path_sets p ON p.id = r.path_set WHERE r.seq = ?", .integer(row)
        ) { RunRow($0)?.run }
        guard var run = found else { continue }
        run.body = try body(of: row, connection)
        runs.append(run)
      }
      return runs
    }
  }

  private func rows(from first: Int64, to last: Int64, mentioning words: [[UInt8]]) throws(StoreError) -> [Int64] {
    try database.read { connection throws(StoreError) in
      try connection.all(
        "SELECT run, body FROM bodies WHERE run BETWEEN ? AND ?", .integer(first), .integer(last)
      ) { row in
        guard let body = Packed.unpack(row.bytes(1)), words.contains(where: { body.contains(bytes: $0) }) else {
          return nil
        }
        return row.integer(0)
      }
    }
  }

  /// The mounts that runs were made in.
  public func mounts() throws(StoreError) -> [FilePath] {
    try database.read { connection throws(StoreError) in
      try connection.all("SELECT DISTINCT mount FROM runs") { FilePath($0.bytes(0)) }
    }
  }
}
