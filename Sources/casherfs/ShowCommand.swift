import CasherRecord
import CasherStore
import CasherSystem

extension Command {
  static let show = Command(
    name: "show", operands: "RUN", operandCount: 1...1, summary: "show everything about one stored run",
    details: """
      Shows what a run was, what it depended on and what came of it: command, directory, the names of the environment \
      variables that count, inputs with what they were, outputs, and what it printed.
      RUN is the beginning of a run's id, as far as it is the only one that begins so; @ is the latest run, @{2} the \
      one two before that.
      """,
    options: [Option.json, Option.cacheDirectory], run: showRun)
}

private func showRun(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let access = try StoreAccess(arguments)
  guard let store = try access.open() else {
    throw Failure(.noSuchRun, "there is no cache in \(access.directory) yet; run something under 'acache --' first.")
  }
  defer { store.close() }
  let run = try RunReference.find(arguments.operands[0], in: store)
  let record: RunRecord
  do throws(DecodingFailure) { record = try RunRecord(encoded: run.body) } catch {
    throw Failure(
      .storeUnusable, "the record of run \(RunText.short(run.id)) is damaged (\(error)); run it again with --force.")
  }
  if arguments.has("--json") {
    Console.print(bytes: Array(RunJSON.document(run, record).text.utf8))
  } else {
    Console.print(text(run, record))
  }
  return .success
}

private func text(_ run: StoredRun, _ record: RunRecord) -> String {
  var lines: [String] = []
  func field(_ name: String, _ value: String) { lines.append("\(Help.pad(name, to: 10))  \(value)") }
  field("run", run.id.hexadecimal)
  field("command", "\(FilePath(run.command))")
  field("directory", run.directory.isEmpty ? "\(run.mount)" : "\(run.mount.appending(run.directory))")
  field("stored", "\(Quantity.time(run.created)), \(Quantity.age(Clock.now() &- run.created)) ago")
  field("took", Quantity.duration(run.duration))
  field("replayed", replays(run))
  field("exit", "\(record.exitStatus)")
  if let parent = record.parent { field("inside", RunText.short(parent)) }
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
  let saved = run.hits.multipliedReportingOverflow(by: run.duration)
  return "\(run.hits) times, \(Quantity.duration(saved.overflow ? .max : saved.partialValue)) saved; "
    + "last \(Quantity.age(Clock.now() &- run.lastUsed)) ago"
}

private func name(_ path: FilePath) -> String { path.isEmpty ? "." : path.description }
