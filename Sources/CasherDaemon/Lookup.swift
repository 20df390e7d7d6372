import CasherRecord
import CasherStore
import CasherSystem
import Synchronization

/// Finds the recorded run that a call is answered with.
struct Lookup {
  let tree: Tree
  let digester: FileDigester
  let store: Store
  let pathSets: PathSetCache
  let known: KnownRuns
  let trace: MissTrace

  /// The newest runs of one strong key that are looked at, for they differ in the states of their own outputs.
  private static let runsPerKey = 256

  /// The most recently used run whose inputs all are as they were, or nil.
  ///
  /// `since`: runs that were stored earlier, nanoseconds since 1970, are not used.
  /// `input` tells whether what a run took from its standard input is what is there now.
  func find(
    _ weakKey: Digest, strictly: Bool, since: Int64?, input: (ConsumedInput?) throws(CallAborted) -> Bool
  ) throws(LookupFailure) -> KnownRun? {
    var evaluator = Evaluator(tree: tree, digester: digester)
    defer {
      evaluator.close()
      trace.evaluator = evaluator
    }
    do {
      let demands = Demands(strictly: strictly, since: since)
      if let run = try findKnown(weakKey, demands, &evaluator, input) { return run }
      // What was found so far may be a moment old: what comes now is to be of the same moment.
      evaluator = Evaluator(tree: tree, digester: digester)
      return try search(weakKey, demands, &evaluator, input)
    } catch let error as StoreError {
      throw .store(error)
    } catch {
      throw .aborted
    }
  }

  /// What a call demands of a run besides its inputs.
  private struct Demands {
    let strictly: Bool
    let since: Int64?
  }

  /// Among the runs that calls were answered with before. Nil also when others have to be looked at first.
  private func findKnown(
    _ weakKey: Digest, _ demands: Demands, _ evaluator: inout Evaluator,
    _ input: (ConsumedInput?) throws(CallAborted) -> Bool
  ) throws -> KnownRun? {
    guard let entry = known.entry(weakKey) else { return nil }
    for run in entry.runs {
      // Where many are known they are told apart by few paths, which are evaluated once for all.
      if entry.runs.count > 1, let (observation, value) = run.suspect, evaluator.value(of: observation) != value {
        continue
      }
      guard run.holds(in: tree, digester), isGood(run, since: demands.since) else { continue }
      let holds = Condition.hold(run.record.conditions, strictly: demands.strictly) { evaluator.value(of: $0) }
      guard holds else { continue }
      guard try input(run.record.input) else { continue }
      guard let newest = try newest(ifUsable: run.id) else {
        known.forget(run, under: weakKey)
        return nil
      }
      if newest != entry.newest, try store.mayHaveRuns(weakKey: weakKey, since: entry.newest) {
        // A run that was stored since goes first.
        known.forget(weakKey)
        return nil
      }
      known.note(run, under: weakKey, newest: newest)
      return run
    }
    return nil
  }

  /// Among all runs that are stored.
  private func search(
    _ weakKey: Digest, _ demands: Demands, _ evaluator: inout Evaluator,
    _ input: (ConsumedInput?) throws(CallAborted) -> Bool
  ) throws -> KnownRun? {
    // Before the search: what is stored during it has not been seen.
    let newest = try store.newestRun()
    for digest in try store.pathSetDigests(weakKey: weakKey) {
      guard let pathSet = try pathSets.pathSet(digest, from: store) else { continue }
      trace.met(.inputs)
      let values = pathSet.observations.map { evaluator.value(of: $0) }
      let key = SHA256.digest(
        of: RunRecord.strongKeyBytes(weakKey: weakKey, pathSet: digest, values: values))
      for stored in try store.runs(strongKey: key, limit: Lookup.runsPerKey) {
        guard var record = try? RunRecord(encoded: stored.body) else { continue }
        // One copy for all runs that have the path set.
        if record.observations == pathSet.observations { record.observations = pathSet.observations }
        let run = KnownRun(id: stored.id, created: stored.created, record: record)
        guard isGood(run, since: demands.since) else {
          trace.met(.expired)
          continue
        }
        let holds = Condition.hold(record.conditions, strictly: demands.strictly) { evaluator.value(of: $0) }
        guard holds else {
          trace.met(.ownOutputs)
          continue
        }
        guard try input(record.input) else {
          trace.met(.standardInput)
          continue
        }
        guard try self.newest(ifUsable: run.id) != nil else {
          trace.met(.contentLost)
          continue
        }
        if let newest { known.note(run, under: weakKey, newest: newest) }
        return run
      }
    }
    return nil
  }

  /// The store's newest run, when all that a replay of `run` needs is there; nil when something is not, or when the run
  /// was removed since it was found.
  private func newest(ifUsable run: Digest) throws(StoreError) -> NewestRun? {
    do throws(StoreError) {
      let (unusable, newest) = try store.replayState(of: run)
      return unusable.isEmpty ? newest : nil
    } catch {
      if error.isAboutOneBlob { return nil }
      throw error
    }
  }

  private func isGood(_ run: KnownRun, since: Int64?) -> Bool {
    if let since, run.created < since { return false }
    return run.record.expires.map { $0 > Clock.now() } ?? true
  }
}

/// The caller has gone.
struct CallAborted: Error {}

enum LookupFailure: Error {
  case store(StoreError)
  case aborted
}

/// Path sets as they were decoded last, so that a lookup decodes none that it has seen.
final class PathSetCache: Sendable {
  private struct State {
    var known: [Digest: PathSet] = [:]
    var observations = 0
  }

  /// So many observations are kept, of some 200 bytes each.
  private static let limit = 200_000
  private let state = Mutex(State())

  func pathSet(_ digest: Digest, from store: Store) throws(StoreError) -> PathSet? {
    if let pathSet = state.withLock({ $0.known[digest] }) { return pathSet }
    guard let body = try store.pathSetBody(digest), let pathSet = try? PathSet(encoded: body) else { return nil }
    state.withLock { state in
      if state.observations + pathSet.observations.count > PathSetCache.limit { state = State() }
      if state.known.updateValue(pathSet, forKey: digest) == nil { state.observations += pathSet.observations.count }
    }
    return pathSet
  }
}
