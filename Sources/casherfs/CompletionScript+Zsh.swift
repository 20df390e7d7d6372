extension CompletionScript {
  /// For zsh's completion system (zshcompsys(1)).
  static var zsh: String {
    var lines = [
      "#compdef casherfs acache",
      "# Completions of casherfs and acache for zsh, made by 'casherfs completions zsh'.", "",
      "_casher_runs() {",
      "  local -a runs",
      "  runs=(${(f)\"$(\(runs))\"})",
      "  compadd -a runs",
      "}", "",
      "_casherfs() {",
      "  local curcontext=$curcontext state line",
      "  local -a commands",
      "  commands=(",
    ]
    for command in Completion.casherfs { lines.append("    \(quoted("\(command.name):\(command.help)"))") }
    lines += [
      "  )",
      "  _arguments -C '1:command:->command' '*::argument:->arguments'",
      "  case $state in",
      "    command) _describe command commands ;;",
      "    arguments)",
      "      case $words[1] in",
    ]
    for command in Completion.casherfs {
      lines.append("        \(command.name)) _arguments -s \\")
      lines += command.options.flatMap { specifications($0).map { "          \($0) \\" } }
      lines.append("          " + (command.operands.map { quoted("*:operand:\(action($0))") } ?? "") + " ;;")
    }
    lines += [
      "      esac ;;",
      "  esac",
      "}", "",
      "_acache() {",
      "  _arguments -s -S \\",
    ]
    lines += Completion.acache.flatMap { specifications($0).map { "    \($0) \\" } }
    lines += [
      "    '(-)1:command: _command_names -e' '*::arguments: _normal'",
      "}", "",
      "# Loaded by name, or with eval.",
      "case $service in",
      "  casherfs) _casherfs \"$@\" ;;",
      "  acache) _acache \"$@\" ;;",
      "  *) compdef _casherfs casherfs; compdef _acache acache ;;",
      "esac", "",
    ]
    return lines.joined(separator: "\n")
  }

  /// `--name=[help]:value:action`, one for each of its names.
  private static func specifications(_ option: Completion.Option) -> [String] {
    let help = option.help.replacing("\\", with: "\\\\").replacing("[", with: "\\[").replacing("]", with: "\\]")
      .replacing(":", with: "\\:")
    let value = option.value.map { ":value:\(action($0))" } ?? ""
    let long = quoted("*" + option.name + (option.value == nil ? "" : "=") + "[\(help)]" + value)
    guard let short = option.short else { return [long] }
    return [long, quoted("*" + short + (option.value == nil ? "" : "+") + "[\(help)]" + value)]
  }

  private static func action(_ kind: Completion.Kind) -> String {
    switch kind {
    case .text: ""
    case .file: "_files"
    case .directory: "_files -/"
    case .variable: "_parameters -g '*export*'"
    case .run: "_casher_runs"
    case .choice(let words): "(\(words.joined(separator: " ")))"
    }
  }
}
