import CasherSystem

/// One of the times that a command is run, and what has to be kept for the next.
final class Attempt {
  /// Which of them it is, from 1 on.
  fileprivate(set) var number = 0
  /// How many may follow the first; a configuration file may allow more than acache was told.
  var retries: Int
  /// Whether the command is not run again however it ends.
  var isLast: Bool { number > retries }
  /// What the attempts before have taken from a pipe on standard input: this one gets it again.
  var input: [UInt8] = []
  /// The command took more of its input than is kept.
  fileprivate(set) var hasLostInput = false

  /// Bytes of standard input that are kept for another attempt.
  private static let inputLimit = 64 << 20

  fileprivate init(retries: Int) { self.retries = retries }

  func keep(_ bytes: [UInt8]) {
    if input.count + bytes.count > Attempt.inputLimit { hasLostInput = true }
    if !hasLostInput { input += bytes }
  }
}

/// A command is run again while it fails, as often as `--retries` or a configuration file allows.
struct Attempts {
  let retries: Int
  let isVerbose: Bool

  /// `offset`: where a file on standard input stood at first.
  func run(inputOffset offset: Int64?, _ body: (Attempt) -> CallOutcome) -> CallOutcome {
    let attempt = Attempt(retries: retries)
    while true {
      attempt.number += 1
      attempt.hasLostInput = false
      var outcome = body(attempt)
      outcome.attempts = attempt.number
      // Who interrupts a command does not want it again.
      if attempt.isLast || !outcome.canBeRetried || CommandSignals.wasInterrupted { return outcome }
      if attempt.hasLostInput {
        Console.say("it is not tried again, as it has read more of its input than is kept for that")
        return outcome
      }
      if let offset { _ = try? FileDescriptor.standardInput.seek(to: offset) }
      if isVerbose {
        let how = outcome.isTimedOut ? "took too long" : "failed with status \(outcome.status)"
        Console.say("attempt \(attempt.number) of \(attempt.retries + 1) \(how); trying again")
      }
    }
  }
}
