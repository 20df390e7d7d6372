import CasherStore
import CasherSystem

/// Pieces of text and JSON about runs that several commands print.
enum RunText {
  /// Enough of the id to tell runs apart.
  static func short(_ id: Digest) -> String { String(id.hexadecimal.prefix(12)) }

  /// `1 run`, `3 runs`.
  static func count(_ number: Int64, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
  static func count(_ number: Int, _ noun: String) -> String { count(Int64(number), noun) }

  /// Nanoseconds that replays of the run have saved.
  static func saved(_ run: StoredRun) -> Int64 {
    let saved = run.hits.multipliedReportingOverflow(by: run.duration)
    return saved.overflow ? .max : saved.partialValue
  }

  /// What lists and `show` have in common.
  static func members(_ run: StoredRun) -> [(String, JSON)] {
    [
      ("id", .digest(run.id)), ("command", .bytes(run.command)), ("directory", .path(run.directory)),
      ("mount", .path(run.mount)), ("created", .number(Double(run.created) / 1e9)),
      ("last_used", .number(Double(run.lastUsed) / 1e9)), ("duration_seconds", .number(Double(run.duration) / 1e9)),
      ("exit_status", .integer(Int64(run.exitStatus))), ("hits", .integer(run.hits)),
      ("saved_seconds", .number(Double(run.hits) * Double(run.duration) / 1e9)),
      ("input_count", .integer(run.inputCount)), ("output_count", .integer(run.outputCount)),
      ("output_bytes", .integer(run.outputBytes)), ("parent", run.parent.map { .digest($0) } ?? .null),
      ("tags", .object(run.tags.map { ($0.name, .string($0.value)) })),
    ]
  }
}
