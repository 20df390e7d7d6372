import CasherRecord
import CasherSystem

/// How a call of acache came out.
struct CallOutcome {
  enum Answer {
    /// A recorded run was replayed; `saved` is the time that it had taken, nanoseconds.
    case hit(run: Digest, saved: Int64)
    /// The command ran in a view of its own, as this run; nil: stored.
    case ran(Digest, uncacheable: Uncacheable?)
    /// The command ran without a cache, for this reason.
    case plain(String)
    /// What was recorded was looked at, and no more: `--check` and `--read-only`.
    case looked
    /// acache could not do what was asked: a sentence.
    case failed(String)
  }

  var answer: Answer
  /// The exit status of acache.
  var status: Int32
  /// Of the command, in nanoseconds.
  var duration: Int64 = 0
  /// Of each stream, bytes.
  var printed: (output: UInt64, error: UInt64) = (0, 0)
  /// Why it was a miss, when that was asked for.
  var explanation: [String] = []
  var isTimedOut = false
  /// The command ran, and did not do what it should: it may be tried again.
  var canBeRetried = false
  /// How often the command was started.
  var attempts = 0

  init(_ answer: Answer, status: Int32) {
    self.answer = answer
    self.status = status
  }

  mutating func count(_ segments: [StreamSegment]) {
    for segment in segments {
      if segment.stream == 2 { printed.error &+= segment.length } else { printed.output &+= segment.length }
    }
  }
}
