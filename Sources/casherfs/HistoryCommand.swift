import CasherRecord
import CasherStore
import CasherSystem

extension Command {
  static let history = Command(
    name: "history", operands: "RUN", operandCount: 1...1, summary: "list all runs of the same command over time",
    details: """
      Lists the stored runs of the command that RUN is one of, in the same directory of the same mount, newest first, \
      and for each what it read and left otherwise than the run before it.
      """,
    options: [RunSelection.limit(20), Option.json, Option.cacheDirectory], run: showHistory)
}

/// A run, and in what it differs from the one before it; nil when none before it is stored.
private struct Step {
  var run: StoredRun
  var changes: RunDifference?
}

private func showHistory(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let limit = try RunSelection.limit(arguments, 20)
  let store = try RunReference.openStore(arguments)
  defer { store.close() }
  let run = try RunReference.find(arguments.operands[0], in: store)
  var filter = RunFilter()
  filter.exactCommand = run.command
  filter.directory = run.directory
  filter.mount = run.mount
  // One more, for the last of the list to be compared with.
  filter.limit = limit.map { $0 == .max ? .max : $0 + 1 }
  let runs = try StoreAccess.reading { () throws(StoreError) in try store.runs(matching: filter, withBodies: true) }
  var steps: [Step] = []
  for (index, run) in runs.prefix(limit ?? .max).enumerated() {
    let before = runs.dropFirst(index + 1).first
    steps.append(Step(run: run, changes: before.flatMap { try? RunDifference($0, run) }))
  }
  if arguments.has("--json") {
    Console.print(JSON.array(steps.map(json)))
  } else {
    Console.print("\(FilePath(run.command))")
    Console.print(table(steps))
  }
  return .success
}

private func table(_ steps: [Step]) -> String {
  let now = Clock.now()
  var table = Table("ID", "AGE", "TOOK", "HITS", "EXIT", "CHANGED")
  for step in steps {
    table.add(
      [
        RunText.short(step.run.id), Quantity.age(now &- step.run.created), Quantity.duration(step.run.duration),
        "\(step.run.hits)", "\(step.run.exitStatus)", step.changes.map(words) ?? "",
      ], styles: [.yellow, nil, nil, nil, step.run.exitStatus == 0 ? nil : .red])
  }
  return table.text
}

/// `in.csv, lib.py and 3 more; left out.txt otherwise`.
private func words(_ changes: RunDifference) -> String {
  func list(_ paths: [FilePath]) -> String {
    let named = paths.prefix(2).map { $0.isEmpty ? "." : $0.description }.joined(separator: ", ")
    return paths.count > 2 ? "\(named) and \(paths.count - 2) more" : named
  }
  var parts: [String] = []
  if !changes.environment.isEmpty {
    let environment = changes.environment
    parts.append("environment: " + list(environment.changed + environment.added + environment.removed))
  }
  let (inputs, outputs) = (paths(changes.inputs), paths(changes.outputs))
  if !inputs.isEmpty { parts.append(list(inputs)) }
  parts.append(outputs.isEmpty ? "same outputs" : "other outputs: \(list(outputs))")
  return parts.joined(separator: "; ")
}

private func paths(_ changes: [RunDifference.Path]) -> [FilePath] { Set(changes.map(\.path)).sorted() }

private func json(_ step: Step) -> JSON {
  .object(
    RunText.members(step.run) + [
      ("changed_inputs", step.changes.map { .array(paths($0.inputs).map { .path($0) }) } ?? .null),
      ("changed_outputs", step.changes.map { .array(paths($0.outputs).map { .path($0) }) } ?? .null),
    ])
}
