import CasherStore
import CasherSystem

extension Command {
  static let stats = Command(
    name: "stats", operands: "", operandCount: 0...0, summary: "show what the cache did, and what it holds",
    details: """
      Shows how many calls of acache were hits, misses or could not be cached, and why; how many runs are stored, \
      what they take and how much may be taken; and the time that hits have saved. Counted since the cache was made, \
      up to the last acache that has returned.
      """,
    options: [Option.json, Option.cacheDirectory], run: showStatistics)
}

private func showStatistics(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let access = try StoreAccess(arguments)
  var statistics = Statistics()
  statistics.limitBytes = access.limit
  if let store = try access.open() {
    defer { store.close() }
    statistics = try StoreAccess.reading { () throws(StoreError) in try store.statistics() }
  }
  if arguments.has("--json") {
    Console.print(bytes: Array(json(statistics, access.directory).text.utf8))
  } else {
    Console.print(text(statistics, access.directory))
  }
  return .success
}

private func json(_ statistics: Statistics, _ directory: FilePath) -> JSON {
  let reasons = statistics.uncacheableByCode.sorted { $0.key < $1.key }
  return .object([
    ("cache_directory", .path(directory)), ("hits", .integer(statistics.hits)),
    ("misses", .integer(statistics.misses)), ("uncacheable", .integer(statistics.uncacheable)),
    ("uncacheable_by_reason", .object(reasons.map { ($0.key, .integer($0.value)) })),
    ("errors", .integer(statistics.errors)), ("saved_seconds", .number(statistics.savedSeconds)),
    ("entries", .integer(statistics.entries)), ("blobs", .integer(statistics.blobs)),
    ("stored_bytes", .integer(statistics.storedBytes)), ("logical_bytes", .integer(statistics.logicalBytes)),
    ("inflated_bytes", .integer(statistics.inflatedBytes)), ("limit_bytes", .integer(statistics.limitBytes)),
  ])
}

private func text(_ statistics: Statistics, _ directory: FilePath) -> String {
  let calls = statistics.hits + statistics.misses
  var hits = "\(statistics.hits)"
  if calls > 0 {
    hits += " (\(Quantity.decimal(100 * Double(statistics.hits) / Double(calls), places: 0)) % of \(calls) calls)"
  }
  var rows = [("hits", hits), ("misses", "\(statistics.misses)"), ("not cacheable", "\(statistics.uncacheable)")]
  for (code, count) in statistics.uncacheableByCode.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
    rows.append(("  \(code)", "\(count)"))
  }
  let share =
    statistics.limitBytes > 0
    ? Quantity.decimal(100 * Double(statistics.storedBytes) / Double(statistics.limitBytes), places: 1) : "0"
  rows += [
    ("errors", "\(statistics.errors)"), ("time saved", Quantity.duration(statistics.saved)),
    ("stored runs", "\(statistics.entries)"),
    ("stored", "\(Quantity.size(statistics.storedBytes)) (\(share) % of \(Quantity.size(statistics.limitBytes)))"),
    ("content", Quantity.size(statistics.logicalBytes)), ("cache directory", "\(directory)"),
  ]
  let width = rows.map(\.0.count).max() ?? 0
  return rows.map { "\(Help.pad($0.0, to: width))  \($0.1)" }.joined(separator: "\n")
}
