import CasherRecord
import CasherStore
import CasherSystem
import Synchronization

/// The known runs of one weak key. Where they are many, one path by which most of them can be told apart leads to those
/// that come into question.
final class KnownRunSet: Sendable {
  private struct State {
    var newest: NewestRun
    var isComplete: Bool
    var runs: [Digest: KnownRun] = [:]
    var weight = 0
    var index: KnownRunIndex?
    /// How many runs there were when it was last tried to make an index.
    var indexed = 0
  }

  private let state: Mutex<State>
  /// Runs that are kept of one key.
  static let limit = 4000
  /// From so many runs on an index pays.
  private static let many = 8

  /// `runs`: the last one was used last.
  init(newest: NewestRun, runs: [KnownRun], isComplete: Bool) {
    state = Mutex(State(newest: newest, isComplete: isComplete))
    add(runs, newest: newest)
  }

  /// The newest run of the store when it was last known that no other run of this key had been stored since.
  var newest: NewestRun { state.withLock { $0.newest } }

  /// Whether these are all runs of the key, as of `newest`.
  var isComplete: Bool { state.withLock { $0.isComplete } }

  var weight: Int { state.withLock { $0.weight } }

  /// The runs that may fit, those used last first. `value` gives the present value of an observation.
  func candidates(_ value: (Observation) -> Value) -> [KnownRun] {
    let telling = state.withLock { state in state.index?.observation }
    let present = telling.map(value)
    let found = state.withLock { state -> [KnownRun] in
      if let index = state.index, index.observation == telling, let present { return index.runs(where: present) }
      return Array(state.runs.values)
    }
    return found.count < 2 ? found : found.sorted { $0.lastUse > $1.lastUse }
  }

  /// Takes runs in, the last of them as the one used last. Returns by how much heavier the set is.
  @discardableResult
  func add(_ added: [KnownRun], newest: NewestRun) -> Int {
    state.withLock { state in
      let before = state.weight
      state.newest = newest
      for run in added {
        run.use()
        if state.runs[run.id] === run { continue }
        KnownRunSet.remove(run.id, &state)
        state.runs[run.id] = run
        state.weight += run.weight
        state.index?.insert(run)
      }
      while state.runs.count > KnownRunSet.limit || state.weight > KnownRuns.generation && state.runs.count > 1,
        let oldest = state.runs.values.min(by: { $0.lastUse < $1.lastUse })
      {
        KnownRunSet.remove(oldest.id, &state)
        state.isComplete = false
      }
      if state.runs.count >= KnownRunSet.many, state.runs.count >= state.indexed * 2 {
        state.index = KnownRunIndex(Array(state.runs.values))
        state.indexed = state.runs.count
      }
      return state.weight - before
    }
  }

  /// Returns by how much heavier the set is, which is less than nothing.
  func remove(_ run: KnownRun) -> Int {
    state.withLock { state in
      let before = state.weight
      KnownRunSet.remove(run.id, &state)
      return state.weight - before
    }
  }

  private static func remove(_ id: Digest, _ state: inout State) {
    guard let run = state.runs.removeValue(forKey: id) else { return }
    state.weight -= run.weight
    state.index?.remove(run)
  }
}

/// Runs of one command by the value that one of their observations had.
struct KnownRunIndex {
  let observation: Observation
  private var byValue: [Value: [KnownRun]] = [:]
  /// Runs that did not observe it.
  private var others: [KnownRun] = []

  /// Chooses the observation that has most values; nil when there is none that tells runs apart.
  init?(_ runs: [KnownRun]) {
    var values: [Observation: Set<Value>] = [:]
    for run in runs {
      for (observation, value) in zip(run.record.observations, run.record.values) {
        values[observation, default: []].insert(value)
      }
    }
    guard let telling = values.max(by: { $0.value.count < $1.value.count }), telling.value.count > 1 else { return nil }
    observation = telling.key
    for run in runs { insert(run) }
  }

  func runs(where present: Value) -> [KnownRun] { (byValue[present] ?? []) + others }

  mutating func insert(_ run: KnownRun) {
    if let value = value(in: run) { byValue[value, default: []].append(run) } else { others.append(run) }
  }

  mutating func remove(_ run: KnownRun) {
    guard let value = value(in: run) else { return others.removeAll { $0 === run } }
    byValue[value]?.removeAll { $0 === run }
    if byValue[value]?.isEmpty ?? false { byValue[value] = nil }
  }

  private func value(in run: KnownRun) -> Value? {
    guard let index = run.record.observations.firstIndex(of: observation) else { return nil }
    return index < run.record.values.count ? run.record.values[index] : nil
  }
}
