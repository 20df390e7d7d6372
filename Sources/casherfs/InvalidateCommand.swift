import CasherRecord
import CasherStore
import CasherSystem

extension Command {
  static let invalidate = Command(
    name: "invalidate", operands: "", operandCount: 0...0, summary: "have commands run again",
    details: """
      Removes the stored runs that fit everything given, and the runs that those were started in, so that their \
      commands run again with the next call, in every mount. --path FILE means every run that read FILE, or anything \
      below it when it is a directory; FILE need not exist any more.
      """,
    options: [
      RunSelection.tag, RunSelection.command,
      Option("--path", value: "FILE", "only runs that read FILE, or something below it"),
      Option("--dry-run", short: "-n", "remove nothing, and list what would go"), Option.json, Option.cacheDirectory,
    ],
    run: invalidateRuns)
}

private func invalidateRuns(_ arguments: Arguments) throws(Failure) -> ExitCode {
  guard arguments.has("--tag") || arguments.has("--command") || arguments.has("--path") else {
    throw Arguments.misused(.invalidate, "--tag, --command or --path is missing")
  }
  let filter = try RunSelection.filter(arguments)
  let isDryRun = arguments.has("--dry-run")
  var report = EvictionReport()
  report.isDryRun = isDryRun
  if let store = try StoreAccess(arguments).open() {
    defer { store.close() }
    let runs = try chosen(filter, arguments.path("--path"), store)
    if isDryRun {
      report.runs = runs.map(\.id)
      if !arguments.has("--json") {
        for run in runs { Console.print("\(RunText.short(run.id))  \(FilePath(run.command))") }
      }
    } else {
      report = try StoreAccess.reading { () throws(StoreError) in try store.remove(runs: runs.map(\.id)) }
    }
  }
  Removal.print(report, asJSON: arguments.has("--json"))
  return .success
}

/// The runs that fit, without bodies, and those around them.
private func chosen(_ filter: RunFilter, _ path: FilePath?, _ store: Store) throws(Failure) -> [StoredRun] {
  var runs: [StoredRun] = []
  try StoreAccess.reading { () throws(StoreError) in
    if let path {
      runs = try readers(of: RunPaths.absolute(path), filter, store)
    } else {
      runs = try store.runs(matching: filter)
    }
    try addOuterRuns(&runs, store)
  }
  return runs
}

/// The runs among those that fit the filter that read one of the paths, or something below it.
private func readers(of paths: [FilePath], _ filter: RunFilter, _ store: Store) throws(StoreError) -> [StoredRun] {
  var runs: [StoredRun] = []
  let names = paths.map(\.lastComponent.bytes)
  let take = { (run: StoredRun) in
    guard let record = try? RunRecord(encoded: run.body), RunPaths.reads(record, run, anyOf: paths) else { return }
    var found = run
    found.body = []
    runs.append(found)
  }
  // Of a directory that a mount lies in, what is below it need not be named by any record.
  let holdsMount = try store.mounts().contains { mount in paths.contains { mount.isWithin($0) } }
  if filter == RunFilter(), !holdsMount {
    for run in try store.runs(mentioning: names) { take(run) }
  } else {
    try store.visitRuns(matching: filter, withBodies: true) { run in
      if holdsMount || names.contains(where: { run.body.contains(bytes: $0) }) { take(run) }
      return true
    }
  }
  return runs
}

/// Adds the runs that any of them was made or replayed in.
private func addOuterRuns(_ runs: inout [StoredRun], _ store: Store) throws(StoreError) {
  var known = Set(runs.map(\.id))
  var index = 0
  while index < runs.count {
    for outer in try store.runs(around: runs[index].id) where known.insert(outer.id).inserted { runs.append(outer) }
    index += 1
  }
}
