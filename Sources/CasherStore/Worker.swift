import CasherSystem

/// The store's own thread: writes what has gathered soon after it happened, and evicts when the limit is exceeded.
final class Worker: Sendable {
  private struct State {
    var isStarted = false
    var isRunning = false
    var hasWork = false
    var isUrgent = false
    var isStopping = false
  }

  private let state = Monitor(State())
  /// Nanoseconds for which further events are awaited before the first one is written.
  private static let gathering: Int64 = 50_000_000

  /// Has `body` called soon; at once when it is urgent. The thread is started by the first call.
  func wake(urgently: Bool = false, _ body: @escaping @Sendable () -> Void) {
    // Who is awake already would only be disturbed.
    if state.withLock({ $0.isStarted && $0.hasWork && ($0.isUrgent || !urgently) || $0.isStopping }) { return }
    let starts = state.update { state -> Bool in
      if state.isStopping { return false }
      state.hasWork = true
      if urgently { state.isUrgent = true }
      defer { state.isStarted = true }
      return !state.isStarted
    }
    guard starts else { return }
    state.update { $0.isRunning = true }
    do throws(Errno) { try SystemThread.start { [self] in run(body) } } catch {
      // Without a thread everything waits for the next flush.
      state.update { $0.isRunning = false }
    }
  }

  func stop() {
    state.update { $0.isStopping = true }
    _ = state.wait { $0.isRunning ? nil : true }
  }

  private func run(_ body: () -> Void) {
    while true {
      let goesOn = state.wait { $0.isStopping ? false : $0.hasWork ? true : nil } ?? false
      if !goesOn { break }
      _ = state.wait(timeout: Worker.gathering) { $0.isUrgent || $0.isStopping ? true : nil }
      state.update {
        $0.hasWork = false
        $0.isUrgent = false
      }
      body()
    }
    state.update { $0.isRunning = false }
  }
}

extension Store {
  /// Has the worker write what is pending, and evict. A failure shows in the next call that needs what was to be
  /// written.
  func wakeWorker(urgently: Bool = false) {
    if options.isReadOnly { return }
    worker.wake(urgently: urgently) { [self] in
      try? flush()
      try? database.shortenLog()
    }
  }
}
