import CasherSystem

/// The command without a cache.
struct PlainRun {
  private let invocation: Invocation
  private let environment: [[UInt8]]
  /// It is nothing to speak of unless asked that there is no cache.
  var isExpected = false

  init(_ invocation: Invocation, environment: [[UInt8]]) {
    self.invocation = invocation
    self.environment = environment
  }

  /// This process becomes the command, so that nothing at all stands between: returns only when the command cannot be
  /// run, or must not without a cache. Not for an invocation that `isSupervised`.
  func run(because reason: String) -> CallOutcome {
    if let refused = refusal(reason) { return refused }
    if invocation.withoutInput {
      do throws(Errno) {
        try FileDescriptor.open("/dev/null", FileDescriptor.readOnly).duplicate(onto: .standardInput)
      } catch { return failed("/dev/null cannot be opened (\(error))") }
    }
    let error = CommandLaunch.replaceProcess(arguments: invocation.command, environment: environment)
    Console.say(CommandStart.message(invocation.command, error))
    let isMissing = error == .noSuchFile || error == .notDirectory
    return CallOutcome(.plain(reason), status: isMissing ? ExitStatus.notFound : ExitStatus.notExecutable)
  }

  /// Runs the command and waits for it, for what there is to do about it then.
  func supervise(_ start: CommandStart, _ attempt: Attempt, because reason: String) -> CallOutcome {
    let began = Clock.monotonic()
    var outcome = CallOutcome(.plain(reason), status: 0)
    do throws(Errno) {
      switch try start.start() {
      case .started(let started):
        attempt.input = []
        started.input?.taken = { if !attempt.isLast { attempt.keep($0) } }
        let deadline = invocation.timeLimit.map { began.addingReportingOverflow($0) }
        try started.run.wait(until: deadline.map { $0.overflow ? .max : $0.partialValue })
        if !attempt.isLast { attempt.keep(started.input?.unread ?? []) }
        started.input?.close()
        started.run.close()
        outcome.status = CommandSignals.shellStatus(started.run.status ?? 0)
        if started.run.isTimedOut, let limit = invocation.timeLimit {
          outcome.isTimedOut = true
          outcome.status = ExitStatus.timedOut
          if !invocation.quiet {
            Console.say("the command took longer than \(Quantity.duration(limit)) and was ended")
          }
        }
        outcome.canBeRetried = outcome.status != 0
      case .unrunnable(let message, let status):
        Console.say(message)
        outcome.status = status
      case .ended(let waitStatus): outcome.status = CommandSignals.shellStatus(waitStatus)
      }
    } catch { outcome = failed("the command cannot be run (\(error))") }
    CommandSignals.restore()
    outcome.duration = Clock.monotonic() &- began
    return outcome
  }

  /// Says why there is no cache. Not nil: the command must not run without one.
  func refusal(_ reason: String) -> CallOutcome? {
    if invocation.requiresCache { return failed("\(reason); --require-cache was given") }
    if invocation.options.readOnly {
      if !invocation.quiet { Console.say("\(reason), and --read-only runs nothing") }
      return CallOutcome(.failed(reason), status: ExitStatus.nothingRecorded)
    }
    if isExpected ? invocation.options.verbose : !invocation.quiet { Console.say("\(reason); running without cache") }
    return nil
  }

  private func failed(_ reason: String) -> CallOutcome {
    Console.say(reason)
    return CallOutcome(.failed(reason), status: ExitStatus.failure)
  }
}
