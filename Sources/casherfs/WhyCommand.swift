import CasherRecord
import CasherStore
import CasherSystem

extension Command {
  static let why = Command(
    name: "why", operands: "FILE", operandCount: 1...1, summary: "tell which command made a file, and from what",
    details: """
      Tells which run left FILE: the command, where and when it ran, the runs that it was part of, what it was made \
      from, and whether FILE is still what the run left. FILE may be in a mount, in a directory that is no longer \
      mounted, or gone. Of several runs that left the same content there the one counts that was made or replayed last. \
      Where no run is known to have left anything there, a run that left the same content elsewhere is named. A run \
      that was evicted is known from the freezes of its directory, without what it was made from.
      The exit code is 0 when FILE is as the run left it, 1 when it has changed or is gone, 20 when no run is known.
      """,
    options: [
      Option("--all", short: "-a", "everything that the run depended on, not only the first of the files that it read"),
      Option.json, Option.cacheDirectory,
    ],
    run: tellWhy)
}

private func tellWhy(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let file = arguments.operands[0]
  let store = try RunReference.openStore(arguments)
  defer { store.close() }
  let provenance = try Provenance(of: file, in: store)
  guard provenance.isKnown else {
    let what = provenance.present == .absent ? "\(provenance.path) is not there, and no" : "no"
    throw Failure(
      .noSuchOutput,
      "\(what) recorded run left \(provenance.present == .absent ? "anything there" : "\(provenance.path)"); "
        + "'casherfs log' lists the runs.")
  }
  let report = try StoreAccess.reading { () throws(StoreError) in
    try ProvenanceReport(provenance, in: store, all: arguments.has("--all"))
  }
  if arguments.has("--json") { Console.print(report.json) } else { Console.print(report.text) }
  return provenance.state == .same ? .success : .failure
}
