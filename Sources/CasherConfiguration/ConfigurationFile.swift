import CasherSystem

/// What a setting was set to.
public enum SettingValue: Hashable, Sendable {
  case flag(Bool)
  /// Bytes, nanoseconds or a level.
  case number(Int64)
  /// A level that is `off`.
  case off
  case text([UInt8])
  case list([[UInt8]])
}

/// A casher.yml, or the user's config.yml, as it was read.
public struct ConfigurationFile: Hashable, Sendable {
  /// A value and the line that it stands in.
  public struct Entry: Hashable, Sendable {
    public let value: SettingValue
    public let line: Int
  }

  /// Settings for certain commands.
  public struct Rule: Hashable, Sendable {
    /// Shell patterns.
    public let patterns: [FilePath]
    public let settings: [String: Entry]
    public let line: Int

    /// Whether the rule is about a command. `text` is the whole command as `casherfs log` shows it; a pattern without a
    /// space is about the program's name alone, with or without its directory.
    public func matches(_ text: FilePath, program: FilePath) -> Bool {
      patterns.contains { pattern in
        if !pattern.bytes.contains(UInt8(ascii: " ")) {
          return program.matches(pattern) || program.lastComponent.matches(pattern)
        }
        if text.matches(pattern) { return true }
        guard let space = text.bytes.firstIndex(of: UInt8(ascii: " ")) else { return false }
        return FilePath(FilePath(text.bytes[..<space]).lastComponent.bytes + text.bytes[space...]).matches(pattern)
      }
    }
  }

  /// The name of a work directory's file.
  public static let name = FilePath("casher.yml")

  public let path: FilePath
  /// By the settings' names.
  public let settings: [String: Entry]
  /// In the order of the file: of two that fit a command and say different things, the later one counts.
  public let rules: [Rule]

  /// Reads the text of the file at `path`, an absolute path. Throws everything that is wrong with it.
  public init(path: FilePath, text: [UInt8]) throws(InvalidConfiguration) {
    var reader = SettingReader(directory: path.parent)
    do throws(YAMLNode.Problem) {
      if let root = try YAMLNode.parse(text) { reader.readFile(root) }
    } catch { reader.problems.append(error) }
    guard reader.problems.isEmpty else {
      throw InvalidConfiguration(
        path: path,
        problems: reader.problems.map { InvalidConfiguration.Problem(position: $0.position, message: $0.message) })
    }
    self.path = path
    settings = reader.settings
    rules = reader.rules
  }

  /// The settings for a command, those that go before others first.
  func layers(_ text: FilePath, program: FilePath) -> [[String: Entry]] {
    rules.reversed().filter { $0.matches(text, program: program) }.map(\.settings) + [settings]
  }
}

/// What is wrong with a configuration file.
public struct InvalidConfiguration: Error, Hashable, Sendable, CustomStringConvertible {
  public struct Problem: Hashable, Sendable {
    /// Nil when the file as a whole is meant.
    public let position: TextPosition?
    /// A part of a sentence.
    public let message: String
  }

  public let path: FilePath
  /// At least one.
  public let problems: [Problem]

  init(path: FilePath, problems: [Problem]) {
    self.path = path
    self.problems = problems
  }

  /// A file that as a whole cannot be used; `message` is a part of a sentence.
  public init(path: FilePath, message: String) {
    self.init(path: path, problems: [Problem(position: nil, message: message)])
  }

  /// A line for each problem: `casher.yml:3:5: ...`.
  public var lines: [String] {
    problems.map { problem in
      "\(path):" + (problem.position.map { "\($0.line):\($0.column):" } ?? "") + " \(problem.message)"
    }
  }

  /// One line: the first problem, and how many more there are.
  public var description: String {
    let rest = problems.count - 1
    return (lines.first ?? "\(path) is invalid") + (rest > 0 ? " (and \(rest) more)" : "")
  }
}
