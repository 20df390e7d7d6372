import CasherRecord
import CasherStore
import CasherSystem
import Synchronization

/// The runs that calls were lately answered with, by weak key, those used last first; so that a call like an earlier one
/// costs no search in the database.
///
/// Says nothing about whether a run is still stored: who uses one asks the database, which all processes share.
final class KnownRuns: Sendable {
  /// The runs of one weak key.
  struct Entry: Sendable {
    /// The newest run of the store when it was last known that no other run of this key had been stored since.
    var newest: NewestRun
    var runs: [KnownRun]
  }

  private struct State {
    /// What was used lately, and what was used before that; each of about `generation` in weight.
    var young: [Digest: Entry] = [:]
    var old: [Digest: Entry] = [:]
    var weight = 0
  }

  private let state = Mutex(State())
  /// In the weight of runs; two generations take some 60 MB at most.
  private static let generation = 150_000
  /// Runs that are kept of one weak key.
  static let runsPerKey = 2000

  func entry(_ weakKey: Digest) -> Entry? {
    state.withLock { state in
      if let entry = state.young[weakKey] { return entry }
      guard let entry = state.old.removeValue(forKey: weakKey) else { return nil }
      KnownRuns.put(entry, weakKey, &state)
      return entry
    }
  }

  /// A call was answered with the run, when `newest` was the store's newest one.
  func note(_ run: KnownRun, under weakKey: Digest, newest: NewestRun) {
    if run.weight > KnownRuns.generation { return }
    state.withLock { state in
      var entry = state.young[weakKey] ?? state.old[weakKey] ?? Entry(newest: newest, runs: [])
      entry.newest = newest
      if entry.runs.first?.id == run.id, entry.runs.first === run {
        state.young[weakKey]?.newest = newest
        return
      }
      entry.runs.removeAll { $0.id == run.id }
      entry.runs.insert(run, at: 0)
      if entry.runs.count > KnownRuns.runsPerKey { entry.runs.removeLast() }
      KnownRuns.put(entry, weakKey, &state)
    }
  }

  /// Other runs than those that are known may be there.
  func forget(_ weakKey: Digest) {
    state.withLock { state in
      if let entry = state.young.removeValue(forKey: weakKey) { state.weight -= KnownRuns.weight(of: entry) }
      state.old[weakKey] = nil
    }
  }

  /// The run is no longer stored, or cannot be used.
  func forget(_ run: KnownRun, under weakKey: Digest) {
    state.withLock { state in
      guard var entry = state.young[weakKey] else { return }
      entry.runs.removeAll { $0 === run }
      KnownRuns.put(entry, weakKey, &state)
    }
  }

  private static func put(_ entry: Entry, _ weakKey: Digest, _ state: inout State) {
    let weight = weight(of: entry)
    if let former = state.young.removeValue(forKey: weakKey) { state.weight -= KnownRuns.weight(of: former) }
    state.old[weakKey] = nil
    if state.weight + weight > generation, !state.young.isEmpty {
      state.old = state.young
      state.young = [:]
      state.weight = 0
    }
    state.young[weakKey] = entry
    state.weight += weight
  }

  private static func weight(of entry: Entry) -> Int { entry.runs.reduce(0) { $0 + $1.weight } }
}
