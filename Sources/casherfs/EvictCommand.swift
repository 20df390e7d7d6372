import CasherStore
import CasherSystem

extension Command {
  static let evict = Command(
    name: "evict", operands: "", operandCount: 0...0, summary: "make the cache smaller",
    details: """
      Removes the runs that were not used for the longest time until the cache is as small as asked, and what only \
      they needed. Results that a mount shows at the moment stay.
      Sizes are written 500M, 10G or 4GiB, with 1024 to the step; durations 30s, 5m, 2h, 7d or 2w.
      """,
    options: [
      Option("--max-size", value: "SIZE", "remove runs until at most SIZE is stored"),
      Option("--older-than", value: "DURATION", "remove the runs that were last used longer ago than that"),
      Option("--dry-run", short: "-n", "remove nothing, and list what would go"),
      Option.json, Option.cacheDirectory,
    ],
    run: evictRuns)
}

private func evictRuns(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let size = try arguments.value("--max-size", "a size such as 500M or 10G") { Quantity.bytes($0) }
  let age = try arguments.value("--older-than", "a duration such as 12h or 30d") { Quantity.nanoseconds($0) }
  guard size != nil || age != nil else {
    throw Arguments.misused(.evict, "--max-size or --older-than is missing")
  }
  let isDryRun = arguments.has("--dry-run")
  var report = EvictionReport()
  var commands: [Digest: FilePath] = [:]
  if let store = try StoreAccess(arguments).open() {
    defer { store.close() }
    report = try StoreAccess.reading { () throws(StoreError) in
      let result = try store.evict(
        maxBytes: size, olderThan: age.map { Clock.now() &- $0 }, dryRun: isDryRun)
      if isDryRun { for id in result.runs { commands[id] = try store.run(id).map { FilePath($0.command) } } }
      return result
    }
  }
  if arguments.has("--json") {
    Console.print(bytes: Array(json(report, isDryRun: isDryRun).text.utf8))
    return .success
  }
  for id in report.runs where isDryRun { Console.print("\(RunText.short(id))  \(commands[id] ?? "")") }
  let verb = isDryRun ? "would free" : "freed"
  Console.print(
    "\(verb) \(Quantity.size(report.freedBytes)): \(RunText.count(report.runs.count, "run")), "
      + "\(RunText.count(report.blobs, "blob")); \(Quantity.size(report.storedBytes)) \(isDryRun ? "would be" : "are") left"
  )
  if report.pinnedRuns > 0 {
    Console.print("\(RunText.count(report.pinnedRuns, "run")) stay because a mount shows their results")
  }
  return .success
}

private func json(_ report: EvictionReport, isDryRun: Bool) -> JSON {
  .object([
    ("dry_run", .bool(isDryRun)), ("freed_bytes", .integer(report.freedBytes)),
    ("runs", .array(report.runs.map { .digest($0) })), ("blobs", .integer(report.blobs)),
    ("stored_bytes", .integer(report.storedBytes)), ("pinned_runs", .integer(report.pinnedRuns)),
  ])
}
