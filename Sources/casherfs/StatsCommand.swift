import CasherRecord
import CasherStore
import CasherSystem

extension Command {
  static let stats = Command(
    name: "stats", operands: "", operandCount: 0...0, summary: "show what the cache did, and what it holds",
    details: """
      Shows how many calls of acache were hits, misses or could not be cached, and why; how many runs are stored, \
      what they take and how much may be taken; and the time that hits have saved. Counted since the cache was made, \
      up to the last acache that has returned, and since --zero was last given. By command the calls of the last \
      10,000 commands are known. The report is a page with plots over time that needs nothing else to be opened.
      """,
    options: [
      Option("--zero", short: "-z", "count anew from now on, beside the counts since the cache was made"),
      Option("--commands", short: "-c", "by command, those first that hits have saved most time of"),
      Option("--limit", short: "-n", value: "N", "with --commands, at most N of them; 20 by default, 0 for all"),
      Option("--report", value: "FILE", "write a page with plots of hits and size over time"), Option.json,
      Option.cacheDirectory,
    ], run: showStatistics)
}

private func showStatistics(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let access = try StoreAccess(arguments)
  let limit = try RunSelection.limit(arguments, 20)
  var statistics = Statistics()
  statistics.limitBytes = access.limit
  var commands: [CommandStatistics] = []
  var report = StatisticsReport(directory: access.directory)
  if let store = try access.open() {
    defer { store.close() }
    try StoreAccess.reading { () throws(StoreError) in
      if arguments.has("--zero") { try store.zeroStatistics() }
      statistics = try store.statistics()
      if arguments.has("--commands") { commands = try store.commandStatistics(limit: limit ?? .max) }
      if arguments.has("--report") {
        report.commands = try store.commandStatistics(limit: 20)
        report.hours = try store.activity(by: .hour)
        report.days = try store.activity(by: .day)
      }
    }
  }
  if let path = arguments.path("--report") {
    report.statistics = statistics
    let file = try OutputFile(path)
    do throws(Errno) { try file.descriptor.writeAll(Array(report.page.utf8)) } catch {
      file.discard()
      throw OutputFile.failure(path, error)
    }
    try file.finish()
  }
  if arguments.has("--json") {
    var members = StatisticsJSON.members(statistics, access.directory)
    if arguments.has("--commands") { members.append(("commands", StatisticsJSON.commands(commands))) }
    Console.print(.object(members))
  } else if arguments.has("--commands") {
    Console.print(table(commands))
  } else if arguments.has("--zero") {
    Console.print("counting anew from now on")
  } else if !arguments.has("--report") {
    Console.print(text(statistics, access.directory))
  }
  return .success
}

private func table(_ commands: [CommandStatistics]) -> String {
  let now = Clock.now()
  var table = Table("SAVED", "HITS", "MISSES", "NOT CACHEABLE", "LAST", "COMMAND")
  for command in commands {
    table.add([
      Quantity.duration(command.saved), "\(command.hits)", "\(command.misses)", "\(command.uncacheable)",
      Quantity.age(now &- command.used), FilePath(command.command).description,
    ])
  }
  return table.text
}

private func text(_ statistics: Statistics, _ directory: FilePath) -> String {
  var rows = countRows(statistics.counts)
  let share =
    statistics.limitBytes > 0
    ? Quantity.decimal(100 * Double(statistics.storedBytes) / Double(statistics.limitBytes), places: 1) : "0"
  var content = Quantity.size(statistics.logicalBytes)
  if let ratio = StatisticsJSON.ratio(statistics), ratio >= 1.05 {
    content +=
      ", stored in \(Quantity.size(statistics.blobBytes)) (ratio \(Quantity.decimal(ratio, places: 1, trimmed: true)))"
  }
  rows += [
    ("stored runs", "\(statistics.entries)"),
    ("stored", "\(Quantity.size(statistics.storedBytes)) (\(share) % of \(Quantity.size(statistics.limitBytes)))"),
    ("content", content), ("cache directory", "\(directory)"),
  ]
  if let zeroed = statistics.zeroed, let counts = statistics.sinceZero {
    rows.append(("", ""))
    rows.append(("since", "\(Quantity.time(zeroed)), \(Quantity.age(Clock.now() &- zeroed)) ago"))
    rows += countRows(counts)
  }
  let width = rows.map(\.0.count).max() ?? 0
  return rows.map { $0.0.isEmpty ? "" : "\(Help.pad($0.0, to: width))  \($0.1)" }.joined(separator: "\n")
}

private func countRows(_ counts: EventCounts) -> [(String, String)] {
  let calls = counts.hits + counts.misses
  var hits = "\(counts.hits)"
  if calls > 0 {
    hits += " (\(Quantity.decimal(100 * Double(counts.hits) / Double(calls), places: 0)) % of \(calls) calls)"
  }
  func reasons(_ counts: [String: Int64]) -> [(String, String)] {
    counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { ("  \($0.key)", "\($0.value)") }
  }
  return [("hits", hits), ("misses", "\(counts.misses)")] + reasons(counts.missesByReason)
    + [("not cacheable", "\(counts.uncacheable)")] + reasons(counts.uncacheableByCode)
    + [("errors", "\(counts.errors)"), ("time saved", Quantity.duration(counts.saved))]
}

/// The statistics as JSON.
enum StatisticsJSON {
  static func members(_ statistics: Statistics, _ directory: FilePath) -> [(String, JSON)] {
    [("cache_directory", .path(directory))] + counts(statistics.counts) + [
      ("entries", .integer(statistics.entries)), ("blobs", .integer(statistics.blobs)),
      ("stored_bytes", .integer(statistics.storedBytes)), ("logical_bytes", .integer(statistics.logicalBytes)),
      ("content_stored_bytes", .integer(statistics.blobBytes)),
      ("compression_ratio", ratio(statistics).map { .number($0) } ?? .null),
      ("inflated_bytes", .integer(statistics.inflatedBytes)), ("limit_bytes", .integer(statistics.limitBytes)),
      (
        "since_zero",
        statistics.sinceZero.map { since in
          .object([("time", .number(Double(statistics.zeroed ?? 0) / 1e9))] + counts(since))
        } ?? .null
      ),
    ]
  }

  static func counts(_ counts: EventCounts) -> [(String, JSON)] {
    func object(_ counts: [String: Int64]) -> JSON {
      .object(counts.sorted { $0.key < $1.key }.map { ($0.key, .integer($0.value)) })
    }
    return [
      ("hits", .integer(counts.hits)), ("misses", .integer(counts.misses)),
      ("misses_by_reason", object(counts.missesByReason)), ("uncacheable", .integer(counts.uncacheable)),
      ("uncacheable_by_reason", object(counts.uncacheableByCode)), ("errors", .integer(counts.errors)),
      ("saved_seconds", .number(counts.savedSeconds)),
    ]
  }

  static func commands(_ commands: [CommandStatistics]) -> JSON {
    .array(
      commands.map { command in
        .object([
          ("command", .bytes(command.command)), ("hits", .integer(command.hits)),
          ("misses", .integer(command.misses)), ("uncacheable", .integer(command.uncacheable)),
          ("saved_seconds", .number(Double(command.saved) / 1e9)),
          ("last_used", .number(Double(command.used) / 1e9)),
        ])
      })
  }

  /// How many bytes of content a stored byte stands for; nil when nothing is stored.
  static func ratio(_ statistics: Statistics) -> Double? {
    statistics.blobBytes > 0 ? Double(statistics.logicalBytes) / Double(statistics.blobBytes) : nil
  }
}
