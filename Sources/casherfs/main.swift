import CasherSystem
import Glibc

// The administrator's command line. Each subcommand has a file of its own; `Command.all` lists them.

/// Runs the command line and returns the process's exit status.
func run(_ arguments: [FilePath]) -> Int32 {
  do throws(Failure) {
    guard let first = arguments.first.map({ String(decoding: $0.bytes, as: UTF8.self) }) else {
      throw Failure(.usage, "a command is missing; 'casherfs --help' lists them.")
    }
    let rest = Array(arguments.dropFirst())
    switch first {
    case "--version", "-V":
      Console.print("casherfs \(CasherVersion.current)")
      return ExitCode.success.rawValue
    case "--help", "-h", "help":
      if let name = rest.first.map({ String(decoding: $0.bytes, as: UTF8.self) }) {
        Console.print(Help.text(of: try command(named: name)))
      } else {
        Console.print(Help.overview)
      }
      return ExitCode.success.rawValue
    case MountServer.privateArgument:
      return MountServer.run(rest)
    case SystemCheck.privateArgument:
      return SystemCheck.separate()
    case ManualPages.privateArgument:
      guard let page = rest.first.flatMap({ ManualPages.text($0.description) }) else {
        throw Failure(.usage, "there is no manual page of that name.")
      }
      Console.print(bytes: Array(page.utf8))
      return ExitCode.success.rawValue
    default:
      let command = try command(named: first)
      let parsed = try Arguments(rest, for: command)
      if parsed.has("--help") {
        Console.print(Help.text(of: command))
        return ExitCode.success.rawValue
      }
      return try command.run(parsed).rawValue
    }
  } catch {
    Console.complain(error.message)
    return error.code.rawValue
  }
}

func command(named name: String) throws(Failure) -> Command {
  guard let command = Command.all.first(where: { $0.name == name }) else {
    throw Failure(.usage, "there is no command '\(name)'; 'casherfs --help' lists them.")
  }
  return command
}

Privilege.settle(CommandLine.byteArguments)
Faults.armFromEnvironment()
signal(SIGPIPE, SIG_IGN)
if let name = CommandLine.programName, MountHelper.names.contains(name.lastComponent) {
  exit(MountHelper.run(CommandLine.byteArguments))
}
exit(run(CommandLine.byteArguments))
