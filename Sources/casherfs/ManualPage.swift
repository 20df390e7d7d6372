/// A manual page in the making (man(7)).
struct ManualPage {
  private(set) var text: String

  /// `title` in capitals; `section` as in man(1).
  init(_ title: String, section: Int, version: String, heading: String) {
    text = ".TH \(title) \(section) \(ManualPage.date) \"casher \(version)\" \"\(heading)\"\n"
  }

  /// When the pages' own text was changed last.
  private static let date = "2026-11-20"

  mutating func section(_ name: String) { text += ".SH \(ManualPage.quoted(name.uppercased()))\n" }
  mutating func subsection(_ name: String) { text += ".SS \(ManualPage.quoted(name))\n" }

  /// Paragraphs, each a line of `body`.
  mutating func paragraphs(_ body: String) {
    for (index, line) in body.split(separator: "\n").enumerated() {
      if index > 0 { text += ".PP\n" }
      text += ManualPage.escaped(String(line)) + "\n"
    }
  }

  /// A new paragraph within a section.
  mutating func paragraph(_ body: String) {
    text += ".PP\n"
    paragraphs(body)
  }

  /// A term in bold, and what it means.
  mutating func item(_ term: String, _ body: String) {
    text += ".TP\n.B \(ManualPage.escaped(term))\n"
    paragraphsInItem(body)
  }

  mutating func line(bold word: String, _ rest: String) {
    text += ".B \(ManualPage.escaped(word))\n"
    if !rest.isEmpty { text += ManualPage.escaped(rest) + "\n" }
  }

  mutating func lineBreak() { text += ".br\n" }

  /// Lines as they are, in a fixed font.
  mutating func example(_ lines: String) {
    // Behind a heading a paragraph begins by itself.
    if text.split(separator: "\n").last?.hasPrefix(".S") != true { text += ".PP\n" }
    text += ".EX\n"
    for line in lines.split(separator: "\n", omittingEmptySubsequences: false) {
      text += ManualPage.escaped(String(line)) + "\n"
    }
    text += ".EE\n"
  }

  private mutating func paragraphsInItem(_ body: String) {
    for (index, line) in body.split(separator: "\n").enumerated() {
      if index > 0 { text += ".IP\n" }
      text += ManualPage.escaped(String(line)) + "\n"
    }
  }

  private static func quoted(_ text: String) -> String { "\"\(escaped(text))\"" }

  /// So that roff(7) prints the text as it is: no request at a line's beginning, hyphens that can be copied.
  private static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": result += "\\e"
      case "-": result += "\\-"
      case "\"": result += "\\(dq"
      case "'": result += "\\(aq"
      case "`": result += "\\(ga"
      case "^": result += "\\(ha"
      case "~": result += "\\(ti"
      default: result.unicodeScalars.append(scalar)
      }
    }
    if result.hasPrefix(".") { result = "\\&" + result }
    return result
  }
}
