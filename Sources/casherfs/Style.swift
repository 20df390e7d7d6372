import CasherSystem
import Glibc

/// Colours on a terminal (ECMA-48, SGR); none where stdout is something else, the terminal is dumb, or `NO_COLOR` is
/// set to anything (https://no-color.org).
enum Style: String {
  case bold = "1"
  case dim = "2"
  case red = "31"
  case green = "32"
  case yellow = "33"
  case cyan = "36"

  static let isOn: Bool =
    Console.isTerminal && Environment.nonEmptyValue("NO_COLOR") == nil && Environment.value("TERM") != "dumb"

  /// Whether the terminal can be drawn over.
  static let canMove: Bool = Environment.nonEmptyValue("TERM").map { $0 != "dumb" } ?? false

  func callAsFunction(_ text: String) -> String {
    Style.isOn ? "\u{1b}[\(rawValue)m\(text)\u{1b}[0m" : text
  }
}

extension Console {
  /// Whether stdout is a terminal.
  static let isTerminal = isatty(STDOUT_FILENO) == 1

  /// Whether a question can be asked: stdin and stderr are a terminal.
  static let canAsk = isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1

  /// Asks on stderr; true when the answer begins with y.
  static func confirm(_ question: String) -> Bool {
    try? FileDescriptor.standardError.writeAll(Array("\(question) [y/N] ".utf8))
    guard let line = readLine() else { return false }
    return line.lowercased().hasPrefix("y")
  }

  static func print(_ json: JSON) { print(bytes: Array(json.text.utf8)) }
}
