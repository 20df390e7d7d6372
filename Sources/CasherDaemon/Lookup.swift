import CasherRecord
import CasherStore
import CasherSystem
import Synchronization

/// Finds the recorded run that a call is answered with.
struct Lookup {
  /// The mount's path as the caller has it.
  let mount: FilePath
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
      switch try findKnown(weakKey, demands, &evaluator, input) {
      case .found(let run): return run
      case .nothing: return nil
      case .tooLittle: return try search(weakKey, demands, &evaluator, input)
      }
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

  private enum Knowledge {
    case found(KnownRun)
    /// No run that is stored will do.
    case nothing
    /// Others than the known ones have to be looked at.
    case tooLittle
  }

  /// Runs of one key that were stored since its entry was made are taken in one by one while they are so few.
  private static let fewRuns = 16

  /// Among the runs that are known.
  private func findKnown(
    _ weakKey: Digest, _ demands: Demands, _ evaluator: inout Evaluator,
    _ input: (ConsumedInput?) throws(CallAborted) -> Bool
  ) throws -> Knowledge {
    while let runs = known.runs(of: weakKey) {
      let (before, isComplete) = (runs.newest, runs.isComplete)
      var obstacle = MissReason.inputs
      let candidates = runs.candidates { evaluator.value(of: $0) }
      let fitting = try candidates.first { run in
        // Most are told apart by few paths, which are evaluated once for all.
        if candidates.count > 1, let (observation, value) = run.suspect, evaluator.value(of: observation) != value {
          return false
        }
        guard run.holds(in: tree, digester) else { return false }
        let reason = try reasonAgainst(run, demands, &evaluator, input)
        if let reason { obstacle = MissReason.further(obstacle, reason) }
        return reason == nil
      }
      if fitting == nil, !isComplete { return .tooLittle }
      let newest: NewestRun?
      if let fitting {
        newest = try self.newest(ifUsable: fitting.id)
        if newest == nil { known.remove(fitting, from: runs, under: weakKey) }
      } else {
        newest = try store.newestRun()
      }
      guard let newest else { return .tooLittle }
      if newest != before {
        // A run that was stored since goes first.
        guard let later = try store.runs(weakKey: weakKey, storedAfter: before, limit: Lookup.fewRuns) else {
          known.forget(weakKey)
          return .tooLittle
        }
        let added = later.runs.compactMap { stored in
          (try? RunRecord(encoded: stored.body)).map { KnownRun(id: stored.id, created: stored.created, record: $0) }
        }
        guard added.count == later.runs.count else { return .tooLittle }
        if !added.isEmpty {
          known.add(added, to: runs, under: weakKey, newest: later.newest)
          continue
        }
      }
      guard let fitting else {
        // They may all have been removed.
        if try store.pathSetDigests(weakKey: weakKey, limit: 1).isEmpty { return .tooLittle }
        trace.met(obstacle)
        return .nothing
      }
      known.add([fitting], to: runs, under: weakKey, newest: newest)
      return .found(fitting)
    }
    return .tooLittle
  }

  /// Among all runs that are stored.
  private func search(
    _ weakKey: Digest, _ demands: Demands, _ evaluator: inout Evaluator,
    _ input: (ConsumedInput?) throws(CallAborted) -> Bool
  ) throws -> KnownRun? {
    // Before the search: what is stored during it has not been seen.
    let newest = try store.newestRun()
    for (number, digest) in try store.pathSetDigests(weakKey: weakKey).enumerated() {
      if number == KnownRuns.manyPathSets { trace.longSearches.insert(weakKey) }
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
        if let reason = try reasonAgainst(run, demands, &evaluator, input) {
          trace.met(reason)
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

  /// What keeps a run whose inputs are as they were from being the answer; nil when nothing does.
  private func reasonAgainst(
    _ run: KnownRun, _ demands: Demands, _ evaluator: inout Evaluator,
    _ input: (ConsumedInput?) throws(CallAborted) -> Bool
  ) throws(CallAborted) -> MissReason? {
    if let since = demands.since, run.created < since { return .expired }
    if let expires = run.record.expires, expires <= Clock.now() { return .expired }
    let holds = Condition.hold(run.record.conditions, strictly: demands.strictly) { evaluator.value(of: $0) }
    if !holds { return .ownOutputs }
    if run.record.mount != mount {
      let elsewhere = Elsewhere(recorded: run.record.mount, here: mount, cache: store.directory)
      if !elsewhere.isAnswered(by: run.record, value: { evaluator.value(of: $0) }) { return .inputs }
    }
    return try input(run.record.input) ? nil : .standardInput
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
