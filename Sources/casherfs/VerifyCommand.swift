import CasherStore
import CasherSystem

extension Command {
  static let verify = Command(
    name: "verify", operands: "DIR | --store", operandCount: 0...1,
    summary: "check a directory against its last freeze, or the cache itself",
    details: """
      With DIR: reads every result that the last freeze of DIR has on record ('casherfs freezes' lists them) and tells \
      which are changed, missing, or have another mode. DIR may be mounted or not, and may lie in the directory that was \
      frozen. Exits with 1 when something differs.
      With --store: reads everything in the cache and compares it with what it should be. With --repair what cannot be \
      trusted is dropped, so that the next call runs its command again; a database that cannot be read is set aside and \
      a new one begun with the contents that are still right. Exits with 1 when something is wrong and was not mended.
      """,
    options: [
      Option("--freeze", value: "ID", "check against this freeze, not the last one"),
      Option("--store", "check the cache itself"),
      Option("--repair", "with --store: drop what cannot be trusted"),
      Option.json, Option.cacheDirectory,
    ],
    run: checkSomething)
}

private func checkSomething(_ arguments: Arguments) throws(Failure) -> ExitCode {
  switch (arguments.has("--store"), arguments.operands.first) {
  case (true, nil): return try verifyStore(arguments)
  case (false, let directory?): return try verifyDirectory(directory, arguments)
  case (true, _): throw Arguments.misused(.verify, "--store checks the cache, and a directory is checked without it")
  case (false, nil): throw Arguments.misused(.verify, "say what to check: a directory, or --store for the cache itself")
  }
}

private func verifyDirectory(_ given: FilePath, _ arguments: Arguments) throws(Failure) -> ExitCode {
  if arguments.has("--repair") { throw Arguments.misused(.verify, "--repair mends the cache, with --store") }
  let directory = try MountedDirectory.path(of: given)
  let access = try StoreAccess(arguments, for: directory)
  let store = try access.open()
  defer { store?.close() }
  var freeze: StoredFreeze?
  if let store {
    if let id = arguments.text("--freeze") {
      freeze = try Freezes.find(id, in: store)
    } else {
      freeze = try Freezes.last(around: directory, in: store)
    }
  }
  guard let freeze else {
    throw Failure(
      .noSuchFreeze, "no freeze of \(directory) is on record in \(access.directory); an unmount makes one.")
  }
  guard directory.isWithin(freeze.mount) else {
    throw Failure(.usage, "freeze \(freeze.id) is of \(freeze.mount), and \(directory) is not in it.")
  }
  let check = try DirectoryCheck(directory, freeze)
  if arguments.has("--json") { Console.print(check.json) } else { Console.print(check.text) }
  return check.isSame ? .success : .failure
}

private func verifyStore(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let isRepairing = arguments.has("--repair")
  let access = try StoreAccess(arguments)
  let report = try StoreAccess.reading { () throws(StoreError) in
    try Store.verify(at: access.directory, options: access.options, repair: isRepairing)
  }
  let isSound = report.isSound || (isRepairing && report.repaired > 0)
  if arguments.has("--json") {
    Console.print(bytes: Array(json(report).text.utf8))
  } else {
    for problem in report.problems { Console.print(words(problem)) }
    let found = report.problems.count
    Console.print(
      "checked \(report.checkedRuns) runs and \(report.checkedBlobs) contents, \(Quantity.size(report.checkedBytes)): "
        + (found == 0 ? "all is right" : "\(found) problem\(found == 1 ? "" : "s")")
        + (report.repaired > 0 ? ", \(report.repaired) mended" : ""))
    if found > 0, !isRepairing { Console.print("'casherfs verify --store --repair' drops what cannot be trusted") }
    if found > 0, isRepairing, report.repaired == 0 {
      Console.print("what is left is still listed by a directory that is or was mounted: freeze or unmount that first")
    }
  }
  return isSound ? .success : .failure
}

private func words(_ problem: VerificationReport.Problem) -> String {
  switch problem {
  case .missingBlob(let digest): "missing content \(digest.hexadecimal)"
  case .truncatedBlob(let digest): "content \(digest.hexadecimal) has the wrong size"
  case .corruptBlob(let digest): "content \(digest.hexadecimal) is damaged"
  case .orphan(let path): "\(path) belongs to nothing"
  case .brokenRun(let run): "run \(run.hexadecimal) cannot be replayed"
  case .damagedPathSet(let digest): "path set \(digest.hexadecimal) is damaged"
  case .database(let text): "the database: \(text)"
  case .miscount(let text): "a count is wrong: \(text)"
  }
}

private func json(_ report: VerificationReport) -> JSON {
  .object([
    ("problems", .array(report.problems.map { .string(words($0)) })), ("checked_runs", .integer(report.checkedRuns)),
    ("checked_blobs", .integer(report.checkedBlobs)), ("checked_bytes", .integer(report.checkedBytes)),
    ("repaired", .integer(report.repaired)),
  ])
}
