import CasherDaemon
import CasherStore
import CasherSystem

extension Command {
  static let changed = Command(
    name: "changed", operands: "[RUN]", operandCount: 0...1,
    summary: "list the commands that would run again now, and what has changed",
    details: """
      Looks at everything that recorded runs depended on, and lists the commands of which no stored run would be the \
      answer now, with the inputs in which the nearest run differs from what is there; those that were given --no-cache \
      are left out. With RUN does so for that run \
      alone. Standard input and options are taken to be what they were. Runs nothing. Exits with 0 when nothing has \
      changed, else with 1.
      """,
    options: [
      RunSelection.command, RunSelection.tag, RunSelection.since, RunSelection.limit(200, "commands looked at"),
      Option.json, Option.cacheDirectory,
    ],
    run: listChanges)
}

/// Inputs of one command that are printed before the rest is only counted.
private let shownInputs = 10

private func listChanges(_ arguments: Arguments) throws(Failure) -> ExitCode {
  var runs: [StoredRun] = []
  let filter = try RunSelection.filter(arguments)
  let limit = try RunSelection.limit(arguments, 200)
  let store: Store
  if let reference = arguments.operands.first {
    store = try RunReference.openStore(arguments)
    runs = [try RunReference.find(reference, in: store)]
  } else if let opened = try StoreAccess(arguments).open() {
    store = opened
    runs = try newestOfEachCommand(filter, limit, store)
  } else {
    if arguments.has("--json") { Console.print(.array([])) }
    return .success
  }
  defer { store.close() }
  let isOne = !arguments.operands.isEmpty
  let changes = try ChangeLookup(store: store).changes(of: runs, nearest: !isOne)
  let changed = runs.compactMap { run -> (StoredRun, RunChange?)? in
    guard let change = changes[run.id] else { return (run, nil) }
    // What is kept for its history alone runs every time, and nothing has changed by that.
    if !isOne, change.obstacle == .historyOnly { return nil }
    return change.isAnswered && (!isOne || change.count == 0 && change.obstacle == .none) ? nil : (run, change)
  }
  if arguments.has("--json") {
    Console.print(JSON.array(changed.map(json)))
  } else {
    for (run, change) in changed { Console.print(text(run, change, all: isOne)) }
    if isOne, changed.isEmpty {
      Console.print("nothing that run \(RunText.short(runs[0].id)) depended on has changed")
    } else if !isOne {
      let looked = RunText.count(runs.count, "command")
      Console.print("\(changed.count) of \(looked) would run again")
      if let limit, runs.count == limit { Console.print("only the newest were looked at; --limit 0 looks at all") }
    }
  }
  return changed.isEmpty ? .success : .failure
}

/// The newest run of each command in each environment, at most `limit`, without bodies.
private func newestOfEachCommand(
  _ filter: RunFilter, _ limit: Int?, _ store: Store
) throws(Failure) -> [StoredRun] {
  var known: Set<Digest> = []
  var runs: [StoredRun] = []
  try StoreAccess.reading { () throws(StoreError) in
    try store.visitRuns(matching: filter) { run in
      if known.insert(run.weakKey).inserted { runs.append(run) }
      return runs.count < limit ?? .max
    }
  }
  return runs
}

private func text(_ run: StoredRun, _ change: RunChange?, all: Bool) -> String {
  var lines = ["\(Style.yellow(RunText.short(run.id)))  \(FilePath(run.command))"]
  guard let change else { return lines[0] + "\n    \(run.mount) cannot be looked at, or the record is damaged" }
  let shown = all ? change.differences[...] : change.differences.prefix(shownInputs)
  lines += shown.map { "    \($0)" }
  let more = Int64(clamping: change.count) - Int64(shown.count)
  if more > 0 { lines.append("    and \(more) more") }
  switch change.obstacle {
  case .none: break
  case .lost: lines.append("    contents of its result are no longer in the cache")
  case .expired: lines.append("    its result is older than it may be")
  case .historyOnly: lines.append("    it was recorded for its history alone (--no-cache)")
  }
  if change.isAnswered { lines.append("    but another stored run has the inputs that are there now") }
  return lines.joined(separator: "\n")
}

private func json(_ run: StoredRun, _ change: RunChange?) -> JSON {
  .object([
    ("id", .digest(run.id)), ("command", .bytes(run.command)), ("directory", .path(run.directory)),
    ("mount", .path(run.mount)), ("compared_with", change.map { .digest($0.run) } ?? .null),
    ("changed_count", change.map { .integer(Int64(clamping: $0.count)) } ?? .null),
    (
      "changed",
      .array(
        (change?.differences ?? []).map { difference in
          .object([
            ("path", .path(difference.observation.path)),
            ("observed", .string(RunJSON.word(difference.observation.facet))),
            ("was", .string(difference.was.description)), ("now", .string(difference.now.description)),
          ])
        })
    ),
    ("content_lost", .bool(change?.obstacle == .lost)), ("expired", .bool(change?.obstacle == .expired)),
    ("other_run_fits", .bool(change?.isAnswered ?? false)),
  ])
}
