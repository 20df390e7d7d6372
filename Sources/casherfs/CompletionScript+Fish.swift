extension CompletionScript {
  /// For fish (complete(1) there).
  static var fish: String {
    var lines = [
      "# Completions of casherfs and acache for fish, made by 'casherfs completions fish'.", "",
      "function __casher_runs",
      "  \(runs)",
      "end", "",
      "complete -c casherfs -f",
    ]
    for command in Completion.casherfs {
      lines.append(
        "complete -c casherfs -n __fish_use_subcommand -a \(command.name) -d \(quoted(fishText(command.help)))")
    }
    for command in Completion.casherfs {
      let condition = "complete -c casherfs -n '__fish_seen_subcommand_from \(command.name)'"
      lines += command.options.map { "\(condition) \(arguments($0))" }
      if let operands = command.operands { lines.append("\(condition) \(action(operands))") }
    }
    lines.append("")
    // Behind the command that it runs, acache's options have no meaning.
    let condition = "complete -c acache -n 'not __fish_seen_argument -- --'"
    lines += Completion.acache.map { "\(condition) \(arguments($0))" }
    lines += ["complete -c acache -x -a '(__fish_complete_subcommand)'", ""]
    return lines.joined(separator: "\n")
  }

  private static func arguments(_ option: Completion.Option) -> String {
    var words = ["-l", String(option.name.dropFirst(2))]
    if let short = option.short { words += ["-s", String(short.dropFirst())] }
    if let value = option.value { words.append(action(value)) }
    return (words + ["-d", quoted(fishText(option.help))]).joined(separator: " ")
  }

  private static func action(_ kind: Completion.Kind) -> String {
    switch kind {
    case .text: "-x"
    case .file: "-r -F"
    case .directory: "-x -a '(__fish_complete_directories)'"
    case .variable: "-x -a '(set -nx)'"
    case .run: "-x -a '(__casher_runs)'"
    case .choice(let words): "-x -a \(quoted(words.joined(separator: " ")))"
    }
  }

  /// In fish's single quotes a backslash stands for itself but before a quote or another.
  private static func fishText(_ text: String) -> String { text.replacing("\\", with: "\\\\") }
}
