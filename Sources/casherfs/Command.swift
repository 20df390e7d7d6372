import CasherSystem

/// One option of a subcommand. Help, man pages and completions are all made from these.
struct Option: Sendable {
  /// The long name with its dashes; it also names the option in `Arguments`.
  let name: String
  /// A single dash and letter, where there is one.
  let short: String?
  /// What the value is called, nil when the option takes none.
  let value: String?
  /// What it does, as the end of a sentence, without a full stop.
  let help: String

  init(_ name: String, short: String? = nil, value: String? = nil, _ help: String) {
    self.name = name
    self.short = short
    self.value = value
    self.help = help
  }

  static let help = Option("--help", short: "-h", "print this text")
  static let json = Option("--json", "print JSON (docs/json.md)")
  static let cacheDirectory = Option(
    "--cache-dir", value: "DIR", "use the cache in DIR instead of $CASHER_CACHE_DIR or ~/.cache/casher")
}

/// A subcommand: what it is called, what it takes, and what it does.
struct Command: Sendable {
  let name: String
  /// What follows the name and the options: `DIR`, `[RUN]`.
  let operands: String
  /// How many operands there may be.
  let operandCount: ClosedRange<Int>
  /// One line, as `casherfs --help` lists it.
  let summary: String
  /// What a user should know besides, in whole sentences.
  let details: String
  let options: [Option]
  /// Everything on the command line goes to the command as an operand, options too; `--help` alone does not.
  var takesForeignOptions = false
  let run: @Sendable (Arguments) throws(Failure) -> ExitCode

  /// Every subcommand, in the order in which they are listed.
  static let all: [Command] = [
    .mount, .unmount, .freeze, .status, .top, .stats, .log, .show, .get, .diff, .history, .changed, .why, .graph,
    .freezes, .remove,
    .invalidate,
    .clear, .evict, .export, .import,
    .verify, .explain, .config, .doctor, .completions,
  ]
}

/// A command line after it has been taken apart.
struct Arguments: Sendable {
  /// The command line as it was given, without the subcommand's name.
  let raw: [FilePath]
  private var values: [String: [FilePath]] = [:]
  private(set) var operands: [FilePath] = []

  /// Takes `raw` apart by the options that `command` knows.
  ///
  /// As getopt_long(3) does it: `--name value`, `--name=value`, `-n value`, `-nvalue`, several letters behind one dash,
  /// options after operands, and `--` before operands that begin with a dash.
  init(_ raw: [FilePath], for command: Command) throws(Failure) {
    self.raw = raw
    if command.takesForeignOptions {
      try takeForeign(command)
      return
    }
    let known = command.options + [Option.help]
    var rest = raw[...]
    var onlyOperands = false
    while let argument = rest.popFirst() {
      let text = String(decoding: argument.bytes, as: UTF8.self)
      if onlyOperands || !text.hasPrefix("-") || text == "-" {
        operands.append(argument)
      } else if text == "--" {
        onlyOperands = true
      } else if text.hasPrefix("--") {
        try takeLong(argument, &rest, known, command)
      } else {
        try takeShort(argument, &rest, known, command)
      }
    }
    guard !has("--help") else { return }
    guard command.operandCount.contains(operands.count) else {
      if let surplus = operands.dropFirst(command.operandCount.upperBound).first {
        throw Arguments.misused(command, "'\(surplus)' is one argument too many")
      }
      throw Arguments.misused(command, "\(command.operands) is missing")
    }
  }

  func has(_ name: String) -> Bool { values[name] != nil }

  /// Every value that the option was given, in order.
  func all(_ name: String) -> [FilePath] { values[name] ?? [] }

  /// The value of an option that counts once: the last one given.
  func path(_ name: String) -> FilePath? { values[name]?.last }

  func text(_ name: String) -> String? { path(name).map { String(decoding: $0.bytes, as: UTF8.self) } }

  /// The option's value read by `read`; a usage failure that says what `kind` looks like when it cannot be read.
  func value<Value>(_ name: String, _ kind: String, _ read: (String) -> Value?) throws(Failure) -> Value? {
    guard let text = text(name) else { return nil }
    guard let value = read(text) else { throw Failure(.usage, "'\(text)' after \(name) is not \(kind).") }
    return value
  }

  static func misused(_ command: Command, _ what: String) -> Failure {
    Failure(.usage, "\(what); 'casherfs \(command.name) --help' shows what it takes.")
  }

  private mutating func takeForeign(_ command: Command) throws(Failure) {
    if let first = raw.first, [Option.help.name, Option.help.short].contains("\(first)") {
      values[Option.help.name] = [FilePath([])]
    } else if raw.isEmpty {
      throw Arguments.misused(command, "\(command.operands) is missing")
    } else {
      operands = raw
    }
  }

  private mutating func takeLong(
    _ argument: FilePath, _ rest: inout ArraySlice<FilePath>, _ known: [Option], _ command: Command
  ) throws(Failure) {
    let parts = argument.bytes.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
    let name = String(decoding: parts[0], as: UTF8.self)
    guard let option = known.first(where: { $0.name == name }) else {
      throw Arguments.misused(command, "\(name) is not an option of 'casherfs \(command.name)'")
    }
    let attached = parts.count > 1 ? FilePath(parts[1]) : nil
    guard option.value != nil else {
      guard attached == nil else { throw Arguments.misused(command, "\(name) takes no value") }
      values[option.name, default: []].append(FilePath([]))
      return
    }
    guard let value = attached ?? rest.popFirst() else {
      throw Arguments.misused(command, "\(name) needs a value")
    }
    values[option.name, default: []].append(value)
  }

  private mutating func takeShort(
    _ argument: FilePath, _ rest: inout ArraySlice<FilePath>, _ known: [Option], _ command: Command
  ) throws(Failure) {
    var letters = argument.bytes.dropFirst()
    while let letter = letters.popFirst() {
      let name = "-" + String(Unicode.Scalar(letter))
      guard let option = known.first(where: { $0.short == name }) else {
        throw Arguments.misused(command, "\(name) is not an option of 'casherfs \(command.name)'")
      }
      guard option.value != nil else {
        values[option.name, default: []].append(FilePath([]))
        continue
      }
      let attached = letters.isEmpty ? nil : FilePath(letters)
      guard let value = attached ?? rest.popFirst() else {
        throw Arguments.misused(command, "\(name) needs a value")
      }
      values[option.name, default: []].append(value)
      return
    }
  }
}
