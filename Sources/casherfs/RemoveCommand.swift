import CasherStore
import CasherSystem

extension Command {
  static let remove = Command(
    name: "rm", operands: "RUN...", operandCount: 1...Int.max, summary: "remove stored runs",
    details: """
      Removes the runs, and the contents that only they needed. The next call of their commands runs again, in every \
      mount. When one of them is not there, nothing is removed. Files in a mount stay as they are, and freezes that name \
      the runs stay on record.
      """,
    options: [Option.json, Option.cacheDirectory], run: removeRuns)

  static let clear = Command(
    name: "clear", operands: "", operandCount: 0...0, summary: "remove all stored runs",
    details: """
      Removes every stored run and every content that no mount shows. Asks first on a terminal; elsewhere --yes has to \
      be given. What was counted stays; 'casherfs stats --zero' begins anew with that. Freezes stay on record; 'casherfs \
      freezes --forget' forgets them.
      """,
    options: [Option("--yes", short: "-y", "do not ask"), Option.json, Option.cacheDirectory], run: clearStore)
}

private func removeRuns(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let store = try RunReference.openStore(arguments)
  defer { store.close() }
  var ids: [Digest] = []
  for reference in arguments.operands {
    let id = try RunReference.find(reference, in: store).id
    if !ids.contains(id) { ids.append(id) }
  }
  let report = try StoreAccess.reading { () throws(StoreError) in try store.remove(runs: ids) }
  Removal.print(report, asJSON: arguments.has("--json"))
  return .success
}

private func clearStore(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let access = try StoreAccess(arguments)
  guard arguments.has("--yes") || Console.canAsk else {
    throw Arguments.misused(.clear, "there is no terminal to ask on; --yes clears without asking")
  }
  guard let store = try access.open() else {
    Removal.print(EvictionReport(), asJSON: arguments.has("--json"))
    return .success
  }
  defer { store.close() }
  if !arguments.has("--yes") {
    let statistics = try StoreAccess.reading { () throws(StoreError) in try store.statistics() }
    let what = "\(RunText.count(statistics.entries, "run")) (\(Quantity.size(statistics.storedBytes)))"
    guard Console.confirm("Remove all \(what) from the cache in \(access.directory)?") else {
      Console.complain("nothing was removed.")
      return .failure
    }
  }
  let report = try StoreAccess.reading { () throws(StoreError) in try store.removeAllRuns() }
  Removal.print(report, asJSON: arguments.has("--json"))
  return .success
}

/// What commands that remove runs say.
enum Removal {
  static func print(_ report: EvictionReport, asJSON: Bool) {
    if asJSON {
      Console.print(
        .object([
          ("dry_run", .bool(report.isDryRun)), ("runs", .array(report.runs.map { .digest($0) })),
          ("blobs", .integer(report.blobs)), ("freed_bytes", .integer(report.freedBytes)),
          ("stored_bytes", .integer(report.storedBytes)),
        ]))
    } else if report.isDryRun {
      Console.print("would remove \(RunText.count(report.runs.count, "run"))")
    } else {
      Console.print(
        "removed \(RunText.count(report.runs.count, "run")), freed \(Quantity.size(report.freedBytes)); "
          + "\(Quantity.size(report.storedBytes)) are left")
    }
  }
}
