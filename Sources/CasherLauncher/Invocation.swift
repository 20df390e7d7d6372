import CasherRecord
import CasherSystem

/// What the user asked acache for: its own options and the command.
public struct Invocation: Sendable {
  /// What goes to the daemon, but for paths, which are as they were given.
  public var options = CallOptions()
  public var quiet = false
  /// Fail where there is nothing to cache with, instead of running the command plainly.
  public var requiresCache = false
  /// The command reads from /dev/null.
  public var withoutInput = false
  /// The command gets pipes where this process's output is a terminal.
  public var withoutTerminals = false
  /// As they were given.
  var inputs: [FilePath] = []
  var outputRoots: [FilePath] = []
  var ignoredArguments: [IgnoredArgument] = []
  /// Declared variables of the key, by name: the last of a name counts.
  var declared: [FilePath: [UInt8]] = [:]
  var salts: [[UInt8]] = []
  /// How often a command that fails is run again.
  var retries = 0
  /// How long the command may take, in nanoseconds.
  var timeLimit: Int64?
  /// Where the report of the call goes.
  var report: FilePath?
  /// What to mount where nothing is mounted.
  var mount: FilePath?
  /// What the command's environment gets, when acache was called by a link with the name of the command.
  var linkEntry: [UInt8]?
  /// Never empty once parsed, unless help or the version is asked for.
  public var command: [[UInt8]] = []
  var request: Request = .run

  enum Request: Sendable { case run, help, version }

  public init() {}
}

/// A command line or variable that acache does not understand: one sentence.
public struct UsageError: Error, Hashable, Sendable, CustomStringConvertible {
  public let description: String
  init(_ description: String) { self.description = description }
}

extension Invocation {
  /// Whether acache has something to do when the command has ended without a cache.
  var isSupervised: Bool { timeLimit != nil || retries > 0 || report != nil || mount != nil }

  /// A piece of the key: what kind it is of, and its text. No kind holds a NUL.
  static func piece(_ kind: StaticString, _ text: [UInt8]) -> [UInt8] { Array("\(kind)".utf8) + [0] + text }

  /// To be called once all is parsed: what the options say of the key.
  mutating func completeKey() {
    for (name, value) in declared.sorted(by: { $0.key < $1.key }) {
      options.extras.append(Invocation.piece("set", name.bytes + [UInt8(ascii: "=")] + value))
    }
    for salt in salts { options.extras.append(Invocation.piece("salt", salt)) }
    for ignored in ignoredArguments { options.extras.append(Invocation.piece("ignore-arg", ignored.text)) }
    for (number, argument) in command.enumerated().dropFirst()
    where ignoredArguments.contains(where: { $0.covers(number, argument) }) {
      if let number = UInt32(exactly: number) { options.ignoredArguments.append(number) }
    }
  }
}
