import CasherRecord
import CasherStore
import CasherSystem

extension Command {
  static let show = Command(
    name: "show", operands: "RUN", operandCount: 1...1, summary: "show everything about one stored run",
    details: """
      Shows what a run was, what it depended on and what came of it: command, directory, the names of the environment \
      variables that count, inputs with what they were, outputs, what it printed, the runs around it and inside it, how much time its replays have saved, and why a \
      call of the same command was last a miss.
      RUN is the beginning of a run's id, as far as it is the only one that begins so; @ is the latest run, @{2} the \
      one two before that.
      """,
    options: [Option.json, Option.cacheDirectory], run: showRun)
}

/// What `show` tells of a run besides its own record.
private struct Surroundings {
  /// Children that are named before the rest is left out.
  private static let limit = 1000

  /// Runs that were started in it, the first one first.
  var children: [StoredRun]
  var lastMiss: MissNote?

  init(of run: StoredRun, in store: Store) throws(StoreError) {
    var filter = RunFilter()
    filter.parent = run.id
    filter.limit = Surroundings.limit
    children = try store.runs(matching: filter).reversed()
    lastMiss = try store.lastMiss(weakKey: run.weakKey)
  }

  var json: [(String, JSON)] {
    [
      ("children", .array(children.map { .digest($0.id) })),
      (
        "last_miss",
        lastMiss.map { miss in
          .object([
            ("time", .number(Double(miss.time) / 1e9)), ("reason", .string(miss.reason)),
            ("detail", .array(miss.detail.map { .string($0) })),
          ])
        } ?? .null
      ),
    ]
  }
}

private func showRun(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let store = try RunReference.openStore(arguments)
  defer { store.close() }
  let run = try RunReference.find(arguments.operands[0], in: store)
  let record = try RunReference.record(of: run)
  let surroundings = try StoreAccess.reading { () throws(StoreError) in try Surroundings(of: run, in: store) }
  if arguments.has("--json") {
    Console.print(.object(RunJSON.members(run, record) + surroundings.json))
  } else {
    Console.print(text(run, record, surroundings))
  }
  return .success
}

private func text(_ run: StoredRun, _ record: RunRecord, _ surroundings: Surroundings) -> String {
  var lines: [String] = []
  func field(_ name: String, _ value: String) { lines.append("\(Help.pad(name, to: 10))  \(value)") }
  field("run", run.id.hexadecimal)
  field("command", "\(FilePath(run.command))")
  field("directory", run.directory.isEmpty ? "\(run.mount)" : "\(run.mount.appending(run.directory))")
  field("stored", "\(Quantity.time(run.created)), \(Quantity.age(Clock.now() &- run.created)) ago")
  field("took", Quantity.duration(run.duration))
  field("replayed", replays(run))
  field("exit", "\(record.exitStatus)")
  if let miss = surroundings.lastMiss {
    let reason = MissReason(rawValue: miss.reason)?.sentence ?? miss.reason
    field("last miss", "\(Quantity.age(Clock.now() &- miss.time)) ago, as \(reason)")
    for line in miss.detail { field("", line) }
  }
  if let parent = record.parent { field("inside", RunText.short(parent)) }
  for child in surroundings.children { field("started", "\(RunText.short(child.id))  \(FilePath(child.command))") }
  if !run.tags.isEmpty { field("tags", run.tags.map { "\($0.name)=\($0.value)" }.joined(separator: " ")) }
  let lengths = RunJSON.streamLengths(record)
  field("printed", "\(Quantity.size(lengths.output)) to stdout, \(Quantity.size(lengths.error)) to stderr")
  if let input = record.input { field("took in", "\(input.count) bytes from standard input") }
  field("environment", record.environmentNames.map(\.description).joined(separator: " "))

  lines.append("\ninputs (\(record.observations.count + record.conditions.count)):")
  for (observation, value) in zip(record.observations, record.values) {
    lines.append("  \(name(observation.path))  \(RunJSON.word(observation.facet)): \(value)")
  }
  for condition in record.conditions {
    lines.append(
      "  \(name(condition.observation.path))  \(RunJSON.word(condition.observation.facet)): "
        + "\(condition.before), or as the run left it")
  }
  lines.append("\noutputs (\(record.outputs.count)):")
  for output in record.outputs { lines.append("  \(name(output.path))  \(RunJSON.words(output))") }
  return lines.joined(separator: "\n")
}

private func replays(_ run: StoredRun) -> String {
  guard run.hits > 0 else { return "not yet" }
  return "\(RunText.count(run.hits, "time")), \(Quantity.duration(RunText.saved(run))) saved; "
    + "last \(Quantity.age(Clock.now() &- run.lastUsed)) ago"
}

private func name(_ path: FilePath) -> String { path.isEmpty ? "." : path.description }
