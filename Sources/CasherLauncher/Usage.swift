/// What `acache --help` prints.
enum Usage {
  private static let width = 80
  /// Where what an option does begins.
  private static let column = 27

  static var text: String {
    var lines = [
      "Usage: acache [OPTION...] [--] COMMAND [ARGUMENT...]", "",
      "Runs the command and remembers what it read and made. When the same command meets",
      "the same inputs again, its files, output and exit status come back and nothing runs.",
    ]
    for section in Option.Section.allCases {
      lines += ["", section.rawValue + ":"]
      for option in Option.all where option.section == section { lines += text(of: option) }
    }
    lines += [
      "", "A link to acache with another name runs and caches the program of that name that is",
      "next on PATH: ln -s acache ~/bin/gcc.",
      "", "Defaults may stand in the environment: all of them in CASHER_OPTIONS, as a shell has",
      "words, and those of most options in a variable each, such as CASHER_FORCE=1 or",
      "CASHER_OUTSIDE=trust; 'casherfs config' lists them.",
      "", "Exit status: the command's own, 128+n when signal n ended it; 124 when it took longer",
      "than --timeout, 75 when --read-only found no result, 125 when acache failed, 126 when",
      "the command cannot be executed, 127 when there is none of that name.",
    ]
    return lines.joined(separator: "\n") + "\n"
  }

  private static func text(of option: Option) -> [String] {
    let head = (option.letter == nil ? "      " : "  ") + option.synopsis
    var lines: [String] = []
    var line = head
    if head.utf8.count + 1 > column {
      lines.append(head)
      line = ""
    }
    line += String(repeating: " ", count: column - line.utf8.count)
    var isEmpty = true
    for word in option.help.split(separator: " ") {
      if !isEmpty, line.utf8.count + 1 + word.utf8.count > width {
        lines.append(line)
        line = String(repeating: " ", count: column)
        isEmpty = true
      }
      line += (isEmpty ? "" : " ") + word
      isEmpty = false
    }
    return lines + [line]
  }
}
