import CasherSystem

/// Keeps the order of what a command writes to two pseudo-terminals, one for stdout and one for stderr.
///
/// Who reads from both cannot tell which of two writes came first. So only one of them takes writes at a time, and what
/// was written to it has been read before the other one's turn comes: a write to that waits for so long (tcflow(3)). The
/// turn stays where the command writes; the other stream gets a short one now and then, at once while both are in use.
final class OutputTurns {
  private let relays: [StreamRelay]
  /// The index of the relay whose turn it is.
  private var current = 0
  /// Whether the present turn is a try, to end when nothing comes.
  private var isTry = false
  /// Until the next change of turns: nanoseconds, and the point in time (CLOCK_MONOTONIC).
  private var interval: Int64 = 0
  private var deadline: Int64
  private var passed: UInt64 = 0

  private static let tryTime: Int64 = 1_000_000
  private static let longest: Int64 = 50_000_000

  /// Nil unless there are two pseudo-terminals.
  init?(_ outputs: [StreamRelay]) {
    relays = outputs.filter { $0.terminal != nil }
    guard relays.count == 2 else { return nil }
    deadline = Clock.monotonic() &+ OutputTurns.longest
    relays[1].terminal?.hold(true)
  }

  private var isOver: Bool { !relays.allSatisfy(\.isOpen) }

  /// Milliseconds until `take` has something to do.
  var timeout: Int32 {
    if isOver { return -1 }
    return Int32(clamping: max(0, (deadline &- Clock.monotonic() &+ 999_999) / 1_000_000))
  }

  /// To be called when the outputs have been looked at.
  func take(_ spool: inout TranscriptSpool) {
    if isOver {
      for relay in relays { relay.terminal?.release() }
      return
    }
    let bytes = relays[current].passed
    let hasCome = bytes != passed
    passed = bytes
    if hasCome {
      // Both are in use: the other may be waiting already.
      if isTry { interval = 0 }
      isTry = false
      deadline = min(deadline, Clock.monotonic() &+ interval)
    }
    guard Clock.monotonic() >= deadline else { return }
    let wasTry = isTry
    turn(&spool)
    if wasTry {
      // Nothing came: back to where the command writes, for longer than before.
      isTry = false
      interval = min(max(2 * interval, OutputTurns.tryTime), OutputTurns.longest)
      deadline = Clock.monotonic() &+ interval
    } else {
      isTry = true
      deadline = Clock.monotonic() &+ OutputTurns.tryTime
    }
  }

  private func turn(_ spool: inout TranscriptSpool) {
    relays[current].terminal?.hold(true)
    while relays[current].proceed(&spool) {}
    current = 1 - current
    relays[current].terminal?.hold(false)
    passed = relays[current].passed
  }

  /// The command has ended: both are read to their ends, in their order.
  func end(_ spool: inout TranscriptSpool) {
    while relays[current].proceed(&spool) {}
    for relay in relays { relay.terminal?.release() }
  }
}
