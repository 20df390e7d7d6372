import CasherStore
import CasherSystem

extension Command {
  static let evict = Command(
    name: "evict", operands: "", operandCount: 0...0, summary: "make the cache smaller",
    details: """
      Removes the runs that were not used for the longest time until the cache is as small as asked, and what only \
      they needed. With --command or --tag only such runs go, and all of them when neither a size nor an age is given. \
      Results that a mount shows at the moment stay.
      Sizes are written 500M, 10G or 4GiB, with 1024 to the step; durations 30s, 5m, 2h, 7d or 2w.
      """,
    options: [
      Option("--max-size", value: "SIZE", "remove runs until at most SIZE is stored"),
      Option("--until-free", value: "SIZE", "remove runs until SIZE is free on the cache's filesystem"),
      Option("--older-than", value: "DURATION", "remove the runs that were last used longer ago than that"),
      RunSelection.tag, RunSelection.command,
      Option("--dry-run", short: "-n", "remove nothing, and list what would go"), Option.json, Option.cacheDirectory,
    ],
    run: evictRuns)
}

private func evictRuns(_ arguments: Arguments) throws(Failure) -> ExitCode {
  var request = EvictionRequest()
  request.maxBytes = try arguments.value("--max-size", "a size such as 500M or 10G") { Quantity.bytes($0) }
  request.minFree = try arguments.value("--until-free", "a size such as 500M or 10G") { Quantity.bytes($0) }
  request.olderThan = try arguments.value("--older-than", "a duration such as 12h or 30d") { Quantity.nanoseconds($0) }
    .map { Clock.now() &- $0 }
  request.tag = try RunSelection.tag(arguments)
  request.command = arguments.text(RunSelection.command.name)
  guard request != EvictionRequest() else {
    throw Arguments.misused(.evict, "say what to remove: --max-size, --until-free, --older-than, --tag or --command")
  }
  let isDryRun = arguments.has("--dry-run")
  var report = EvictionReport()
  report.isDryRun = isDryRun
  var commands: [Digest: FilePath] = [:]
  if let store = try StoreAccess(arguments).open() {
    defer { store.close() }
    report = try StoreAccess.reading { () throws(StoreError) in
      let result = try store.evict(request, dryRun: isDryRun)
      if isDryRun { for id in result.runs { commands[id] = try store.run(id).map { FilePath($0.command) } } }
      return result
    }
  }
  if arguments.has("--json") {
    Console.print(json(report))
  } else {
    for id in report.runs where isDryRun { Console.print("\(RunText.short(id))  \(commands[id] ?? "")") }
    Console.print(text(report))
  }
  if !report.isReached { Console.complain(shortfall(report, request)) }
  return .success
}

private func text(_ report: EvictionReport) -> String {
  var text =
    "\(report.isDryRun ? "would free" : "freed") \(Quantity.size(report.freedBytes)): "
    + "\(RunText.count(report.runs.count, "run")), \(RunText.count(report.blobs, "blob")); "
    + "\(Quantity.size(report.storedBytes)) \(report.isDryRun ? "would be" : "are") left"
  if report.pinnedRuns > 0 {
    text += "\n\(RunText.count(report.pinnedRuns, "run")) stay because a mount shows their results"
  }
  return text
}

/// Why what was asked for could not be reached.
private func shortfall(_ report: EvictionReport, _ request: EvictionRequest) -> String {
  let goal =
    request.minFree.map { "there are not \(Quantity.size($0)) free" }
    ?? "more than \(Quantity.size(request.maxBytes ?? 0)) is stored"
  let verb = report.isDryRun ? "would be removed" : "was removed"
  if report.pinnedRuns > 0 || report.pinnedBlobs > 0 {
    return "\(goal) still: \(Quantity.size(report.keptBytes)) (\(RunText.count(report.pinnedRuns, "run")) and "
      + "\(RunText.count(report.pinnedBlobs, "content")) besides) are placed or being captured and were kept; they stay "
      + "until they are ordinary files: unmount, then evict again."
  }
  if request.tag != nil || request.command != nil {
    return "\(goal) still, although every run that was chosen \(verb)."
  }
  if report.keptBytes > 0 {
    return "\(goal) still: \(Quantity.size(report.keptBytes)) are placed or being captured and were kept."
  }
  return "\(goal) still, although everything that could go \(verb)."
}

private func json(_ report: EvictionReport) -> JSON {
  .object([
    ("dry_run", .bool(report.isDryRun)), ("freed_bytes", .integer(report.freedBytes)),
    ("runs", .array(report.runs.map { .digest($0) })), ("blobs", .integer(report.blobs)),
    ("stored_bytes", .integer(report.storedBytes)), ("pinned_runs", .integer(report.pinnedRuns)),
    ("pinned_blobs", .integer(report.pinnedBlobs)), ("kept_bytes", .integer(report.keptBytes)),
    ("reached", .bool(report.isReached)),
  ])
}
