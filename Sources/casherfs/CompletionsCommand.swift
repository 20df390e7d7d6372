extension Command {
  static let completions = Command(
    name: "completions", operands: "bash|zsh|fish", operandCount: 1...1,
    summary: "print completions of both programs for a shell",
    details: """
      Prints a script that makes the shell complete the commands, options and values of casherfs and acache. To use it at \
      once: 'eval "$(casherfs completions bash)"', the same for zsh, 'casherfs completions fish | source'. \
      scripts/install puts it where the shells look for it.
      """,
    options: [], run: printCompletions)
}

private func printCompletions(_ arguments: Arguments) throws(Failure) -> ExitCode {
  guard let shell = arguments.operands.first?.description, let script = CompletionScript.text(shell) else {
    throw Arguments.misused(.completions, "there are completions for bash, zsh and fish only")
  }
  Console.print(bytes: Array(script.utf8))
  return .success
}

/// The scripts for the shells.
enum CompletionScript {
  static let shells = ["bash", "zsh", "fish"]

  static func text(_ shell: String) -> String? {
    switch shell {
    case "bash": bash
    case "zsh": zsh
    case "fish": fish
    default: nil
    }
  }

  /// Words as one argument of a shell's command.
  static func quoted(_ text: String) -> String { "'" + text.replacing("'", with: "'\\''") + "'" }

  /// Prints the ids of the newest runs, a line each; the same in every shell.
  static let runs = "casherfs log --limit 50 2>/dev/null | sed -n 's/^\\([0-9a-f]\\{8,\\}\\) .*/\\1/p'"
}
