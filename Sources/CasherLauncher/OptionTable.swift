import CasherRecord
import CasherSystem

extension Option {
  /// Every option, by section in the order of the help.
  public static let all: [Option] = cache + key + result + outside + command + messages

  private static let cache: [Option] = [
    flag("force", nil, .cache, "run although there is a result, and store the new one") { $0.options.force = true },
    flag("no-store", nil, .cache, "use a result that is there, but store none") { $0.options.noStore = true },
    flag("no-cache", nil, .cache, "run, and record what was done for 'casherfs log', never to answer from") {
      $0.options.noCache = true
    },
    flag("read-only", nil, .cache, "run nothing: exit with 75 where there is no result") {
      $0.options.readOnly = true
    },
    flag(
      "check", nil, .cache, "run although there is a result, and compare the two; 1 when they differ", variable: false
    ) { $0.options.check = true },
    value(
      "ttl", Value("DURATION"), .cache,
      "how long the result is good (30s, 5m, 2h, 7d); what is older is not used either",
      variable: true
    ) { invocation, text throws(UsageError) in invocation.options.timeToLive = try duration(text) },
    flag("require-cache", nil, .cache, "fail with 125 where there is no cache to use") { $0.requiresCache = true },
    value(
      "mount", Value("DIR", .directory), .cache, "mount DIR for this call where nothing is mounted", variable: true
    ) { invocation, text throws(UsageError) in invocation.mount = try path(text) },
  ]

  private static let key: [Option] = [
    value(
      "input", Value("PATH", .file), .key, "a file, or a directory with all in it, that counts though nobody reads it",
      repeatable: true
    ) { invocation, text throws(UsageError) in invocation.inputs.append(try path(text)) },
    value(
      "input-pattern", Value("REGEX"), .key, "of the directories of --input, only files with a name that it is found in"
    ) { invocation, text throws(UsageError) in
      _ = try expression(text)
      invocation.options.inputPattern = text
    },
    value(
      "output-root", Value("DIR", .directory), .key, "what is below DIR is output only, never an input",
      repeatable: true
    ) { invocation, text throws(UsageError) in invocation.outputRoots.append(try path(text)) },
    value(
      "ignore", Value("GLOB"), .key, "paths that fit are neither inputs nor outputs; * stands for slashes too",
      repeatable: true
    ) { invocation, pattern in invocation.options.ignored.append(FilePath(pattern)) },
    value(
      "ignore-arg", Value("N|REGEX"), .key, "argument N, or those that fit as a whole, do not count", repeatable: true
    ) { invocation, text throws(UsageError) in invocation.ignoredArguments.append(try IgnoredArgument(text)) },
    value(
      "env", Value("NAME", .variable), .key, "the variable counts, though it would not by default", repeatable: true
    ) { invocation, name throws(UsageError) in invocation.options.environmentAdded.append(try variableName(name)) },
    value("ignore-env", Value("NAME", .variable), .key, "the variable does not count", repeatable: true) {
      invocation, name throws(UsageError) in invocation.options.environmentIgnored.append(try variableName(name))
    },
    value(
      "only-env", Value("A,B", .variable), .key, "these variables alone count, and the command sees no others",
      repeatable: true
    ) { invocation, list throws(UsageError) in
      var names = invocation.options.environmentOnly ?? []
      for name in list.split(separator: UInt8(ascii: ",")) { names.append(try variableName(name)) }
      invocation.options.environmentOnly = names
    },
    value(
      "set", Value("NAME=VALUE"), .key, "a variable that counts, though the command does not see it", repeatable: true
    ) { invocation, text throws(UsageError) in
      let (name, value) = try assignment(text)
      invocation.declared[name] = value
    },
    value(
      "salt", Value("TEXT"), .key, "a text that counts, for a version of one's own", repeatable: true, variable: true
    ) { invocation, text in invocation.salts.append(text) },
    flag("strict", nil, .key, "what the command produced itself must be as it was before the run") {
      $0.options.strict = true
    },
    flag("mtime", nil, .key, "modification times count like content") { $0.options.observeTimes = true },
    flag("relocatable", nil, .key, "leave the mount's place out of the key") { $0.options.relocatable = true },
  ]

  private static let result: [Option] = [
    value(
      "restore", Value("WHEN", .choice(["always", "if-missing", "never"])), .result,
      "which files a hit puts back: all, those that are not there, none", variable: true
    ) { invocation, text throws(UsageError) in
      invocation.options.restore = try choice(
        text, [("always", .always), ("if-missing", .ifMissing), ("never", .never)])
    },
    flag("cache-failures", nil, .result, "store any exit status, not 0 alone") { $0.options.cacheFailures = true },
    value("tag", Value("K=V"), .result, "a label for the stored result; does not count", repeatable: true) {
      invocation, text throws(UsageError) in
      _ = try assignment(text)
      invocation.options.tags.append(text)
    },
    flag("sync", nil, .result, "return when the result is safely on disk") { $0.options.synchronous = true },
  ]

  private static let outside: [Option] = [
    value(
      "outside", Value("HOW", .choice(["auto", "view", "strace", "trust"])), .outside,
      "see what is used outside the mount: view, strace, or trust it", variable: true
    ) { invocation, text throws(UsageError) in
      invocation.options.outside = try choice(
        text, [("auto", .automatic), ("view", .view), ("strace", .strace), ("trust", .trust)])
    },
    value(
      "outside-writes", Value("HOW", .choice(["capture", "refuse", "ignore"])), .outside,
      "files written outside the mount: capture, refuse, ignore", variable: true
    ) { invocation, text throws(UsageError) in
      invocation.options.outsideWrites = try choice(
        text, [("capture", .capture), ("refuse", .refuse), ("ignore", .ignore)])
    },
    flag("allow-network", nil, .outside, "store although the command connected to the network") {
      $0.options.allowNetwork = true
    },
  ]

  private static let command: [Option] = [
    value(
      "timeout", Value("DURATION"), .command, "end the command and all that it has started after this time; 124",
      variable: true
    ) { invocation, text throws(UsageError) in
      let limit = try duration(text)
      if limit == 0 { throw UsageError("no time at all") }
      invocation.timeLimit = limit
    },
    value("retries", Value("N"), .command, "run the command up to N times more while it fails", variable: true) {
      invocation, text throws(UsageError) in invocation.retries = try count(text)
    },
    flag("no-pty", nil, .command, "no terminals for the command's output, though acache's goes to one") {
      $0.withoutTerminals = true
    },
    flag("no-stdin", "n", .command, "the command reads from /dev/null", variable: false) { $0.withoutInput = true },
  ]

  private static let messages: [Option] = [
    flag("verbose", "v", .messages, "say what the cache did, and why not") { $0.options.verbose = true },
    flag("quiet", "q", .messages, "say nothing, not even that there is no cache to use") { $0.quiet = true },
    flag("explain", nil, .messages, "say why the command has to run") { $0.options.explain = true },
    value("report", Value("FILE", .file), .messages, "write what was done to FILE as JSON", variable: true) {
      invocation, text throws(UsageError) in invocation.report = try path(text)
    },
    flag("help", "h", .messages, "print this", variable: false) { $0.request = .help },
    flag("version", "V", .messages, "print the version", variable: false) { $0.request = .version },
  ]
}

// MARK: values

extension Option {
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

  private static func path(_ text: [UInt8]) throws(UsageError) -> FilePath {
    if text.isEmpty { throw UsageError("no path: it is empty") }
    return FilePath(text)
  }

  /// In nanoseconds.
  private static func duration(_ text: [UInt8]) throws(UsageError) -> Int64 {
    guard let value = Quantity.nanoseconds(String(decoding: text, as: UTF8.self)) else {
      throw UsageError("no duration such as 500ms, 30s, 5m, 2h or 7d")
    }
    return value
  }

  private static func count(_ text: [UInt8]) throws(UsageError) -> Int {
    guard let value = Int(String(decoding: text, as: UTF8.self)), (0...1_000_000).contains(value) else {
      throw UsageError("no number of times such as 3")
    }
    return value
  }

  private static func choice<Value>(_ text: [UInt8], _ values: [(String, Value)]) throws(UsageError) -> Value {
    for (name, value) in values where name.utf8.elementsEqual(text) { return value }
    throw UsageError("none of \(values.map(\.0).joined(separator: ", "))")
  }

  static func expression(_ text: [UInt8]) throws(UsageError) -> RegularExpression {
    do throws(RegularExpression.Invalid) { return try RegularExpression(text) } catch {
      throw UsageError("no extended regular expression (\(error.reason))")
    }
  }
}
