import CasherDaemon
import CasherSystem
import Glibc

extension Command {
  static let top = Command(
    name: "top", operands: "[DIR]", operandCount: 0...1, summary: "watch what a mount does",
    details: """
      Shows, again and again, how many requests a second the mount of DIR serves, which commands run, and which calls \
      were hits or misses, as they come. Without DIR it is the mount that holds the current directory, or the only one \
      there is. On a terminal the picture is drawn over; elsewhere there is a line for each event and each interval. \
      Ends with the mount, or with Ctrl-C.
      """,
    options: [
      Option("--interval", short: "-i", value: "DURATION", "time between two looks; 1s by default"),
      Option("--number", short: "-n", value: "N", "look N times, then end"),
      Option("--json", "print JSON (docs/json.md), an object on a line for each look"),
    ],
    run: watchMount)
}

/// What has happened between two looks at a mount.
private struct Look {
  var activity: MountActivity
  /// Filesystem requests a second since the look before.
  var rate: Double
  /// Events since the look before, by kind.
  var fresh: [MountEvent.Kind: Int64]
}

private func watchMount(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let interval =
    try arguments.value("--interval", "a duration such as 1s or 500ms") { text in
      Quantity.nanoseconds(text).flatMap { $0 < 10_000_000 ? nil : $0 }
    } ?? 1_000_000_000
  let number = try arguments.value("--number", "a number of looks") { Int($0).flatMap { $0 > 0 ? $0 : nil } }
  let directory = try watched(arguments.operands.first)
  guard let socket = try? DaemonConnection.socket(servingDirectory: directory) else {
    throw Failure(
      .dead, "the daemon of \(directory) does not answer; run 'casherfs unmount \(directory)', then mount again.")
  }
  let draws = Console.isTerminal && Style.canMove && !arguments.has("--json")
  let view: any TopView = if draws { TopScreen(directory) } else { TopLines(isJSON: arguments.has("--json")) }
  var last: (activity: MountActivity, time: Int64)?
  for count in 1... {
    guard let answer = try? DaemonConnection.ask(WatchRequest.text(since: last?.activity.next ?? 0), at: socket) else {
      if count == 1 {
        throw Failure(.dead, "the daemon of \(directory) does not answer.")
      }
      Console.complain("\(directory) is no longer mounted.")
      return .success
    }
    if let refusal = answer.refusal { throw Failure(.dead, "\(directory) cannot be watched: \(refusal).") }
    var activity = MountActivity(answer.pairs)
    let time = Clock.monotonic()
    var look = Look(activity: activity, rate: 0, fresh: [:])
    if let last {
      let seconds = Double(max(1, time - last.time)) / 1e9
      look.rate = Double(max(0, activity.requests - last.activity.requests)) / seconds
      for (kind, value) in activity.counts { look.fresh[kind] = value - (last.activity.counts[kind] ?? 0) }
    } else {
      // What was before the first look is on the screen, and is no news to a log.
      if !draws { look.activity.events = [] }
    }
    guard view.show(look) else { return .success }
    if count == number { return .success }
    activity.events = []
    last = (activity, time)
    var pause = timespec(tv_sec: Int(interval / 1_000_000_000), tv_nsec: Int(interval % 1_000_000_000))
    nanosleep(&pause, nil)
  }
  return .success
}

/// The mount to watch.
private func watched(_ given: FilePath?) throws(Failure) -> FilePath {
  let mounts = try MountedDirectory.all()
  let place = given ?? (try? FilePath.currentDirectory())
  if let path = try? place?.resolved(),
    let mount = mounts.filter({ path.isWithin($0) }).max(by: { $0.bytes.count < $1.bytes.count })
  {
    return mount
  }
  if let given { return try MountedDirectory.find(given) }
  guard let only = mounts.first else {
    throw Failure(.notMounted, "nothing is mounted; 'casherfs mount DIR' mounts a directory.")
  }
  guard mounts.count == 1 else {
    throw Failure(.usage, "several directories are mounted; name one ('casherfs status' lists them).")
  }
  return only
}

/// Where looks are shown; false when nobody reads any more.
private protocol TopView {
  func show(_ look: Look) -> Bool
}

private func write(_ text: String) -> Bool {
  (try? FileDescriptor.standardOutput.writeAll(Array(text.utf8))) != nil
}

private func line(_ event: MountEvent) -> String {
  let word = event.kind == .uncacheable ? "not stored" : event.kind.rawValue
  var text = "\(Help.pad(word, to: 10))  \(event.run)  \(FilePath(event.command))"
  var remarks: [String] = []
  if !event.reason.isEmpty { remarks.append(event.reason) }
  if event.duration > 0 { remarks.append(Quantity.duration(event.duration)) }
  if !remarks.isEmpty { text += "  (\(remarks.joined(separator: ", ")))" }
  return text
}

// MARK: lines

private struct TopLines: TopView {
  let isJSON: Bool

  func show(_ look: Look) -> Bool {
    if isJSON { return write(json(look).line) }
    var text = look.activity.events.map { line($0) + "\n" }.joined()
    let activity = look.activity
    text += "requests_per_second=\(Quantity.decimal(look.rate, places: 0)) running=\(activity.running.count)"
    for (name, kind) in [("hits", MountEvent.Kind.hit), ("misses", .run), ("not_stored", .uncacheable)] {
      text += " \(name)=\(activity.counts[kind] ?? 0)"
    }
    text += " saved_seconds=\(Quantity.decimal(Double(activity.saved) / 1e9, places: 3, trimmed: true))\n"
    return write(text)
  }

  private func json(_ look: Look) -> JSON {
    let activity = look.activity
    return .object([
      ("requests_per_second", .number(look.rate)), ("requests", .integer(activity.requests)),
      ("hits", .integer(activity.counts[.hit] ?? 0)), ("misses", .integer(activity.counts[.run] ?? 0)),
      ("stored", .integer(activity.counts[.stored] ?? 0)),
      ("uncacheable", .integer(activity.counts[.uncacheable] ?? 0)),
      ("saved_seconds", .number(Double(activity.saved) / 1e9)),
      (
        "running",
        .array(
          activity.running.map {
            .object([("command", .string($0.command)), ("elapsed_seconds", .number(Double($0.elapsed) / 1e9))])
          })
      ),
      (
        "events",
        .array(
          activity.events.map {
            .object([
              ("kind", .string($0.kind.rawValue)), ("run", .string($0.run)), ("command", .string($0.command)),
              ("duration_seconds", .number(Double($0.duration) / 1e9)), ("reason", .string($0.reason)),
            ])
          })
      ),
    ])
  }
}

// MARK: screen

/// The picture on a terminal: drawn from the upper left corner each time, so that it does not flicker.
private final class TopScreen: TopView {
  private let directory: FilePath
  private var events: [MountEvent] = []

  init(_ directory: FilePath) { self.directory = directory }

  func show(_ look: Look) -> Bool {
    let size = WindowSize(of: .standardOutput)
    let (rows, columns) = (size?.rows ?? 24, size?.columns ?? 80)
    let activity = look.activity
    func count(_ name: String, _ kind: MountEvent.Kind) -> String {
      let fresh = look.fresh[kind] ?? 0
      return "\(name) \(activity.counts[kind] ?? 0)" + (fresh > 0 ? " (+\(fresh))" : "")
    }
    var lines: [(text: String, style: Style?)] = [
      ("\(directory)", .bold),
      (
        [
          "\(Quantity.decimal(look.rate, places: 0)) requests/s", "\(activity.running.count) running",
          count("hits", .hit), count("misses", .run), count("not stored", .uncacheable),
          "saved \(Quantity.duration(activity.saved))",
        ].joined(separator: "   "), nil
      ), ("", nil),
    ]
    let shownRunning = activity.running.prefix(max(1, (rows - 6) / 2))
    for run in shownRunning {
      lines.append(("\(Help.pad(Quantity.duration(run.elapsed), to: 12))\(FilePath(run.command))", .cyan))
    }
    if activity.running.count > shownRunning.count {
      lines.append(("and \(activity.running.count - shownRunning.count) more", nil))
    }
    lines.append(("", nil))
    events = Array((events + activity.events).suffix(200))
    for event in events.suffix(max(0, rows - lines.count - 1)).reversed() {
      let style: Style? =
        switch event.kind {
        case .hit: .green
        case .uncacheable: .red
        case .run: .yellow
        case .stored: nil
        }
      lines.append((line(event), style))
    }
    let text = lines.prefix(rows - 1).map { text, style in
      let cut = String(text.prefix(columns))
      return "\u{1b}[K" + (style.map { $0(cut) } ?? cut) + "\n"
    }
    return write("\u{1b}[H" + text.joined() + "\u{1b}[J")
  }
}
