import CasherDaemon
import CasherRecord
import CasherStore
import CasherSystem

/// Looks for the runs that left something at a path.
struct MakerSearch {
  /// The absolute paths that the user may mean.
  let paths: [FilePath]
  let store: Store
  let limit: Int

  /// The runs that left this content there, or anything without one. The one that was made or replayed last comes first.
  func runs(leaving digest: Digest?) throws(StoreError) -> [Provenance.Made] {
    var runs: [StoredRun] = []
    for path in paths {
      for directory in [FilePath([])] + Freezes.ancestors(of: path).dropFirst() {
        // As a path outside of any mount first, then below each directory that may have been one.
        let inside = directory.isEmpty ? path : path.relative(to: directory) ?? path
        let key = StoredRun.outputKey(inside, in: directory)
        runs += try store.runs(leaving: key, naming: digest, limit: limit)
      }
    }
    // Runs that were stored before their paths were.
    if let digest { runs += try store.runs(naming: digest, limit: limit) }
    return try made(runs) { run, output in paths.contains(RunPaths.absolute(output.path, in: run)) }
  }

  /// The run that left this content last, wherever, and the path.
  func elsewhere(_ digest: Digest) throws(StoreError) -> (made: Provenance.Made, path: FilePath)? {
    var found: [Provenance.Made] = []
    for run in try store.runs(naming: digest, limit: limit) {
      guard let whole = try store.run(run.id), let record = try? RunRecord(encoded: whole.body),
        let output = record.outputs.first(where: { StoredContent.file($0, of: record)?.digest == digest })
      else { continue }
      found.append(Provenance.Made(run: whole, record: record, output: output))
    }
    guard let made = innermost(found.sorted { $0.run.lastUsed > $1.run.lastUsed }) else { return nil }
    return (made, RunPaths.absolute(made.output.path, in: made.run))
  }

  private func made(
    _ runs: [StoredRun], where fits: (StoredRun, Output) -> Bool
  ) throws(StoreError) -> [Provenance.Made] {
    var known: Set<Digest> = []
    var result: [Provenance.Made] = []
    for run in runs where known.insert(run.id).inserted {
      guard let whole = try store.run(run.id), let record = try? RunRecord(encoded: whole.body),
        let output = record.outputs.last(where: { fits(whole, $0) })
      else { continue }
      result.append(Provenance.Made(run: whole, record: record, output: output))
    }
    return result.sorted { ($0.run.lastUsed, $0.run.created) > ($1.run.lastUsed, $1.run.created) }
  }

  /// The first of them, or rather the run within it that did the same: that one tells more of what was done.
  func innermost(_ found: [Provenance.Made]) -> Provenance.Made? {
    guard var result = found.first else { return nil }
    var rest = found.dropFirst()
    while let index = rest.firstIndex(where: { candidate in
      candidate.run.parent == result.run.id || result.record.innerRuns.contains(candidate.run.id)
    }) {
      result = rest.remove(at: index)
    }
    return result
  }

  /// What the freezes of the directories around the path say of it, the latest that fits.
  func frozen(where fits: (FreezeRecord.Result) -> Bool) throws(Failure) -> Provenance.Origin? {
    for path in paths {
      for directory in Freezes.ancestors(of: path).dropFirst() {
        guard let inside = path.relative(to: directory) else { continue }
        let freezes = try StoreAccess.reading { () throws(StoreError) in try store.freezes(of: directory) }
        for listed in freezes {
          let whole = try StoreAccess.reading { () throws(StoreError) in try store.freeze(listed.id) }
          guard let whole else { continue }
          let record = try Freezes.record(of: whole)
          guard let result = record.result(at: inside), fits(result) else { continue }
          return try origin(record.maker(of: result), result, listed)
        }
      }
    }
    return nil
  }

  /// The run itself where it is still stored.
  private func origin(
    _ maker: FreezeRecord.Maker, _ result: FreezeRecord.Result, _ freeze: StoredFreeze
  ) throws(Failure) -> Provenance.Origin {
    let run = try StoreAccess.reading { () throws(StoreError) in try store.run(maker.run) }
    if let run, let record = try? RunRecord(encoded: run.body),
      let output = record.outputs.last(where: { $0.path == result.path })
    {
      return .run(Provenance.Made(run: run, record: record, output: output))
    }
    return .forgotten(maker, result, freeze)
  }
}
