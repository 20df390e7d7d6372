import CasherStore
import CasherSystem

extension Command {
  static let log = Command(
    name: "log", operands: "", operandCount: 0...0, summary: "list the stored runs, newest first",
    details: """
      Lists stored runs, newest first: id, age, how long the command took, how many paths it depended on and \
      produced, the size of what it produced, how often it was replayed, exit status and command.
      """,
    options: [
      Option("--command", value: "GLOB", "only commands that match as a whole, as in 'gcc *'"),
      Option("--status", value: "ok|failed", "only commands that exited with 0, or with another status"),
      Option("--since", value: "DURATION", "only runs stored in the last 30m, 2h, 7d, ..."),
      Option("--limit", short: "-n", value: "N", "at most N runs; 50 by default, 0 for all"),
      Option.json, Option.cacheDirectory,
    ],
    run: listRuns)
}

private func listRuns(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let filter = try filter(arguments)
  var runs: [StoredRun] = []
  if let store = try StoreAccess(arguments).open() {
    defer { store.close() }
    runs = try StoreAccess.reading { () throws(StoreError) in try store.runs(matching: filter) }
  }
  if arguments.has("--json") {
    Console.print(bytes: Array(JSON.array(runs.map { .object(RunText.members($0)) }).text.utf8))
  } else if runs.isEmpty {
    Console.complain("no stored run matches.")
  } else {
    let now = Clock.now()
    Console.print(table(runs.map { row($0, now: now) }))
  }
  return .success
}

private func filter(_ arguments: Arguments) throws(Failure) -> RunFilter {
  var filter = RunFilter()
  filter.command = arguments.text("--command")
  filter.succeeded = try arguments.value("--status", "'ok' or 'failed'") { ["ok": true, "failed": false][$0] }
  filter.since = try arguments.value("--since", "a duration such as 2h or 7d") { Quantity.nanoseconds($0) }
    .map { Clock.now() &- $0 }
  let limit = try arguments.value("--limit", "a number of runs") { Int($0).flatMap { $0 < 0 ? nil : $0 } } ?? 50
  filter.limit = limit == 0 ? nil : limit
  return filter
}

private func row(_ run: StoredRun, now: Int64) -> [String] {
  [
    RunText.short(run.id), Quantity.age(now &- run.created), Quantity.duration(run.duration), "\(run.inputCount)",
    "\(run.outputCount)", Quantity.size(run.outputBytes), "\(run.hits)", "\(run.exitStatus)",
    FilePath(run.command).description,
  ]
}

/// Columns under their heads; the last one is left as wide as it is.
private func table(_ rows: [[String]]) -> String {
  let heads = ["ID", "AGE", "TOOK", "IN", "OUT", "SIZE", "HITS", "EXIT", "COMMAND"]
  let all = [heads] + rows
  let widths = heads.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
  return all.map { row in
    zip(row, widths).enumerated().map { index, cell in
      index == heads.count - 1 ? cell.0 : Help.pad(cell.0, to: cell.1)
    }.joined(separator: "  ")
  }.joined(separator: "\n")
}
