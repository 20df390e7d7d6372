import CasherRecord
import CasherSystem

/// One of acache's options: the table from which the command line is parsed and the help is printed.
public struct Option: Sendable {
  /// Without the dashes.
  public let name: String
  public let letter: Unicode.Scalar?
  /// What stands for the value in the help; nil when there is none.
  public let argument: String?
  public let help: String
  /// Whether `variable` gives a default.
  public let hasVariable: Bool
  /// Takes the value; what it throws ends the sentence "VALUE is …".
  let apply: @Sendable (inout Invocation, [UInt8]) throws(UsageError) -> Void

  /// The environment variable that sets it: CASHER_ and its name in capitals. For an option without a value 1 or 0.
  public var variable: String? {
    guard hasVariable else { return nil }
    return "CASHER_" + String(decoding: name.utf8.map { Option.capital($0) }, as: UTF8.self)
  }

  func isVariable(_ text: ArraySlice<UInt8>) -> Bool {
    hasVariable && text.dropFirst(7).elementsEqual(name.utf8.lazy.map { Option.capital($0) })
  }

  private static func capital(_ byte: UInt8) -> UInt8 {
    byte == UInt8(ascii: "-") ? UInt8(ascii: "_") : byte >= 97 ? byte - 32 : byte
  }

  private static func flag(
    _ name: String, _ letter: Unicode.Scalar? = nil, _ help: String, variable: Bool = true,
    _ set: @escaping @Sendable (inout Invocation) -> Void
  ) -> Option {
    Option(name: name, letter: letter, argument: nil, help: help, hasVariable: variable) { invocation, _ in
      set(&invocation)
    }
  }

  private static func value(
    _ name: String, _ argument: String, _ help: String, variable: Bool = false,
    _ set: @escaping @Sendable (inout Invocation, [UInt8]) throws(UsageError) -> Void
  ) -> Option {
    Option(name: name, letter: nil, argument: argument, help: help, hasVariable: variable, apply: set)
  }

  /// Every option, in the order of the help.
  public static let all: [Option] = [
    flag("verbose", "v", "say what the cache did, and why not") { $0.options.verbose = true },
    flag("quiet", "q", "say nothing, not even that there is no cache to use") { $0.quiet = true },
    flag("explain", nil, "say why the command has to run") { $0.options.explain = true },
    flag("force", nil, "run although there is a result, and store the new one") { $0.options.force = true },
    flag("no-store", nil, "use a result that is there, but store none") { $0.options.noStore = true },
    flag("check", nil, "run although there is a result, and compare the two; 1 when they differ", variable: false) {
      $0.options.check = true
    },
    flag("strict", nil, "what the command produced itself must be as it was before the run") {
      $0.options.strict = true
    },
    flag("mtime", nil, "modification times count like content") { $0.options.observeTimes = true },
    flag("relocatable", nil, "leave the mount's place out of the key") { $0.options.relocatable = true },
    flag("cache-failures", nil, "store any exit status, not 0 alone") { $0.options.cacheFailures = true },
    flag("allow-network", nil, "store although the command connected to the network") {
      $0.options.allowNetwork = true
    },
    flag("sync", nil, "return when the result is safely on disk") { $0.options.synchronous = true },
    flag("require-cache", nil, "fail with 125 where there is no cache to use") { $0.requiresCache = true },
    flag("no-stdin", "n", "the command reads from /dev/null", variable: false) { $0.withoutInput = true },
    value("env", "NAME", "the variable counts, though it would not by default") { invocation, name throws(UsageError) in
      invocation.options.environmentAdded.append(try variableName(name))
    },
    value("ignore-env", "NAME", "the variable does not count") { invocation, name throws(UsageError) in
      invocation.options.environmentIgnored.append(try variableName(name))
    },
    value("ignore", "GLOB", "paths that fit are neither inputs nor outputs; * stands for slashes too") {
      invocation, pattern throws(UsageError) in
      invocation.options.ignored.append(FilePath(pattern))
    },
    value("only-env", "A,B", "these variables alone count, and the command sees no others") {
      invocation, list throws(UsageError) in
      for name in list.split(separator: UInt8(ascii: ",")) {
        invocation.options.environmentOnly = (invocation.options.environmentOnly ?? []) + [try variableName(name)]
      }
      if invocation.options.environmentOnly == nil { invocation.options.environmentOnly = [] }
    },
    value("set", "NAME=VALUE", "a variable that counts, though the command does not see it") {
      invocation, text throws(UsageError) in
      let (name, value) = try assignment(text)
      invocation.declared[name] = value
    },
    value("salt", "TEXT", "a text that counts, for a version of one's own", variable: true) { invocation, text in
      invocation.salts.append(text)
    },
    value("tag", "K=V", "a label for the stored result; does not count") { invocation, text throws(UsageError) in
      _ = try assignment(text)
      invocation.options.tags.append(text)
    },
    value("outside", "HOW", "see what is used outside the mount: view, strace, or trust it", variable: true) {
      invocation, text throws(UsageError) in
      switch String(decoding: text, as: UTF8.self) {
      case "auto": invocation.options.outside = .automatic
      case "view": invocation.options.outside = .view
      case "strace": invocation.options.outside = .strace
      case "trust": invocation.options.outside = .trust
      default: throw UsageError("none of auto, view, strace, trust")
      }
    },
    value("outside-writes", "HOW", "files written outside the mount: capture, refuse, ignore", variable: true) {
      invocation, text throws(UsageError) in
      switch String(decoding: text, as: UTF8.self) {
      case "capture": invocation.options.outsideWrites = .capture
      case "refuse": invocation.options.outsideWrites = .refuse
      case "ignore": invocation.options.outsideWrites = .ignore
      default: throw UsageError("none of capture, refuse, ignore")
      }
    },
    flag("help", "h", "print this", variable: false) { $0.request = .help },
    flag("version", nil, "print the version", variable: false) { $0.request = .version },
  ]

  private static func variableName(_ text: some Sequence<UInt8>) throws(UsageError) -> FilePath {
    let name = FilePath(text)
    if name.isEmpty || name.bytes.contains(UInt8(ascii: "=")) { throw UsageError("no name of a variable") }
    return name
  }

  private static func assignment(_ text: [UInt8]) throws(UsageError) -> (FilePath, [UInt8]) {
    guard let split = text.firstIndex(of: UInt8(ascii: "=")), split > 0 else {
      throw UsageError("not of the form NAME=VALUE")
    }
    return (FilePath(text[..<split]), Array(text[(split + 1)...]))
  }
}
