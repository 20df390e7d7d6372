import CasherRecord
import CasherSystem
import CasherTracer

/// One call of acache in a mount: ask the daemon, then replay or run and report.
///
/// Whatever goes wrong with the cache, the command is run and its status is the result.
final class Session {
  private let invocation: Invocation
  private let location: MountLocation
  /// What the command gets.
  private var environment: [[UInt8]]
  /// How long the command may take, nanoseconds.
  private var timeLimit: Int64?
  private let streams: StandardStreams
  private let daemon: DaemonConnection
  private let input: PeekedInput?
  private let inherited: InheritedDescriptors
  private let isTraced: Bool
  private let attempt: Attempt

  init(
    _ invocation: Invocation, at location: MountLocation, environment: [[UInt8]], streams: StandardStreams,
    daemon: DaemonConnection, attempt: Attempt
  ) {
    self.attempt = attempt
    self.invocation = invocation
    self.location = location
    self.environment = environment
    timeLimit = invocation.timeLimit
    self.streams = streams
    self.daemon = daemon
    input = PeekedInput(streams.input, held: attempt.input)
    inherited = InheritedDescriptors(command: invocation.command, environment: environment)
    isTraced = CommandSignals.tracer() != 0
  }

  func run() -> CallOutcome {
    sendCall()
    while let (message, descriptors) = daemon.receive() {
      switch message {
      case .wantInput(let count):
        daemon.send(input?.next(upTo: count) ?? .input([], isEnd: true))
      case .hit(let reply):
        return replay(reply, descriptors.first)
      case .run(let reply):
        return run(reply, spool: descriptors.first, root: reply.hasRoot ? descriptors.dropFirst().first : nil)
      case .plain(let reason):
        return runPlainly(reason)
      case .answer(let lines, let status):
        if !invocation.quiet { for line in lines { Console.say(line) } }
        return CallOutcome(.looked, status: Int32(status))
      case .traceWanted, .recorded, .proceed, .phase:
        return runPlainly("the daemon does not answer as it should")
      }
      for descriptor in descriptors { descriptor.close() }
    }
    return runPlainly(daemon.failure ?? "the daemon has gone")
  }

  /// One line with `-v`.
  private func tell(_ line: @autoclosure () -> String) {
    if invocation.options.verbose { Console.say(line()) }
  }

  private func sendCall() {
    // The socket is in the cache's directory, as mounts/ID/socket.
    tell("lookup in \(location.answer.socket.parent.parent.parent)")
    let request = CallRequest(
      invocation, at: location, environment: environment, streams: streams, inherited: inherited, isTraced: isTraced)
    daemon.send(.call(request), descriptors: streams.inputDescriptors)
  }

  // MARK: a hit

  private func replay(_ reply: HitReply, _ spool: FileDescriptor?) -> CallOutcome {
    defer { spool?.close() }
    tell("hit \(reply.run.hexadecimal.prefix(12)), saved \(Console.duration(reply.duration))")
    if reply.consume > 0 { consume(reply.consume) }
    let transcript = TranscriptReplay(
      segments: reply.segments, inline: reply.inlineTranscript, spool: spool,
      output: streams.wasClosed[1] ? nil : .standardOutput, error: streams.wasClosed[2] ? nil : .standardError)
    do throws(Errno) { try transcript.run() } catch {
      if error == .brokenPipe { CommandSignals.dieOfBrokenPipe() }
      let reason = "the recorded output could not be written (\(error))"
      Console.say(reason)
      return CallOutcome(.failed(reason), status: ExitStatus.failure)
    }
    var outcome = CallOutcome(.hit(run: reply.run, saved: reply.duration), status: Int32(reply.exitStatus))
    outcome.duration = reply.duration
    outcome.count(reply.segments)
    return outcome
  }

  /// Leaves standard input where the command left it.
  private func consume(_ count: UInt64) {
    switch streams.input {
    case .pipe, .socket: input?.consume(count)
    case .file(let offset):
      let moved = offset.addingReportingOverflow(Int64(clamping: count))
      if !moved.overflow { _ = try? FileDescriptor.standardInput.seek(to: moved.partialValue) }
    case .closed, .null, .terminal, .chance, .opaque: break
    }
  }

  // MARK: a miss

  private func run(_ reply: RunReply, spool: FileDescriptor?, root: FileDescriptor?) -> CallOutcome {
    defer {
      spool?.close()
      root?.close()
    }
    // The daemon knows what configuration files say besides.
    environment = Launcher.environment(environment, with: reply.environmentOnly, for: invocation)
    timeLimit = timeLimit ?? reply.timeLimit
    attempt.retries = max(attempt.retries, Int(reply.retries))
    tell("miss: \(reply.reason)")
    if invocation.options.explain { for line in reply.messages { Console.say(line) } }
    var start = commandStart()
    start.spool = spool
    start.daemon = daemon
    if !reply.view.isEmpty { start.view = (location.mount.appending(reply.view), location.mount) }
    // The accesses of a traced nested call are in the outer call's trace.
    let isFollowed = isTraced && reply.isWithinRun
    if let root {
      start.root = CommandLaunch.Root(mount: root, kept: reply.keptPaths, isWatched: reply.isWatcher)
    }
    start.trustedSockets = [location.answer.socket]
    if reply.outside != .trust, !isFollowed, reply.rootObstacle.isEmpty {
      start.tracing = TraceParser.Configuration(
        directory: location.directory, mount: location.mount,
        ignored: reply.outsideIgnored + OutsidePaths.neverCounting, trustedSockets: [location.answer.socket])
    }
    tell("run \(reply.run.hexadecimal.prefix(12))")
    let began = Clock.monotonic()
    switch launch(start) {
    case .failed(let error): return failed(error)
    case .ended(let waitStatus):
      CommandSignals.restore()
      return report(emptyReport(waitStatus, obstacles: [.signalled(waitStatus & 0x7f)]), reply)
    case .unrunnable(let message, let status):
      CommandSignals.restore()
      Console.say(message)
      return report(
        emptyReport(status << 8, obstacles: [.failed(UInt8(truncatingIfNeeded: status))]), reply)
    case .started(let started):
      var finished = follow(started, began: began, trusts: reply.outside == .trust || started.hasRoot)
      if !reply.rootObstacle.isEmpty {
        finished.obstacles.append(.tracerUnavailable("there is no view of the root, as \(reply.rootObstacle)"))
      }
      var outcome = report(finished, reply)
      if started.run.isTimedOut {
        outcome.isTimedOut = true
        outcome.status = ExitStatus.timedOut
      }
      outcome.canBeRetried = outcome.status != 0
      return outcome
    }
  }

  private func commandStart() -> CommandStart {
    CommandStart(
      arguments: invocation.command, environment: environment, streams: streams, directory: location.directory,
      input: input)
  }

  private enum Launched {
    case started(CommandStart.Started)
    case unrunnable(message: String, status: Int32)
    case ended(waitStatus: Int32)
    case failed(Errno)
  }

  private func launch(_ start: CommandStart) -> Launched {
    do throws(Errno) {
      switch try start.start() {
      case .started(let started): return .started(started)
      case .unrunnable(let message, let status): return .unrunnable(message: message, status: status)
      case .ended(let waitStatus): return .ended(waitStatus: waitStatus)
      }
    } catch { return .failed(error) }
  }

  private func failed(_ error: Errno) -> CallOutcome {
    CommandSignals.restore()
    return runPlainly("the command cannot be followed (\(error))")
  }

  /// Waits for the command's end and says how it came out.
  private func follow(_ started: CommandStart.Started, began: Int64, trusts: Bool) -> FinishReport {
    let run = started.run
    let batch = InputBatch(daemon: daemon, alreadySent: input?.sent ?? 0)
    let attempt = attempt
    attempt.input = []
    started.input?.taken = { bytes in
      batch.append(bytes)
      if !attempt.isLast { attempt.keep(bytes) }
    }
    var obstacles = started.obstacles
    let deadline = timeLimit.map { began.addingReportingOverflow($0) }
    do throws(Errno) { try run.wait(until: deadline.map { $0.overflow ? .max : $0.partialValue }) } catch {
      obstacles.append(.storeFailed("acache could not wait (\(error))"))
    }
    let duration = Clock.monotonic() &- began
    do throws(Errno) { try run.relayForTheRest() } catch {
      obstacles.append(.storeFailed("acache could not split (\(error))"))
    }
    CommandSignals.restore()
    run.close()
    started.input?.close()
    batch.flush(isEnd: started.input?.reachedEnd ?? false)

    obstacles += started.trace?.obstacles ?? started.calls?.obstacles() ?? []
    if !attempt.isLast { attempt.keep(started.input?.unread ?? []) }
    if run.isTimedOut, let limit = timeLimit {
      obstacles.append(.timedOut(limit))
      if !invocation.quiet { Console.say("the command took longer than \(Quantity.duration(limit)) and was ended") }
    }
    // What will be tried again is no result, whatever statuses are stored.
    let exitStatus = CommandSignals.shellStatus(run.status ?? 0)
    if !attempt.isLast, exitStatus != 0 { obstacles.append(.failed(UInt8(truncatingIfNeeded: exitStatus))) }
    if run.leftProcesses { obstacles.append(.backgroundProcess) }
    if let obstacle = inherited.obstacle() { obstacles.append(obstacle) }
    if streams.input == .opaque || started.input?.isDisturbed == true { obstacles.append(.standardInput) }
    if run.isOutputUnclear { obstacles.append(.outputNotSequential) }
    if let failure = run.spool.failure { obstacles.append(.storeFailed(failure)) }
    var accesses = started.trace?.accesses ?? []
    if !trusts {
      accesses = merge(
        accesses,
        CommandSearch.accesses(
          command: invocation.command.first ?? [], environment: environment, candidates: started.candidates,
          mount: location.mount))
    }
    var consumed = started.input?.consumed ?? 0
    if case .file(let offset) = streams.input {
      let end = (try? FileDescriptor.standardInput.seek(to: 0, from: FileDescriptor.fromCurrent)) ?? -1
      if end >= offset { consumed = UInt64(end &- offset) } else { obstacles.append(.standardInput) }
    }
    var report = FinishReport(
      waitStatus: run.status ?? 0, segments: run.spool.segments, duration: duration, accesses: accesses,
      obstacles: obstacles, leftProcesses: run.leftProcesses, consumed: consumed,
      reachedInputEnd: started.input?.reachedEnd ?? false)
    report.hadRoot = started.hasRoot
    report.outputFiles = started.outputFiles
    return report
  }

  private func merge(_ accesses: [OutsideAccess], _ more: [OutsideAccess]) -> [OutsideAccess] {
    if more.isEmpty { return accesses }
    var places: [FilePath: Int] = [:]
    for (index, access) in accesses.enumerated() { places[access.path] = index }
    var result = accesses
    for access in more {
      if let index = places[access.path] {
        result[index].observed.formUnion(access.observed)
      } else {
        result.append(access)
      }
    }
    return result
  }

  private func emptyReport(_ waitStatus: Int32, obstacles: [Uncacheable]) -> FinishReport {
    FinishReport(
      waitStatus: waitStatus, segments: [], duration: 0, accesses: [], obstacles: obstacles, leftProcesses: false,
      consumed: 0, reachedInputEnd: false)
  }

  /// Hands the report in, waits until it is recorded, and says what is to be said.
  private func report(_ report: FinishReport, _ reply: RunReply) -> CallOutcome {
    tell("capture")
    daemon.send(.finished(report))
    var outcome = CallOutcome(
      .ran(reply.run, uncacheable: .storeFailed("the daemon has gone")),
      status: CommandSignals.shellStatus(report.waitStatus))
    outcome.duration = report.duration
    outcome.explanation = reply.messages
    outcome.count(report.segments)
    while let (message, descriptors) = daemon.receive() {
      for descriptor in descriptors { descriptor.close() }
      switch message {
      case .phase(let word): tell(word)
      case .recorded(let uncacheable, let lines):
        if uncacheable == nil { tell("stored, took \(Console.duration(report.duration))") }
        say(lines, uncacheable, known: report.obstacles)
        outcome.answer = .ran(reply.run, uncacheable: uncacheable)
        return outcome
      case .answer(let lines, let status):
        if !invocation.quiet { for line in lines { Console.say(line) } }
        outcome.answer = .looked
        outcome.status = Int32(status)
        return outcome
      case .traceWanted(let process):
        daemon.send(
          .traced(process: process, accesses: [], obstacles: [.nested("the outer command ended before it did")]))
      default: break
      }
    }
    if !invocation.quiet { Console.say("\(daemon.failure ?? "the daemon has gone"); the result is not stored") }
    return outcome
  }

  private func say(_ lines: [String], _ uncacheable: Uncacheable?, known obstacles: [Uncacheable]) {
    if invocation.quiet { return }
    if invocation.options.verbose { for line in lines { Console.say(line) } }
    guard let uncacheable else { return }
    // Something is wrong with the machine or the store, not with the command: said without being asked.
    let isTrouble =
      switch uncacheable {
      case .storeFailed: !obstacles.contains(uncacheable)
      case .tracerUnavailable: true
      default: false
      }
    if invocation.options.verbose || isTrouble { Console.say("not stored: \(uncacheable.sentence)") }
  }

  // MARK: without the cache

  private func runPlainly(_ reason: String) -> CallOutcome {
    daemon.close()
    let plain = PlainRun(invocation, environment: environment)
    let isTaken = !(input?.held.isEmpty ?? true)
    if !isTaken, !invocation.isSupervised { return plain.run(because: reason) }
    if let refused = plain.refusal(reason) { return refused }
    // Some of the input may have been taken already: the command gets it through a pipe.
    var start = commandStart()
    start.observesOutput = false
    return plain.supervise(start, attempt, because: reason)
  }
}
