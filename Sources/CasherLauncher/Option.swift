import CasherRecord
import CasherSystem

/// One of acache's options. The command line is parsed from the table of these (`Option.all`), and the help, man pages
/// and completions are made from it.
public struct Option: Sendable {
  /// Without the dashes.
  public let name: String
  public let letter: Unicode.Scalar?
  /// What the option takes; nil when it takes no value.
  public let value: Value?
  /// One line, without a full stop.
  public let help: String
  public let section: Section
  /// Whether it may be given several times, each adding to the others.
  public let isRepeatable: Bool
  /// Whether `variable` gives a default.
  public let hasVariable: Bool
  /// Takes the value; what it throws ends the sentence "VALUE is …".
  let apply: @Sendable (inout Invocation, [UInt8]) throws(UsageError) -> Void

  /// What stands for an option's value in the help, and what it can be.
  public struct Value: Sendable {
    public let name: String
    public let kind: Kind

    public enum Kind: Sendable, Equatable {
      case text
      case file
      case directory
      /// The name of an environment variable.
      case variable
      /// One of these words.
      case choice([String])
    }

    public init(_ name: String, _ kind: Kind = .text) {
      self.name = name
      self.kind = kind
    }
  }

  /// What an option is about: the help's headings, in their order.
  public enum Section: String, Sendable, CaseIterable {
    case cache = "Whether the cache is used"
    case key = "What counts"
    case result = "What is stored and put back"
    case outside = "Outside the mount"
    case command = "How the command runs"
    case messages = "What is said"
  }

  /// The environment variable that sets it: CASHER_ and its name in capitals. For an option without a value 1 or 0.
  public var variable: String? {
    guard hasVariable else { return nil }
    return "CASHER_" + String(decoding: name.utf8.map { Option.capital($0) }, as: UTF8.self)
  }

  /// The option as it is written: `-v, --verbose` or `--ttl=DURATION`.
  public var synopsis: String {
    (letter.map { "-\($0), " } ?? "") + "--" + name + (value.map { "=" + $0.name } ?? "")
  }

  func isVariable(_ text: ArraySlice<UInt8>) -> Bool {
    hasVariable && text.dropFirst(7).elementsEqual(name.utf8.lazy.map { Option.capital($0) })
  }

  private static func capital(_ byte: UInt8) -> UInt8 {
    byte == UInt8(ascii: "-") ? UInt8(ascii: "_") : byte >= 97 ? byte - 32 : byte
  }

  static func flag(
    _ name: String, _ letter: Unicode.Scalar? = nil, _ section: Section, _ help: String, variable: Bool = true,
    _ set: @escaping @Sendable (inout Invocation) -> Void
  ) -> Option {
    Option(
      name: name, letter: letter, value: nil, help: help, section: section, isRepeatable: false, hasVariable: variable
    ) { invocation, _ in set(&invocation) }
  }

  static func value(
    _ name: String, _ value: Value, _ section: Section, _ help: String, repeatable: Bool = false,
    variable: Bool = false, _ set: @escaping @Sendable (inout Invocation, [UInt8]) throws(UsageError) -> Void
  ) -> Option {
    Option(
      name: name, letter: nil, value: value, help: help, section: section, isRepeatable: repeatable,
      hasVariable: variable, apply: set)
  }
}
