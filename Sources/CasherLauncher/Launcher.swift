import CasherRecord
import CasherSystem

/// acache from its arguments to its exit status.
public enum Launcher {
  /// Runs as the whole program. Without a cache it does not return, unless the command cannot be run.
  public static func main() -> Int32 {
    Faults.armFromEnvironment()
    let environment = ProcessArguments.environment
    let invocation: Invocation
    do throws(UsageError) {
      invocation = try Invocation(arguments: ProcessArguments.arguments, environment: environment)
    } catch {
      Console.say("\(error)")
      return ExitStatus.failure
    }
    switch invocation.request {
    case .help:
      Console.print(Usage.text, on: .standardOutput)
      return 0
    case .version:
      Console.print("acache \(CasherVersion.current)\n", on: .standardOutput)
      return 0
    case .run:
      return call(invocation, environment: self.environment(for: invocation))
    }
  }

  private static func call(_ invocation: Invocation, environment: [[UInt8]]) -> Int32 {
    let plain = PlainRun(invocation, environment: environment)
    switch MountLocation.find() {
    case .failure(let reason): return plain.run(because: reason.description)
    case .success(let location):
      do throws(Errno) {
        let streams = try StandardStreams(
          withoutInput: invocation.withoutInput, environment: ProcessArguments.environment)
        let daemon = try DaemonConnection(to: location.answer.socket)
        return Session(invocation, at: location, environment: environment, streams: streams, daemon: daemon).run()
      } catch {
        return plain.run(because: "the daemon of \(location.mount) cannot be reached (\(error))")
      }
    }
  }

  /// What the command gets of this process's environment.
  static func environment(for invocation: Invocation) -> [[UInt8]] {
    let environment = ProcessArguments.environment
    guard let names = invocation.options.environmentOnly else { return environment }
    let wanted = Set(names.map(\.bytes))
    return environment.filter { wanted.contains(Array($0.prefix { $0 != UInt8(ascii: "=") })) }
  }
}
