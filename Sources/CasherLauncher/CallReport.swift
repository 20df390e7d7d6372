import CasherRecord
import CasherSystem

/// What `--report` writes of a call (docs/json.md).
struct CallReport {
  let invocation: Invocation
  let mount: FilePath?
  let outcome: CallOutcome
  /// Of the whole call, nanoseconds.
  let duration: Int64

  /// Throws what opening or writing the file gave.
  func write(to path: FilePath) throws(Errno) {
    let file = try FileDescriptor.open(path, FileDescriptor.createForWriting, mode: 0o666)
    defer { file.close() }
    try file.writeAll(Array(document.text.utf8))
  }

  var document: JSON {
    var word = ""
    var (reason, run, uncacheable) = (JSON.null, JSON.null, JSON.null)
    var saved: Int64 = 0
    var isStored = false
    switch outcome.answer {
    case .hit(let id, let time):
      (word, run, saved) = ("hit", .digest(id), time)
    case .ran(let id, let why):
      (word, run, isStored) = ("run", .digest(id), why == nil)
      if let why { uncacheable = .object([("code", .string(why.code)), ("sentence", .string(why.sentence))]) }
    case .plain(let why): (word, reason) = ("plain", .string(why))
    case .looked: word = "looked"
    case .failed(let why): (word, reason) = ("failed", .string(why))
    }
    return .object([
      ("command", .array(invocation.command.map { .bytes($0) })),
      ("directory", (try? FilePath.currentDirectory()).map { .path($0) } ?? .null),
      ("mount", mount.map { .path($0) } ?? .null),
      ("answer", .string(word)), ("reason", reason), ("run", run), ("stored", .bool(isStored)),
      ("uncacheable", uncacheable), ("explanation", .array(outcome.explanation.map { .string($0) })),
      ("exit_status", .integer(Int64(outcome.status))), ("timed_out", .bool(outcome.isTimedOut)),
      ("attempts", .integer(Int64(outcome.attempts))),
      ("duration_seconds", .number(Double(duration) / 1e9)),
      ("command_seconds", .number(Double(outcome.duration) / 1e9)),
      ("saved_seconds", .number(Double(saved) / 1e9)),
      ("stdout_bytes", .integer(Int64(clamping: outcome.printed.output))),
      ("stderr_bytes", .integer(Int64(clamping: outcome.printed.error))),
    ])
  }
}
