import CasherSystem
import Synchronization

/// Notices when requests come one right after the other, or is told that they will, and then keeps the processors awake
/// until they no longer do.
///
/// Who makes a request waits for its answer, and the thread that gives the answer waits for the next: so the processor
/// of each would go to sleep and be woken for every single request. Where that takes long, it takes half of a miss. The
/// claim is given back within `pause` of the last burst, and it is only a claim on processors that have nothing else to do.
final class RequestPace: Sendable {
  /// All mounts of a process have the same processors.
  static let shared = RequestPace()

  /// A burst: so many requests within so many nanoseconds.
  private static let burst = 8
  private static let burstTime: Int64 = 4_000_000
  /// How long the processors stay awake after a burst, nanoseconds.
  private static let pause: Int64 = 10_000_000

  private enum State {
    case unused
    case asleep
    case awake
    /// There is nothing to claim, or it may not be claimed here.
    case unavailable
  }

  private let state = Monitor(State.unused)
  private let isWanted = Atomic(true)
  private let isAwake = Atomic(false)
  private let count = Atomic<Int>(0)
  private let lastMark = Atomic<Int64>(0)
  private let lastBurst = Atomic<Int64>(0)

  /// One request more. To be called by the threads that serve requests; costs an addition, and a look at the clock now and then.
  func tick() {
    guard count.add(1, ordering: .relaxed).newValue % RequestPace.burst == 0, isWanted.load(ordering: .relaxed) else {
      return
    }
    let now = Clock.monotonic()
    guard now &- lastMark.exchange(now, ordering: .relaxed) < RequestPace.burstTime else { return }
    keepAwake(since: now)
  }

  /// Requests are about to come.
  func expect() {
    if isWanted.load(ordering: .relaxed) { keepAwake(since: Clock.monotonic()) }
  }

  private func keepAwake(since now: Int64) {
    lastBurst.store(now, ordering: .relaxed)
    if !isAwake.load(ordering: .relaxed) { wake() }
  }

  private func wake() {
    let isFirst = state.update { state -> Bool in
      defer { if case .unavailable = state {} else { state = .awake } }
      if case .unused = state { return true }
      return false
    }
    isAwake.store(true, ordering: .relaxed)
    guard isFirst else { return }
    do throws(Errno) { try SystemThread.start { [self] in run() } } catch { giveUp() }
  }

  private func giveUp() {
    isWanted.store(false, ordering: .relaxed)
    state.update { $0 = .unavailable }
  }

  /// The thread that holds the claim, and ends with the process.
  private func run() {
    while true {
      _ = state.wait { if case .awake = $0 { true } else { nil } }
      do throws(Errno) {
        let claim = try WakeLatency()
        while Clock.monotonic() &- lastBurst.load(ordering: .relaxed) < RequestPace.pause {
          _ = state.wait(timeout: RequestPace.pause) { _ in Bool?.none }
        }
        _ = consume claim
      } catch { return giveUp() }
      state.update { $0 = .asleep }
      isAwake.store(false, ordering: .relaxed)
    }
  }
}
