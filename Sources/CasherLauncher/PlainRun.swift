import CasherSystem

/// The command without a cache: this process becomes it, so that nothing at all stands between.
struct PlainRun {
  private let invocation: Invocation
  private let environment: [[UInt8]]

  init(_ invocation: Invocation, environment: [[UInt8]]) {
    self.invocation = invocation
    self.environment = environment
  }

  /// Returns only when the command cannot be run, with the exit status.
  func run(because reason: String) -> Int32 {
    if let status = refusal(reason) { return status }
    if invocation.withoutInput {
      do throws(Errno) {
        try FileDescriptor.open("/dev/null", FileDescriptor.readOnly).duplicate(onto: .standardInput)
      } catch {
        Console.say("/dev/null cannot be opened (\(error))")
        return ExitStatus.failure
      }
    }
    let error = CommandLaunch.replaceProcess(arguments: invocation.command, environment: environment)
    Console.say(CommandStart.message(invocation.command, error))
    return error == .noSuchFile || error == .notDirectory ? ExitStatus.notFound : ExitStatus.notExecutable
  }

  /// Says why there is no cache. Returns the exit status when the command must not run without one.
  func refusal(_ reason: String) -> Int32? {
    if invocation.requiresCache {
      Console.say("\(reason); --require-cache was given")
      return ExitStatus.failure
    }
    if !invocation.quiet { Console.say("\(reason); running without cache") }
    return nil
  }
}
