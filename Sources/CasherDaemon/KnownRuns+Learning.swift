import CasherRecord
import CasherStore
import CasherSystem

extension KnownRuns {
  /// From so many path sets of one key on, finding the right one is worth knowing all of its runs.
  static let manyPathSets = 8

  /// Takes over all runs of a weak key, unless they are too many. For when nobody waits.
  func learnAll(_ weakKey: Digest, from store: Store) {
    learning(weakKey) {
      guard
        let (stored, newest) = try? store.allRuns(
          weakKey: weakKey, limit: KnownRunSet.limit, inputLimit: Int64(KnownRuns.generation / 2))
      else { return false }
      var shared: [Observation: Observation] = [:]
      var runs: [KnownRun] = []
      for run in stored.reversed() {
        guard var record = try? RunRecord(encoded: run.body) else { return false }
        // Most of what the runs of one command depend on is the same: its paths are kept once.
        record.observations = record.observations.map { observation in
          if let known = shared[observation] { return known }
          shared[observation] = observation
          return observation
        }
        runs.append(KnownRun(id: run.id, created: run.created, record: record))
      }
      replace(KnownRunSet(newest: newest, runs: runs, isComplete: true), under: weakKey)
      return true
    }
  }
}
