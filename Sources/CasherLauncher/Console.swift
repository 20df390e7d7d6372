import CasherRecord
import CasherSystem

/// What acache itself says, on stderr.
enum Console {
  /// One line, written whole, so that lines of several processes do not mix.
  static func say(_ text: String) { print("acache: " + text + "\n", on: .standardError) }

  static func print(_ text: String, on descriptor: FileDescriptor) { _ = try? descriptor.writeAll(Array(text.utf8)) }

  /// `1.25 s`, `310 ms`.
  static func duration(_ nanoseconds: Int64) -> String {
    let milliseconds = nanoseconds / 1_000_000
    if milliseconds < 1000 { return "\(milliseconds) ms" }
    let hundredths = milliseconds / 10
    let rest = hundredths % 100
    return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest) s"
  }
}

/// acache's own exit statuses, those of env(1) and timeout(1).
enum ExitStatus {
  /// `--read-only` found no result.
  static let nothingRecorded = Int32(CallOptions.nothingRecordedStatus)
  /// The command took longer than `--timeout`.
  static let timedOut: Int32 = 124
  static let failure: Int32 = 125
  static let notExecutable: Int32 = 126
  static let notFound: Int32 = 127
}
