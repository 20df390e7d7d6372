import CasherLauncher
import CasherSystem

extension Command {
  static let explain = Command(
    name: "explain", operands: "[ACACHE-OPTION...] [--] COMMAND [ARGUMENT...]", operandCount: 1...Int.max,
    summary: "tell whether a command would be a hit, or why not",
    details: """
      Asks about the command as 'acache [OPTION...] -- COMMAND' would in this directory, and runs nothing. When a \
      recorded run would be replayed, the exit code is 0. Else it is 1, and what is printed names what differs from \
      the nearest recorded run: a variable, an argument, or the files. acache's options count as in a call of acache; \
      'acache --help' lists them.
      """,
    options: [], takesForeignOptions: true, run: explainCall)
}

private func explainCall(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let explanation: Explanation
  do throws(Explanation.Failure) { explanation = try Explanation(ofCall: arguments.operands.map(\.bytes)) } catch {
    switch error {
    case .usage(let reason): throw Failure(.usage, "\(reason).")
    case .notMounted(let reason): throw Failure(.notMounted, "\(reason).")
    case .dead(let reason):
      // With a configuration file that cannot be understood the daemon refuses every call.
      _ = try Configuration.load(for: Configuration.workDirectory())
      throw Failure(.dead, "\(reason).")
    }
  }
  for line in explanation.lines { Console.print(line) }
  return explanation.status == 0 ? .success : .failure
}
