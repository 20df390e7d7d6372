import CasherStore
import CasherSystem

extension Command {
  static let log = Command(
    name: "log", operands: "[--daemon DIR]", operandCount: 0...1, summary: "list the stored runs, newest first",
    details: """
      Lists stored runs, newest first: id, age, how long the command took, how many paths it depended on and \
      produced, the size of what it produced, how often it was replayed, exit status and command.
      With --daemon it prints what the daemon of a mount has done instead, a line each of key=value words: of the mount \
      at DIR, or of that which the current directory is in.
      """,
    options: [
      RunSelection.command, RunSelection.tag, RunSelection.status, RunSelection.since, RunSelection.limit(50),
      Option("--daemon", "print the log of a mount's daemon instead"),
      Option("--follow", short: "-f", "with --daemon: go on printing what is added, until interrupted"),
      Option.json, Option.cacheDirectory,
    ],
    run: listRuns)
}

private func listRuns(_ arguments: Arguments) throws(Failure) -> ExitCode {
  if arguments.has("--daemon") {
    try DaemonLogReader(arguments.operands.first, arguments).run(
      limit: try RunSelection.limit(arguments, 50), follow: arguments.has("--follow"))
    return .success
  }
  if let surplus = arguments.operands.first {
    throw Arguments.misused(.log, "'\(surplus)' is one argument too many")
  }
  if arguments.has("--follow") { throw Arguments.misused(.log, "--follow says nothing without --daemon") }
  var filter = try RunSelection.filter(arguments)
  filter.limit = try RunSelection.limit(arguments, 50)
  let store = try StoreAccess(arguments).open()
  defer { store?.close() }
  let count = try arguments.has("--json") ? printJSON(store, filter) : printTable(store, filter)
  if count == 0, !arguments.has("--json") { Console.complain("no stored run matches.") }
  return .success
}

/// Runs that are printed at once: however many there are, few are in memory.
private let block = 500

private func printJSON(_ store: Store?, _ filter: RunFilter) throws(Failure) -> Int {
  var list = JSONList()
  var count = 0
  try StoreAccess.reading { () throws(StoreError) in
    try store?.visitRuns(matching: filter) { run in
      list.add(.object(RunText.members(run)))
      count += 1
      return count % block == 0 ? Console.write(list.take()) : true
    }
  }
  list.end()
  Console.write(list.take())
  return count
}

private func printTable(_ store: Store?, _ filter: RunFilter) throws(Failure) -> Int {
  let now = Clock.now()
  var table = Table("ID", "AGE", "TOOK", "IN", "OUT", "SIZE", "HITS", "EXIT", "COMMAND")
  var count = 0
  try StoreAccess.reading { () throws(StoreError) in
    try store?.visitRuns(matching: filter) { run in
      table.add(
        [
          RunText.short(run.id), Quantity.age(now &- run.created), Quantity.duration(run.duration),
          "\(run.inputCount)", "\(run.outputCount)", Quantity.size(run.outputBytes), "\(run.hits)",
          "\(run.exitStatus)", FilePath(run.command).description,
        ], styles: [.yellow, nil, nil, nil, nil, nil, nil, run.exitStatus == 0 ? nil : .red])
      count += 1
      return count % block == 0 ? Console.write(table.take() + "\n") : true
    }
  }
  if count % block != 0 { Console.print(table.take()) }
  return count
}
