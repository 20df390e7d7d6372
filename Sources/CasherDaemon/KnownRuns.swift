import CasherStore
import CasherSystem
import Synchronization

/// The runs that calls were lately answered with, by weak key, so that a call like an earlier one costs no search in the
/// database. Bounded.
///
/// Says nothing about whether a run is still stored: who uses one asks the database, which all processes share.
final class KnownRuns: Sendable {
  private struct State {
    /// What was used lately, and what was used before that; each of about `generation` in weight.
    var young: [Digest: KnownRunSet] = [:]
    var old: [Digest: KnownRunSet] = [:]
    var weight = 0
    /// Keys whose runs are being learned, or could not be when it was tried (CLOCK_MONOTONIC, nanoseconds).
    var learning: [Digest: Int64] = [:]
  }

  private let state = Mutex(State())
  /// In the weight of runs; two generations take some 60 MB.
  static let generation = 300_000
  /// Nanoseconds after which it is tried again to learn the runs of a key.
  private static let patience: Int64 = 60_000_000_000

  /// The runs that are known of a key.
  func runs(of weakKey: Digest) -> KnownRunSet? {
    state.withLock { state in
      if let runs = state.young[weakKey] { return runs }
      guard let runs = state.old[weakKey] else { return nil }
      KnownRuns.put(runs, weakKey, &state)
      return runs
    }
  }

  /// A call was answered with the run, when `newest` was the store's newest one.
  func note(_ run: KnownRun, under weakKey: Digest, newest: NewestRun) {
    if run.weight > KnownRuns.generation { return }
    if let runs = runs(of: weakKey) {
      add([run], to: runs, under: weakKey, newest: newest)
    } else {
      replace(KnownRunSet(newest: newest, runs: [run], isComplete: false), under: weakKey)
    }
  }

  /// More runs of the key are known, as of when `newest` was the store's newest one; the last of them was used last.
  func add(_ added: [KnownRun], to runs: KnownRunSet, under weakKey: Digest, newest: NewestRun) {
    let change = runs.add(added, newest: newest)
    if change == 0 { return }
    state.withLock { state in if state.young[weakKey] === runs { state.weight += change } }
  }

  /// The run is no longer stored, or cannot be used.
  func remove(_ run: KnownRun, from runs: KnownRunSet, under weakKey: Digest) {
    let change = runs.remove(run)
    state.withLock { state in if state.young[weakKey] === runs { state.weight += change } }
  }

  func replace(_ runs: KnownRunSet, under weakKey: Digest) {
    state.withLock { state in
      KnownRuns.drop(weakKey, &state)
      KnownRuns.put(runs, weakKey, &state)
    }
  }

  /// Other runs of the key than those that are known may be there.
  func forget(_ weakKey: Digest) { state.withLock { state in KnownRuns.drop(weakKey, &state) } }

  /// Calls `body`, which is false when it could not do it, unless another thread does so for the same key, or it could
  /// not be done a short time ago.
  func learning(_ weakKey: Digest, _ body: () -> Bool) {
    let time = Clock.monotonic()
    let isDue = state.withLock { state in
      if state.learning.count > 1000 { state.learning = state.learning.filter { time - $0.value < KnownRuns.patience } }
      if let last = state.learning[weakKey], time - last < KnownRuns.patience { return false }
      state.learning[weakKey] = time
      return true
    }
    if isDue, body() { state.withLock { $0.learning[weakKey] = nil } }
  }

  private static func drop(_ weakKey: Digest, _ state: inout State) {
    if let runs = state.young.removeValue(forKey: weakKey) { state.weight -= runs.weight }
    state.old[weakKey] = nil
  }

  private static func put(_ runs: KnownRunSet, _ weakKey: Digest, _ state: inout State) {
    state.old[weakKey] = nil
    if state.weight + runs.weight > generation, !state.young.isEmpty {
      state.old = state.young
      state.young = [:]
      state.weight = 0
    }
    state.young[weakKey] = runs
    state.weight += runs.weight
  }
}
