/// What `acache --help` prints.
enum Usage {
  static var text: String {
    var lines = [
      "Usage: acache [options] [--] command [argument...]", "",
      "Runs the command and remembers what it read and made. When the same command meets the same",
      "inputs again, its files, output and exit status come back and nothing runs.", "", "Options:",
    ]
    let heads = Option.all.map(head)
    let width = heads.map(\.utf8.count).max() ?? 0
    for (option, head) in zip(Option.all, heads) {
      lines.append("  " + head + String(repeating: " ", count: width - head.utf8.count + 2) + option.help)
    }
    lines += [
      "", "An option's default may stand in the environment: CASHER_FORCE=1, CASHER_OUTSIDE=trust.",
      "", "Exit status: the command's own, 128+n when signal n ended it; 125 when acache failed,",
      "126 when the command cannot be executed, 127 when there is none of that name.",
    ]
    return lines.joined(separator: "\n") + "\n"
  }

  private static func head(_ option: Option) -> String {
    let letter = option.letter.map { "-\($0), " } ?? "    "
    return letter + "--" + option.name + (option.argument.map { "=" + $0 } ?? "")
  }
}
