import CasherStore
import CasherSystem
import Glibc

extension Command {
  static let graph = Command(
    name: "graph", operands: "[RUN | FILE]", operandCount: 0...1,
    summary: "draw which run made which file from which files",
    details: """
      Draws runs and files: what each run read and what it left, runs that others started inside those. With RUN, or \
      FILE for the run that made the file as it is now, everything that it came from, as far as it is stored; else the \
      newest runs. An operand with a slash is a file, and so is one that names no run.
      Formats: dot, the language of Graphviz; svg, drawn by Graphviz; html, a page with pan, zoom and search that needs \
      nothing else; json. Files outside the mount are drawn when a run made them, with --all always.
      """,
    options: [
      Option("--format", short: "-f", value: "dot|svg|html|json", "what to write; dot by default"), OutputFile.option,
      Option("--all", short: "-a", "all files outside the mount too"), RunSelection.limit(100), RunSelection.command,
      RunSelection.tag, RunSelection.since, Option.json, Option.cacheDirectory,
    ],
    run: drawGraph)
}

private enum GraphFormat: String {
  case dot, svg, html, json
}

private func drawGraph(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let format =
    arguments.has("--json")
    ? .json : try arguments.value("--format", "dot, svg, html or json") { GraphFormat(rawValue: $0) } ?? .dot
  var filter = try RunSelection.filter(arguments)
  filter.limit = try RunSelection.limit(arguments, 100)
  let store = try RunReference.openStore(arguments)
  defer { store.close() }
  let start = try arguments.operands.first.map { operand throws(Failure) in try begin(operand, store) }
  let graph = try StoreAccess.reading { () throws(StoreError) in
    let runs = if let start { [start] } else { try store.runs(matching: filter, withBodies: true) }
    return try LineageGraph(
      runs, upstream: start != nil, outside: arguments.has("--all"), limit: filter.limit ?? .max, store: store)
  }
  if graph.isCut { Console.complain("there are more runs than \(graph.runs.count); --limit 0 draws all.") }
  try OutputFile.write(arguments) { target throws(Failure) in
    switch format {
    case .dot: try write(graph.dot, to: target)
    case .json: try write(graph.json.text, to: target)
    case .html:
      let title =
        start.map { "\(FilePath($0.command))" } ?? "\(RunText.count(graph.runs.count, "run")) of \(store.directory)"
      try write(GraphPage(graph, title: title).text, to: target)
    case .svg: try drawWithGraphviz(graph.dot, to: target)
    }
  }
  return .success
}

/// The run that the operand names, or that made the file which it names.
private func begin(_ operand: FilePath, _ store: Store) throws(Failure) -> StoredRun {
  let isPath = operand.bytes.contains(UInt8(ascii: "/"))
  if !isPath {
    do throws(Failure) { return try RunReference.find(operand, in: store) } catch {
      let isThere = (try? FileDescriptor.workingDirectory.statusIfPresent(of: operand)) ?? nil
      guard isThere != nil else { throw error }
    }
  }
  let digest: Digest?
  do throws(Errno) { digest = try contentDigest(operand) } catch {
    throw Failure(.missing, "\(operand) cannot be read: \(error); name a file or a run.")
  }
  guard let digest else { throw Failure(.usage, "\(operand) is not a regular file; name a file or a run.") }
  let made = try StoreAccess.reading { () throws(StoreError) in
    try LineageGraph.maker(of: RunPaths.absolute(operand), digest, store)
  }
  guard let made else {
    throw Failure(.noSuchOutput, "no stored run has made \(operand) as it is now; 'casherfs log' lists the runs.")
  }
  return made
}

private func write(_ text: String, to target: FileDescriptor) throws(Failure) {
  do throws(Errno) { try target.writeAll(Array(text.utf8)) } catch {
    if error.rawValue != EPIPE { throw Failure(.failure, "the graph cannot be written: \(error).") }
  }
}

private func drawWithGraphviz(_ text: String, to target: FileDescriptor) throws(Failure) {
  guard let program = Programs.find("dot") else {
    throw Failure(
      .missingProgram,
      "svg is drawn by Graphviz, whose 'dot' is not installed: install the package graphviz, or use --format html.")
  }
  let status: Int32
  do throws(Errno) { status = try graphviz(program, text, to: target) } catch {
    throw Failure(.failure, "\(program) could not be run: \(error).")
  }
  guard status == 0 else {
    throw Failure(
      .failure, "\(program) could not draw the graph; 'casherfs graph --format html' needs no other program.")
  }
}

private func graphviz(_ program: FilePath, _ text: String, to target: FileDescriptor) throws(Errno) -> Int32 {
  let input = try FileDescriptor.anonymous("casher-graph")
  defer { input.close() }
  try input.writeAll(Array(text.utf8))
  try input.seek(to: 0)
  var setup = ChildProcess.Setup()
  setup.descriptors = [(input, 0), (target, 1), (.standardError, 2)]
  return try ChildProcess.spawn(program, ["dot", "-Tsvg"], setup).wait()
}

/// The digest of a regular file's content; nil for anything else.
private func contentDigest(_ path: FilePath) throws(Errno) -> Digest? {
  let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK)
  defer { file.close() }
  return try file.status().type == .regular ? try SHA256.digest(of: file).digest : nil
}
