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
  let trace: MissTrace

  /// The newest runs of one strong key that are looked at, for they differ in the states of their own outputs.
  private static let runsPerKey = 256

  /// The most recently used run whose inputs all are as they were, or nil.
  ///
  /// `since`: runs that were stored earlier, nanoseconds since 1970, are not used.
  /// `input` tells whether what a run took from its standard input is what is there now.
  func find(
    _ weakKey: Digest, strictly: Bool, since: Int64?, input: (ConsumedInput?) throws(CallAborted) -> Bool
  ) throws(LookupFailure) -> (StoredRun, RunRecord)? {
    var evaluator = Evaluator(tree: tree, digester: digester)
    defer { trace.evaluator = evaluator }
    do {
      for digest in try store.pathSetDigests(weakKey: weakKey) {
        guard let pathSet = try pathSets.pathSet(digest, from: store) else { continue }
        trace.met(.inputs)
        let values = pathSet.observations.map { evaluator.value(of: $0) }
        let key = SHA256.digest(
          of: RunRecord.strongKeyBytes(weakKey: weakKey, pathSet: digest, values: values))
        for run in try store.runs(strongKey: key, limit: Lookup.runsPerKey) {
          guard let record = try? RunRecord(encoded: run.body) else { continue }
          guard isGood(run, record, since: since) else {
            trace.met(.expired)
            continue
          }
          let holds = Condition.hold(record.conditions, strictly: strictly) { evaluator.value(of: $0) }
          guard holds else {
            trace.met(.ownOutputs)
            continue
          }
          guard try input(record.input) else {
            trace.met(.standardInput)
            continue
          }
          guard try isUsable(run.id) else {
            trace.met(.contentLost)
            continue
          }
          return (run, record)
        }
      }
      return nil
    } catch let error as StoreError {
      throw .store(error)
    } catch {
      throw .aborted
    }
  }

  /// Whether all that a replay needs is there; not so when the run was removed since it was found.
  private func isUsable(_ run: Digest) throws(StoreError) -> Bool {
    do throws(StoreError) { return try store.unusableBlobs(of: run).isEmpty } catch {
      if error.isAboutOneBlob { return false }
      throw error
    }
  }
}

/// The caller has gone.
struct CallAborted: Error {}

enum LookupFailure: Error {
  case store(StoreError)
  case aborted
}

extension Lookup {
  private func isGood(_ run: StoredRun, _ record: RunRecord, since: Int64?) -> Bool {
    if let since, run.created < since { return false }
    return record.expires.map { $0 > Clock.now() } ?? true
  }
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
