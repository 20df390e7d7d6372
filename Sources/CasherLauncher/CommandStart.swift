import CasherRecord
import CasherSystem
import CasherTracer
import Glibc

/// Starts a command with all that is wanted around it, and with less where that is not to be had.
struct CommandStart {
  let arguments: [[UInt8]]
  let environment: [[UInt8]]
  let streams: StandardStreams
  let directory: FilePath
  /// What is bound over what; nil: the command runs in the view that this process is in.
  var view: (source: FilePath, mount: FilePath)?
  /// The command's root. Then nothing is traced, unless it cannot be had.
  var root: CommandLaunch.Root?
  /// Unix sockets that the command may connect to without becoming uncacheable: the daemon's own.
  var trustedSockets: [FilePath] = []
  /// Nil: no trace is wanted.
  var tracing: TraceParser.Configuration?
  /// A pipe or socket on standard input.
  var input: PeekedInput?
  var daemon: DaemonConnection?
  var spool: FileDescriptor?
  /// Whether the command's output is observed; else it gets this process's streams as they are.
  var observesOutput = true

  /// A started command.
  struct Started {
    var run: CommandRun
    var trace: TraceRelay?
    var calls: WatchedCalls?
    var input: StandardInputRelay?
    /// What cannot be observed of it.
    var obstacles: [Uncacheable]
    /// Error numbers of the places where the command was looked for.
    var candidates: [Int32]
    /// Files that the command writes to and finds itself in its view of the root.
    var outputFiles: [FilePath]
    var hasRoot: Bool
  }

  enum Outcome {
    case started(Started)
    /// The command's program could not be run: the message for it and the exit status.
    case unrunnable(message: String, status: Int32)
    /// A signal ended the process before the command ran; as wait(2) gives it.
    case ended(waitStatus: Int32)
  }

  func start() throws(Errno) -> Outcome {
    CommandSignals.hold()
    CommandSignals.adoptOrphans()
    let changes = try CommandSignals.childChanges(windows: observesOutput && streams.hasTerminal)
    var ends: [FileDescriptor] = []
    defer { for end in ends { end.close() } }
    let made = try makeStreams(&ends)

    var obstacles = made.obstacles
    var view = view
    var root = root
    // The command has to find the very file by its name that it writes to.
    let outputFiles = root == nil ? [] : made.files.compactMap(\.path)
    root?.kept += outputFiles
    var tracer: StraceCommand?
    if root == nil { tracer = findTracer(&obstacles) }
    while true {
      let attempt = try self.attempt(made.standard, view: view, root: root, tracer: tracer)
      switch attempt.outcome {
      case .running:
        let run = CommandRun(
          process: attempt.process ?? 0, changes: changes, outputs: made.outputs, turns: made.turns, files: made.files,
          input: made.input,
          trace: attempt.trace, calls: attempt.calls, daemon: daemon, spool: TranscriptSpool(spool))
        return .started(
          Started(
            run: run, trace: attempt.trace, calls: attempt.calls, input: made.input, obstacles: obstacles,
            candidates: attempt.candidates, outputFiles: root == nil ? [] : outputFiles, hasRoot: root != nil))
      case .notFound(let error):
        return .unrunnable(message: CommandStart.message(arguments, error), status: ExitStatus.notFound)
      case .notExecutable(let error):
        return .unrunnable(message: CommandStart.message(arguments, error), status: ExitStatus.notExecutable)
      case .noView, .noRoot, .noTracer:
        attempt.trace?.close()
        attempt.calls?.close()
        let status = attempt.process.flatMap { CommandSignals.waitForEnd(of: $0) }
        if let status, CommandSignals.isSignal(status) { return .ended(waitStatus: status) }
      }
      obstacles += goWithout(attempt.outcome, &view, &root, &tracer)
    }
  }

  /// The tracer, when one is wanted and can be had; else what cannot be observed without it.
  private func findTracer(_ obstacles: inout [Uncacheable]) -> StraceCommand? {
    if tracing != nil {
      if let program = CommandSearch.program(arguments.first ?? [], environment: environment),
        StraceCommand.wouldTakePrivileges(from: program)
      {
        obstacles.append(.outsideUnobserved("\(program) runs with other privileges, which it would lose under strace"))
      } else if let reason = StraceCommand.obstacle() {
        obstacles.append(.tracerUnavailable(reason))
      } else if let found = installedTracer() {
        return found
      } else {
        obstacles.append(.tracerUnavailable("there is no strace"))
      }
    }
    return nil
  }

  /// Gives up what was not to be had. Returns what cannot be observed without it.
  private func goWithout(
    _ outcome: CommandLaunch.Outcome, _ view: inout (source: FilePath, mount: FilePath)?,
    _ root: inout CommandLaunch.Root?, _ tracer: inout StraceCommand?
  ) -> [Uncacheable] {
    // While there is no command, a signal is this process's own, which may have long to wait for the daemon.
    CommandSignals.restore()
    CommandSignals.repeatInterruption()
    defer { CommandSignals.hold() }
    switch outcome {
    case .noRoot: return goWithoutRoot(&root, &tracer)
    case .noView(let error):
      view = nil
      let obstacles = root == nil ? [] : goWithoutRoot(&root, &tracer)
      let isAgreed = daemon?.agreeToGoWithoutView("\(error)") == true
      return obstacles + (isAgreed ? [] : [.storeFailed("no view of its own for the command (\(error))")])
    case .noTracer(let error):
      tracer = nil
      return [.tracerUnavailable(error.map { "strace cannot be started (\($0))" } ?? "strace ended at once")]
    case .running, .notFound, .notExecutable: return []
    }
  }

  private func goWithoutRoot(
    _ root: inout CommandLaunch.Root?, _ tracer: inout StraceCommand?
  ) -> [Uncacheable] {
    root = nil
    var obstacles: [Uncacheable] = []
    tracer = findTracer(&obstacles)
    return obstacles
  }

  /// What a shell says of a command that cannot be run.
  static func message(_ arguments: [[UInt8]], _ error: Errno) -> String {
    let name = arguments.first ?? []
    let isPath = name.contains(UInt8(ascii: "/"))
    return "\(FilePath(name)): " + (error == .noSuchFile && !isPath ? "command not found" : "\(error)")
  }

  // MARK: one attempt

  private struct Attempt {
    /// Nil: none was started.
    var process: Int32?
    var outcome: CommandLaunch.Outcome
    var candidates: [Int32]
    var trace: TraceRelay?
    var calls: WatchedCalls?
  }

  private func attempt(
    _ streams: [FileDescriptor?], view: (source: FilePath, mount: FilePath)?, root: CommandLaunch.Root?,
    tracer: StraceCommand?
  ) throws(Errno) -> Attempt {
    var launch = CommandLaunch(
      arguments: arguments, environment: environment, directory: directory, streams: streams)
    launch.view = view
    launch.root = root
    var trace: TraceRelay?
    var ends: [FileDescriptor] = []
    defer { for end in ends { end.close() } }
    if let tracer, let tracing {
      do throws(Errno) { (launch.tracer, trace) = try makeTracer(tracer, tracing, &ends) } catch {
        return Attempt(process: nil, outcome: .noTracer(error), candidates: [], trace: nil)
      }
    }
    let process = try launch.start()
    for end in ends { end.close() }
    ends = []
    CommandSignals.forward(to: process.id)
    daemon?.send(.started(process: process.id))
    let result = process.letGo()
    return Attempt(
      process: process.id, outcome: result.outcome, candidates: result.candidates, trace: trace,
      calls: result.watch.map { WatchedCalls($0, trusting: trustedSockets) })
  }

  private func installedTracer() -> StraceCommand? {
    let path = environment.first { $0.starts(with: Array("PATH=".utf8)) }.map { FilePath($0.dropFirst(5)) }
    return StraceCommand.find(path: "/usr/bin:/bin") ?? path.flatMap { StraceCommand.find(path: $0) }
  }

  private func makeTracer(
    _ tracer: StraceCommand, _ configuration: TraceParser.Configuration, _ ends: inout [FileDescriptor]
  ) throws(Errno) -> (CommandLaunch.Tracer, TraceRelay) {
    let trace = try FileDescriptor.makePipe()
    ends.append(trace.writing)
    let complaints = try FileDescriptor.makePipe()
    ends.append(complaints.writing)
    try trace.reading.setNonBlocking()
    try complaints.reading.setNonBlocking()
    // Larger than a pipe's usual size: strace writes without waiting for this process to read.
    _ = try? trace.reading.setPipeSize(1 << 20)
    let program = try FileDescriptor.open("/proc/self/exe", FileDescriptor.pathOnly)
    ends.append(program)
    var arguments = tracer.arguments(output: trace.writing.procPath, command: [])
    // The tracer as a grandchild, in a session of its own: the command stays this process's child, and what the
    // terminal sends does not reach the tracer.
    arguments.insert(Array("-DDD".utf8), at: min(1, arguments.count))
    return (
      CommandLaunch.Tracer(
        arguments: arguments, trace: trace.writing, program: program, complaints: complaints.writing),
      TraceRelay(trace: trace.reading, complaints: complaints.reading, configuration)
    )
  }

  // MARK: streams

  private struct Streams {
    /// What the command gets; nil: closed.
    var standard: [FileDescriptor?] = [nil, nil, nil]
    var outputs: [StreamRelay] = []
    var files: [DirectOutput] = []
    var input: StandardInputRelay?
    /// Made before the command can write anything.
    var turns: OutputTurns?
    var obstacles: [Uncacheable] = []
  }

  private func makeStreams(_ ends: inout [FileDescriptor]) throws(Errno) -> Streams {
    var result = Streams()
    switch streams.input {
    case .closed: break
    case .null:
      let null = try FileDescriptor.open("/dev/null", O_RDONLY)
      ends.append(null)
      result.standard[0] = null
    case .pipe, .socket:
      guard let input else {
        result.standard[0] = .standardInput
        break
      }
      let pipe = try StandardInputRelay.makePipe()
      ends.append(pipe.reading)
      result.standard[0] = pipe.reading
      result.input = StandardInputRelay(input, command: pipe.writing)
    case .terminal, .file, .chance, .opaque: result.standard[0] = .standardInput
    }
    for (number, target) in [(1, FileDescriptor.standardOutput), (2, FileDescriptor.standardError)]
    where !streams.wasClosed[number] {
      if !observesOutput {
        result.standard[number] = target
      } else if number == 2 && streams.isJoined {
        result.standard[2] = result.standard[1]
      } else if let file = DirectOutput(
        stream: UInt8(number), target: target, sharedWithError: streams.isJoined)
      {
        result.standard[number] = target
        result.files.append(file)
      } else {
        let (output, end) = try makeRelay(number, target, &result.obstacles)
        ends.append(end)
        result.standard[number] = end
        result.outputs.append(output)
        if streams.isTerminal[1], streams.isTerminal[2] { try? output.terminal?.keep(end) }
      }
    }
    result.turns = OutputTurns(result.outputs)
    return result
  }

  private func makeRelay(
    _ number: Int, _ target: FileDescriptor, _ obstacles: inout [Uncacheable]
  ) throws(Errno) -> (StreamRelay, FileDescriptor) {
    if streams.isTerminal[number] {
      do throws(Errno) { return try StreamRelay.makeTerminal(stream: UInt8(number), target: target) } catch {
        // The key says that the command has one.
        obstacles.append(.storeFailed("there is no pseudo-terminal for the command's output (\(error))"))
      }
    }
    return try StreamRelay.make(stream: UInt8(number), target: target)
  }
}
