/// What `--help` prints, made from the tables of options.
enum Help {
  /// Columns that a line of help may take.
  private static let width = 80

  static var overview: String {
    var lines = [
      "Casher remembers what commands do: run one under 'acache --' in a mounted directory,",
      "and the next time its files, output and exit status come back without running it.", "",
      "usage: casherfs COMMAND [OPTION...]", "",
    ]
    let names = Command.all.map(\.name.count).max() ?? 0
    for command in Command.all { lines.append("  \(pad(command.name, to: names))  \(command.summary)") }
    lines += [
      "", "  casherfs COMMAND --help says more about one of them.",
      "  casherfs --version prints the version.",
    ]
    return lines.joined(separator: "\n")
  }

  static func text(of command: Command) -> String {
    var usage = "usage: casherfs \(command.name)" + (command.takesForeignOptions ? "" : " [OPTION...]")
    if !command.operands.isEmpty { usage += " \(command.operands)" }
    var lines = [usage, ""]
    for paragraph in command.details.split(separator: "\n", omittingEmptySubsequences: false) {
      lines += wrap(String(paragraph), width: width)
    }
    lines += ["", "options:"]
    let options = command.options + [Option.help]
    let heads = options.map(head)
    let column = min(26, heads.map(\.count).max() ?? 0)
    for (option, head) in zip(options, heads) {
      let help = wrap(option.help, width: width - column - 4)
      var first = "  " + pad(head, to: column)
      if head.count > column {
        lines.append(first)
        first = String(repeating: " ", count: column + 2)
      }
      for (index, line) in help.enumerated() {
        lines.append((index == 0 ? first : String(repeating: " ", count: column + 2)) + "  " + line)
      }
    }
    return lines.joined(separator: "\n")
  }

  private static func head(_ option: Option) -> String {
    (option.short.map { $0 + ", " } ?? "    ") + option.name + (option.value.map { " " + $0 } ?? "")
  }

  /// The text with spaces behind it, so that columns stand under one another.
  static func pad(_ text: String, to width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  private static func wrap(_ text: String, width: Int) -> [String] {
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
      if !line.isEmpty, line.count + 1 + word.count > width {
        lines.append(line)
        line = ""
      }
      line += (line.isEmpty ? "" : " ") + word
    }
    return lines + [line]
  }
}
