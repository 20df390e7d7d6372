import CasherRecord
import CasherSystem

/// How a nested call learns what its command did outside the mount: a traced process cannot be traced again, so the
/// outermost acache's tracer sees it, and is asked for that part.
final class TraceExchange: Sendable {
  private struct State {
    var isOpen = true
    var answers: [Int32: ([OutsideAccess], [Uncacheable])] = [:]
  }

  private let connection: Connection
  private let state = Monitor(State())

  init(_ connection: Connection) { self.connection = connection }

  /// What the process and all its descendants did; waits until the tracer has seen the process end. Nil when the
  /// tracer's acache has gone.
  func accesses(of process: Int32) -> ([OutsideAccess], [Uncacheable])? {
    guard connection.send(.traceWanted(process: process)) else { return nil }
    return state.wait { state -> ([OutsideAccess], [Uncacheable])?? in
      if let answer = state.answers.removeValue(forKey: process) { return .some(answer) }
      return state.isOpen ? nil : .some(nil)
    } ?? nil
  }

  func deliver(_ accesses: [OutsideAccess], _ obstacles: [Uncacheable], of process: Int32) {
    state.update { $0.answers[process] = (accesses, obstacles) }
  }

  func close() { state.update { $0.isOpen = false } }
}
