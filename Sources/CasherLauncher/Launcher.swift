import CasherRecord
import CasherSystem

/// acache from its arguments to its exit status.
public enum Launcher {
  /// Runs as the whole program. Without a cache it does not return, unless there is something to do after the command.
  public static func main() -> Int32 {
    Faults.armFromEnvironment()
    let environment = ProcessArguments.environment
    let invocation: Invocation
    do throws(ToolLink.Failure) {
      let arguments = ProcessArguments.arguments
      let link = try ToolLink.resolve(arguments, environment)
      do throws(UsageError) {
        if let link {
          invocation = try Invocation(link: link, environment: environment)
        } else {
          invocation = try Invocation(arguments: arguments, environment: environment)
        }
      } catch { throw ToolLink.Failure(sentence: "\(error)", status: ExitStatus.failure) }
    } catch {
      Console.say(error.sentence)
      return error.status
    }
    switch invocation.request {
    case .help:
      Console.print(Usage.text, on: .standardOutput)
      return 0
    case .version:
      Console.print("acache \(CasherVersion.current)\n", on: .standardOutput)
      return 0
    case .run: return call(invocation)
    }
  }

  private static func call(_ invocation: Invocation) -> Int32 {
    let began = Clock.monotonic()
    var lease: MountLease?
    var obstacle: NoCache?
    if let directory = invocation.mount {
      switch MountLease.take(on: directory) {
      case .success(let taken): lease = taken
      case .failure(let reason): obstacle = reason
      }
    }
    let (outcome, mount) = Call(invocation, environment: environment(for: invocation), obstacle: obstacle).run()
    defer { lease?.giveBack() }
    if let path = invocation.report {
      let report = CallReport(
        invocation: invocation, mount: mount, outcome: outcome, duration: Clock.monotonic() &- began)
      do throws(Errno) { try report.write(to: path) } catch {
        Console.say("the report cannot be written to \(path) (\(error))")
      }
    }
    return outcome.status
  }

  /// What the command gets of this process's environment.
  static func environment(for invocation: Invocation) -> [[UInt8]] {
    environment(ProcessArguments.environment, with: invocation.options.environmentOnly, for: invocation)
  }

  /// The variables of these names alone, nil for all, and what a link to acache needs.
  static func environment(
    _ environment: [[UInt8]], with names: [FilePath]?, for invocation: Invocation
  ) -> [[UInt8]] {
    var environment = environment
    if let names {
      let wanted = Set(names.map(\.bytes))
      environment = environment.filter { wanted.contains(Array($0.prefix { $0 != UInt8(ascii: "=") })) }
    }
    guard let entry = invocation.linkEntry else { return environment }
    return ToolLink.environment(environment, with: entry)
  }
}

/// One call: the command in the mount that the working directory is in, or without a cache.
private struct Call {
  let invocation: Invocation
  let environment: [[UInt8]]
  /// Why there is no mount, when one should have been made.
  let obstacle: NoCache?

  init(_ invocation: Invocation, environment: [[UInt8]], obstacle: NoCache?) {
    self.invocation = invocation
    self.environment = environment
    self.obstacle = obstacle
  }

  /// How it came out, and in which mount.
  func run() -> (CallOutcome, FilePath?) {
    var plain = PlainRun(invocation, environment: environment)
    let place = obstacle.map { .failure($0) } ?? MountLocation.findForCall()
    // A link is on PATH everywhere.
    if case .failure(let reason) = place, invocation.linkEntry != nil, !reason.isMounted, obstacle == nil {
      plain.isExpected = true
    }
    if case .failure(let reason) = place, !invocation.isSupervised {
      return (plain.run(because: reason.description), nil)
    }
    let streams: StandardStreams
    do throws(Errno) {
      streams = try StandardStreams(
        withoutInput: invocation.withoutInput, withoutTerminals: invocation.withoutTerminals,
        environment: ProcessArguments.environment)
    } catch { return (plain.run(because: "the standard streams cannot be used (\(error))"), nil) }
    var offset: Int64?
    if case .file(let begin) = streams.input { offset = begin }
    let attempts = Attempts(retries: invocation.retries, isVerbose: invocation.options.verbose)
    switch place {
    case .failure(let reason):
      if let refused = plain.refusal(reason.description) { return (refused, nil) }
      let outcome = attempts.run(inputOffset: offset) { attempt in
        plain.supervise(plainStart(streams, attempt), attempt, because: reason.description)
      }
      return (outcome, nil)
    case .success(let location):
      return (attempts.run(inputOffset: offset) { run(at: location, streams, $0) }, location.mount)
    }
  }

  private func run(at location: MountLocation, _ streams: StandardStreams, _ attempt: Attempt) -> CallOutcome {
    do throws(Errno) {
      let daemon = try DaemonConnection(to: location.answer.socket)
      defer { daemon.close() }
      let session = Session(
        invocation, at: location, environment: environment, streams: streams, daemon: daemon, attempt: attempt)
      return session.run()
    } catch {
      let reason = "the daemon of \(location.mount) cannot be reached (\(error))"
      let plain = PlainRun(invocation, environment: environment)
      if !invocation.isSupervised { return plain.run(because: reason) }
      if let refused = plain.refusal(reason) { return refused }
      return plain.supervise(plainStart(streams, attempt), attempt, because: reason)
    }
  }

  private func plainStart(_ streams: StandardStreams, _ attempt: Attempt) -> CommandStart {
    var start = CommandStart(
      arguments: invocation.command, environment: environment, streams: streams,
      directory: (try? FilePath.currentDirectory()) ?? ".",
      input: PeekedInput(streams.input, held: attempt.input))
    start.observesOutput = false
    return start
  }
}
