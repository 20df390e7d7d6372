import CasherRecord
import CasherSystem

/// What the daemon says of a call that is only asked about: nothing is run, replayed or stored.
public struct Explanation: Hashable, Sendable {
  /// For people: that it would be a hit, or why not.
  public let lines: [String]
  /// 0 when the call would be a hit, 1 when it would run.
  public let status: UInt8

  /// Why there is no explanation; each is one sentence without its full stop.
  public enum Failure: Error, Hashable, Sendable {
    /// The call cannot be understood.
    case usage(String)
    /// The working directory is in no mount.
    case notMounted(String)
    /// There is a mount, and its daemon does not answer or refuses.
    case dead(String)
  }

  /// Asks about a call of acache with `arguments` (acache's options and the command) that would find this process's
  /// environment, working directory and standard streams.
  public init(ofCall arguments: [[UInt8]]) throws(Failure) {
    var invocation: Invocation
    do throws(UsageError) {
      invocation = try Invocation(
        arguments: [Array("acache".utf8)] + arguments, environment: ProcessArguments.environment)
    } catch { throw .usage(error.description) }
    guard invocation.request == .run else { throw .usage("a command is missing") }
    invocation.options.dryRun = true
    let location: MountLocation
    switch MountLocation.findForCall() {
    case .success(let found): location = found
    case .failure(let reason):
      throw reason.isMounted ? .dead(reason.description) : .notMounted(reason.description)
    }
    let answered: (message: DaemonMessage, descriptors: [FileDescriptor])?
    do throws(Errno) { answered = try Explanation.ask(invocation, at: location) } catch {
      throw .dead("the daemon of \(location.mount) cannot be reached (\(error))")
    }
    for descriptor in answered?.descriptors ?? [] { descriptor.close() }
    switch answered?.message {
    case .answer(let lines, let status):
      self.lines = lines
      self.status = status
    case .plain(let reason): throw .dead(reason)
    default: throw .dead("the daemon of \(location.mount) does not answer as it should")
    }
  }

  /// The daemon's last word, after it was shown as much of the standard input as it wanted to see.
  private static func ask(
    _ invocation: Invocation, at location: MountLocation
  ) throws(Errno) -> (message: DaemonMessage, descriptors: [FileDescriptor])? {
    let streams = try StandardStreams(
      withoutInput: invocation.withoutInput, withoutTerminals: invocation.withoutTerminals,
      environment: ProcessArguments.environment)
    let daemon = try DaemonConnection(to: location.answer.socket)
    defer { daemon.close() }
    let input = PeekedInput(streams.input)
    let environment = Launcher.environment(for: invocation)
    let request = CallRequest(
      invocation, at: location, environment: environment, streams: streams,
      inherited: InheritedDescriptors(command: invocation.command, environment: environment),
      isTraced: CommandSignals.tracer() != 0)
    daemon.send(.call(request), descriptors: streams.inputDescriptors)
    while let received = daemon.receive() {
      guard case .wantInput(let count) = received.message else { return received }
      for descriptor in received.descriptors { descriptor.close() }
      daemon.send(input?.next(upTo: count) ?? .input([], isEnd: true))
    }
    return nil
  }
}
