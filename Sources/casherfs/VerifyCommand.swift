import CasherStore
import CasherSystem

extension Command {
  static let verify = Command(
    name: "verify", operands: "", operandCount: 0...0, summary: "check the cache, and mend it",
    details: """
      Reads everything in the cache and compares it with what it should be. With --repair what cannot be trusted is \
      dropped, so that the next call runs its command again; a database that cannot be read is set aside and a new one \
      begun with the contents that are still right. Exits with 1 when something is wrong and was not mended.
      """,
    options: [
      Option("--store", "check the cache itself"),
      Option("--repair", "drop what cannot be trusted"),
      Option.json, Option.cacheDirectory,
    ],
    run: verifyStore)
}

private func verifyStore(_ arguments: Arguments) throws(Failure) -> ExitCode {
  guard arguments.has("--store") else {
    throw Arguments.misused(.verify, "say what to check: --store for the cache itself")
  }
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
