import CasherRecord
import CasherStore
import CasherSystem
import Glibc

extension Command {
  static let get = Command(
    name: "get", operands: "RUN [PATH]", operandCount: 1...2, summary: "print what a stored run left",
    details: """
      Prints the content of the file at PATH as the run left it, whatever is there now. PATH is as 'casherfs show' \
      prints it, or leads to the file. Without PATH prints what the run printed: its stdout to stdout and its stderr \
      to stderr, or with --stdout or --stderr that one alone, to stdout.
      """,
    options: [
      OutputFile.option, Option("--stdout", "what the run wrote to stdout"),
      Option("--stderr", "what the run wrote to stderr"), Option.json, Option.cacheDirectory,
    ],
    run: getContent)
}

/// Content that `--json` may carry, in bytes.
private let inlineLimit = 64 << 20

private func getContent(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let wantsStream = arguments.has("--stdout") || arguments.has("--stderr")
  guard arguments.operands.count == 1 || !wantsStream else {
    throw Arguments.misused(.get, "--stdout and --stderr go without a PATH")
  }
  let store = try RunReference.openStore(arguments)
  defer { store.close() }
  let run = try RunReference.find(arguments.operands[0], in: store)
  let record = try RunReference.record(of: run)
  let content = StoredContent(store: store)
  if arguments.operands.count == 2 {
    try getFile(arguments.operands[1], run, record, content, arguments)
  } else {
    try getStreams(run, record, content, arguments)
  }
  return .success
}

private func getFile(
  _ path: FilePath, _ run: StoredRun, _ record: RunRecord, _ content: StoredContent, _ arguments: Arguments
) throws(Failure) {
  guard let output = RunPaths.output(path, of: record, run) else {
    throw Failure(
      .noSuchOutput,
      "run \(RunText.short(run.id)) left nothing at \(path); 'casherfs show \(RunText.short(run.id))' lists what it left."
    )
  }
  guard let (digest, size) = StoredContent.file(output, of: record) else {
    throw Failure(
      .noSuchOutput,
      "\(output.path) is no file with content that run \(RunText.short(run.id)) left: "
        + "\(RunJSON.words(output)).")
  }
  let writesFile = arguments.path(OutputFile.option.name) != nil
  if arguments.has("--json") {
    var members: [(String, JSON)] = [
      ("run", .digest(run.id)), ("path", .path(output.path)), ("sha256", .digest(digest)), ("size", .integer(size)),
    ]
    if !writesFile {
      guard let bytes = try content.bytes(digest, limit: Int64(inlineLimit)) else { throw tooLarge(output.path) }
      members.append(("content", .bytes(bytes)))
    }
    Console.print(.object(members))
    if !writesFile { return }
  }
  let source = try content.open(digest)
  defer { source.close() }
  try OutputFile.write(arguments, mode: output.permissions & 0o777) { target throws(Failure) in
    do throws(Errno) { try copy(source, to: target) } catch {
      // A reader that has gone away is no error.
      if error.rawValue == EPIPE, !writesFile { return }
      throw OutputFile.failure(arguments.path(OutputFile.option.name) ?? "stdout", error)
    }
  }
}

private func copy(_ source: FileDescriptor, to target: FileDescriptor) throws(Errno) {
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
  defer { buffer.deallocate() }
  while true {
    let count = try source.read(into: buffer)
    if count == 0 { return }
    try target.writeAll(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
  }
}

private func getStreams(
  _ run: StoredRun, _ record: RunRecord, _ content: StoredContent, _ arguments: Arguments
) throws(Failure) {
  let (output, error) = (arguments.has("--stdout"), arguments.has("--stderr"))
  let all = output == error
  if arguments.has("--json") {
    var members: [(String, JSON)] = [("run", .digest(run.id))]
    for (number, name, isWanted) in [(UInt8(1), "stdout", all || output), (2, "stderr", all || error)] where isWanted {
      guard let bytes = try content.stream(number, of: record, limit: inlineLimit) else {
        throw tooLarge(FilePath(name))
      }
      members.append((name, .bytes(bytes)))
    }
    Console.print(.object(members))
    return
  }
  let toOne = output || error || arguments.path(OutputFile.option.name) != nil
  try OutputFile.write(arguments) { target throws(Failure) in
    try content.printed(record) { stream, bytes throws(Errno) in
      guard all || (stream == 2) == error else { return }
      do throws(Errno) {
        try (toOne ? target : stream == 2 ? .standardError : .standardOutput).writeAll(bytes)
      } catch { if error.rawValue != EPIPE { throw error } }
    }
  }
}

private func tooLarge(_ path: FilePath) -> Failure {
  Failure(.failure, "\(path) is too large for JSON; write it to a file with -o.")
}
