import CasherLauncher

/// What a shell can complete of a program's command line.
struct Completion {
  /// What can stand in one place.
  enum Kind: Equatable {
    case text
    case file
    case directory
    /// The name of an environment variable.
    case variable
    case choice([String])
    /// The id of a stored run.
    case run
  }

  struct Option {
    /// `--name`.
    var name: String
    /// `-n`.
    var short: String?
    /// Nil when it takes no value.
    var value: Kind?
    var help: String
  }

  struct Command {
    var name: String
    var help: String
    var options: [Option]
    /// Nil when there are no operands to be completed.
    var operands: Kind?
  }

  /// casherfs's subcommands.
  static var casherfs: [Command] {
    casherfsCommands.map { command in
      let options = command.options + [.help]
      return Command(
        name: command.name, help: command.summary,
        options: options.map { option in
          Option(name: option.name, short: option.short, value: option.value.map(kind), help: option.help)
        }, operands: command.name == "completions" ? .choice(CompletionScript.shells) : operands(command.operands))
    }
  }

  /// acache's options.
  static var acache: [Option] {
    CasherLauncher.Option.all.map { option in
      let value: Kind? = option.value.map { value in
        switch value.kind {
        case .text: .text
        case .file: .file
        case .directory: .directory
        case .variable: .variable
        case .choice(let words): .choice(words)
        }
      }
      return Option(name: "--" + option.name, short: option.letter.map { "-\($0)" }, value: value, help: option.help)
    }
  }

  private static func kind(_ value: String) -> Kind {
    switch value {
    case "DIR": return .directory
    case "FILE", "FILE.html", "PATH": return .file
    case "RUN": return .run
    default: break
    }
    let words = value.split(separator: "|").map(String.init)
    return words.count > 1 && words.allSatisfy({ $0 == $0.lowercased() }) ? .choice(words) : .text
  }

  private static func operands(_ text: String) -> Kind? {
    if text.contains("RUN") { return .run }
    if text.contains("DIR") { return .directory }
    if text.contains("FILE") || text.contains("COMMAND") { return .file }
    return nil
  }
}

/// Commands of casherfs by another name: `Completion` has a type of that name too.
private let casherfsCommands = Command.all
