extension CompletionScript {
  /// For bash 4 and newer, with or without the package bash-completion.
  static var bash: String {
    var lines = [
      "# Completions of casherfs and acache for bash, made by 'casherfs completions bash'.", "",
      "# Completes the value of an option, or an operand, of a kind.",
      "_casher_value() {",
      "  local word=$2",
      "  compopt +o nospace 2>/dev/null",
      "  case $1 in",
      "    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;",
      "    directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$word\") ;;",
      "    variable) mapfile -t COMPREPLY < <(compgen -e -- \"$word\") ;;",
      "    run) mapfile -t COMPREPLY < <(compgen -W \"$(\(runs))\" -- \"$word\") ;;",
      "    text) ;;",
      "    *) mapfile -t COMPREPLY < <(compgen -W \"${1//|/ }\" -- \"$word\") ;;",
      "  esac",
      "}", "",
      "# The kind of value that the option $2 of $1 takes; nothing when it takes none.",
      "_casher_kind() {",
      "  case $1:$2 in",
    ]
    for (program, options) in programs {
      for option in options {
        guard let value = option.value else { continue }
        let names = ([option.name] + (option.short.map { [$0] } ?? [])).map { "\(program):\($0)" }
        lines.append("    \(names.joined(separator: " | "))) echo \(quoted(word(value))) ;;")
      }
    }
    lines += [
      "  esac",
      "}", "",
      "_casher_options() {",
      "  case $1 in",
    ]
    for (program, options) in programs {
      lines.append("    \(program)) echo \(quoted(options.map(\.name).joined(separator: " "))) ;;")
    }
    lines += [
      "  esac",
      "}", "",
      "# Completes options of $1, and their values: true when that was what there was to do.",
      "_casher_option() {",
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} kind",
      "  # bash takes = for a word of its own.",
      "  if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD - 2]}; fi",
      "  kind=$(_casher_kind \"$1\" \"$prev\")",
      "  if [[ -n $kind ]]; then _casher_value \"$kind\" \"$cur\"; return 0; fi",
      "  if [[ $cur == -* ]]; then",
      "    mapfile -t COMPREPLY < <(compgen -W \"$(_casher_options \"$1\")\" -- \"$cur\")",
      "    return 0",
      "  fi",
      "  return 1",
      "}", "",
      "_casherfs() {",
      "  local cur=${COMP_WORDS[COMP_CWORD]}",
      "  COMPREPLY=()",
      "  if [[ $COMP_CWORD == 1 ]]; then",
      "    mapfile -t COMPREPLY < <(compgen -W "
        + quoted((Completion.casherfs.map(\.name) + ["--help", "--version"]).joined(separator: " ")) + " -- \"$cur\")",
      "    return",
      "  fi",
      "  _casher_option \"${COMP_WORDS[1]}\" && return",
      "  case ${COMP_WORDS[1]} in",
    ]
    for command in Completion.casherfs {
      guard let operands = command.operands else { continue }
      lines.append("    \(command.name)) _casher_value \(quoted(word(operands))) \"$cur\" ;;")
    }
    lines += [
      "  esac",
      "}", "",
      "_acache() {",
      "  local at=1 name cur=${COMP_WORDS[COMP_CWORD]}",
      "  COMPREPLY=()",
      "  # Where the command begins.",
      "  while [[ $at -lt $COMP_CWORD && ${COMP_WORDS[at]} == -* ]]; do",
      "    name=${COMP_WORDS[at]}",
      "    at=$((at + 1))",
      "    [[ $name == -- ]] && break",
      "    if [[ -n $(_casher_kind acache \"$name\") ]]; then",
      "      [[ ${COMP_WORDS[at]} == = ]] && at=$((at + 1))",
      "      at=$((at + 1))",
      "    fi",
      "  done",
      "  if [[ $at -ge $COMP_CWORD && ${COMP_WORDS[COMP_CWORD - 1]} != -- ]]; then",
      "    _casher_option acache && return",
      "  fi",
      "  if declare -F _command_offset >/dev/null && [[ $at -le $COMP_CWORD ]]; then",
      "    _command_offset \"$at\"",
      "  elif [[ $at == \"$COMP_CWORD\" ]]; then",
      "    mapfile -t COMPREPLY < <(compgen -c -- \"$cur\")",
      "  else",
      "    compopt -o filenames 2>/dev/null",
      "    mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")",
      "  fi",
      "}", "",
      "complete -F _casherfs casherfs",
      "complete -F _acache acache", "",
    ]
    return lines.joined(separator: "\n")
  }

  /// The options of each subcommand of casherfs, and of acache.
  private static var programs: [(String, [Completion.Option])] {
    Completion.casherfs.map { ($0.name, $0.options) } + [("acache", Completion.acache)]
  }

  private static func word(_ kind: Completion.Kind) -> String {
    switch kind {
    case .text: "text"
    case .file: "file"
    case .directory: "directory"
    case .variable: "variable"
    case .run: "run"
    case .choice(let words): words.joined(separator: "|")
    }
  }
}
