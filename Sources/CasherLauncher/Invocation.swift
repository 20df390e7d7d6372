import CasherRecord
import CasherSystem

/// What the user asked acache for: its own options and the command.
public struct Invocation: Sendable {
  /// What goes to the daemon.
  public var options = CallOptions()
  public var quiet = false
  /// Fail where there is nothing to cache with, instead of running the command plainly.
  public var requiresCache = false
  /// The command reads from /dev/null.
  public var withoutInput = false
  /// Declared variables of the key, by name: the last of a name counts.
  var declared: [FilePath: [UInt8]] = [:]
  var salts: [[UInt8]] = []
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
  /// Parses acache's arguments (its own name first). Options end at `--` or at the first argument that is none; what
  /// follows is the command. `environment` gives the defaults, see `Option.variable`.
  public init(arguments: [[UInt8]], environment: [[UInt8]]) throws(UsageError) {
    try applyDefaults(from: environment)
    var rest = arguments.dropFirst()
    while let argument = rest.first, argument.first == UInt8(ascii: "-"), argument.count > 1 {
      rest = rest.dropFirst()
      if argument == Array("--".utf8) { break }
      if argument.starts(with: Array("--".utf8)) {
        try applyLong(argument.dropFirst(2), &rest)
      } else {
        try applyShort(argument.dropFirst(), &rest)
      }
    }
    command = Array(rest)
    guard request == .run else { return }
    guard !command.isEmpty else { throw UsageError("there is no command to run (acache --help tells how)") }
    for (name, value) in declared.sorted(by: { $0.key < $1.key }) {
      options.extras.append(Invocation.piece("set", name.bytes + [UInt8(ascii: "=")] + value))
    }
    for salt in salts { options.extras.append(Invocation.piece("salt", salt)) }
  }

  /// A piece of the key: what kind it is of, and its text. No kind holds a NUL.
  static func piece(_ kind: StaticString, _ text: [UInt8]) -> [UInt8] { Array("\(kind)".utf8) + [0] + text }

  private mutating func applyLong(_ text: ArraySlice<UInt8>, _ rest: inout ArraySlice<[UInt8]>) throws(UsageError) {
    let name = text.prefix { $0 != UInt8(ascii: "=") }
    let attached = name.count < text.count ? Array(text.dropFirst(name.count + 1)) : nil
    let shown = "--" + FilePath(name).description
    guard let option = Option.all.first(where: { $0.name.utf8.elementsEqual(name) }) else {
      throw UsageError("\(shown) is no option of acache (acache --help lists them)")
    }
    if option.argument == nil, attached != nil { throw UsageError("\(shown) takes no value") }
    try apply(option, shown, attached, &rest)
  }

  private mutating func applyShort(_ letters: ArraySlice<UInt8>, _ rest: inout ArraySlice<[UInt8]>) throws(UsageError) {
    for letter in letters {
      let shown = "-" + FilePath([letter]).description
      guard let option = Option.all.first(where: { $0.letter == Unicode.Scalar(letter) }) else {
        throw UsageError("\(shown) is no option of acache (acache --help lists them)")
      }
      try apply(option, shown, nil, &rest)
    }
  }

  private mutating func apply(
    _ option: Option, _ shown: String, _ attached: [UInt8]?, _ rest: inout ArraySlice<[UInt8]>
  ) throws(UsageError) {
    guard let argument = option.argument else {
      try option.apply(&self, [])
      return
    }
    guard let value = attached ?? rest.popFirst() else { throw UsageError("\(shown) needs a value: \(argument)") }
    try apply(option, value, from: shown)
  }

  private mutating func apply(_ option: Option, _ value: [UInt8], from origin: String) throws(UsageError) {
    do throws(UsageError) { try option.apply(&self, value) } catch {
      throw UsageError("\(origin): \(FilePath(value)) is \(error)")
    }
  }

  private mutating func applyDefaults(from environment: [[UInt8]]) throws(UsageError) {
    let prefix = Array("CASHER_".utf8)
    for entry in environment where entry.starts(with: prefix) {
      let name = entry.prefix { $0 != UInt8(ascii: "=") }
      guard name.count < entry.count, let option = Option.all.first(where: { $0.isVariable(name) }) else { continue }
      let value = Array(entry.dropFirst(name.count + 1))
      let shown = FilePath(name).description
      if option.argument != nil {
        if !value.isEmpty { try apply(option, value, from: shown) }
        continue
      }
      switch String(decoding: value, as: UTF8.self) {
      case "1", "yes", "true", "on": try option.apply(&self, [])
      case "", "0", "no", "false", "off": break
      default: throw UsageError("\(shown) is \(FilePath(value)), neither 1 nor 0")
      }
    }
  }
}
