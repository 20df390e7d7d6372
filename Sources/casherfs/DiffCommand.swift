import CasherRecord
import CasherStore
import CasherSystem

extension Command {
  static let diff = Command(
    name: "diff", operands: "RUN RUN", operandCount: 2...2, summary: "show what two stored runs differ in",
    details: """
      Compares the first run with the second: command, directory, environment, exit status, what they read, what they \
      left and what they printed. Texts are shown as a unified diff, of other contents is said that they differ. Of \
      environment variables only names are stored, so only those that differ are named. Exits with 0 when nothing \
      differs, else with 1.
      """,
    options: [
      Option("--brief", short: "-q", "name what differs, and show no texts"), Option.json, Option.cacheDirectory,
    ],
    run: compareRuns)
}

/// Larger texts are not compared line by line, in bytes.
private let textLimit = 8 << 20

private func compareRuns(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let store = try RunReference.openStore(arguments)
  defer { store.close() }
  let difference = try RunDifference(
    try RunReference.find(arguments.operands[0], in: store), try RunReference.find(arguments.operands[1], in: store))
  let report = try DiffReport(difference, StoredContent(store: store), isBrief: arguments.has("--brief"))
  if arguments.has("--json") {
    Console.print(report.json)
  } else if !report.isSame {
    Console.print(bytes: report.text)
  }
  return report.isSame ? .success : .failure
}

/// The differences with the texts that show them.
private struct DiffReport {
  /// How two contents differ.
  enum Content {
    case text([UInt8])
    /// Not text, or too large.
    case opaque
    case notShown
  }

  let difference: RunDifference
  private var outputs: [Content?] = []
  private var streams: [(name: String, was: Int64, now: Int64, content: Content)] = []
  private let names: (was: String, now: String)

  init(_ difference: RunDifference, _ content: StoredContent, isBrief: Bool) throws(Failure) {
    self.difference = difference
    names = (RunText.short(difference.was.id), RunText.short(difference.now.id))
    for output in difference.outputs {
      guard let (was, now) = output.contents else {
        outputs.append(nil)
        continue
      }
      if isBrief {
        outputs.append(.notShown)
      } else {
        outputs.append(
          compare(
            try content.bytes(was, limit: Int64(textLimit)), try content.bytes(now, limit: Int64(textLimit)),
            output.path.description))
      }
    }
    let (was, now) = (difference.wasRecord, difference.nowRecord)
    let (wasLength, nowLength) = (RunJSON.streamLengths(was), RunJSON.streamLengths(now))
    if was.transcript == now.transcript { return }
    for (number, name) in [(UInt8(1), "stdout"), (2, "stderr")] {
      let old = try content.stream(number, of: was, limit: textLimit)
      let new = try content.stream(number, of: now, limit: textLimit)
      let lengths = number == 2 ? (wasLength.error, nowLength.error) : (wasLength.output, nowLength.output)
      if old == new, old != nil { continue }
      streams.append((name, lengths.0, lengths.1, isBrief ? .notShown : compare(old, new, name)))
    }
  }

  private func compare(_ was: [UInt8]?, _ now: [UInt8]?, _ name: String) -> Content {
    guard let was, let now, TextDiff.isText(was), TextDiff.isText(now) else { return .opaque }
    return .text(TextDiff(was, now).unified("\(names.was):\(name)", "\(names.now):\(name)"))
  }

  private var commandDiffers: Bool { difference.wasRecord.arguments != difference.nowRecord.arguments }
  private var wasDirectory: FilePath { RunPaths.absolute(difference.was.directory, in: difference.was) }
  private var nowDirectory: FilePath { RunPaths.absolute(difference.now.directory, in: difference.now) }
  private var statusDiffers: Bool { difference.was.exitStatus != difference.now.exitStatus }

  var isSame: Bool {
    !commandDiffers && wasDirectory == nowDirectory && !statusDiffers && difference.environment.isEmpty
      && difference.inputs.isEmpty && difference.outputs.isEmpty && streams.isEmpty
  }

  // MARK: text

  var text: [UInt8] {
    var result: [UInt8] = []
    func line(_ text: String, _ style: Style? = nil) { result += Array(((style.map { $0(text) } ?? text) + "\n").utf8) }
    func pair(_ head: String, _ was: String, _ now: String) {
      line(head + ":", .bold)
      line("- " + was, .red)
      line("+ " + now, .green)
    }
    func show(_ content: Content?) {
      switch content {
      case .text(let diff): result += Style.isOn ? coloured(diff) : diff
      case .opaque: line("  binary or too large to show")
      case .notShown, nil: break
      }
    }
    let (was, now) = (difference.was, difference.now)
    if commandDiffers { pair("command", "\(FilePath(was.command))", "\(FilePath(now.command))") }
    if wasDirectory != nowDirectory { pair("directory", "\(wasDirectory)", "\(nowDirectory)") }
    if statusDiffers { pair("exit status", "\(was.exitStatus)", "\(now.exitStatus)") }
    if !difference.environment.isEmpty {
      line("environment:", .bold)
      for name in difference.environment.removed { line("- \(name)", .red) }
      for name in difference.environment.added { line("+ \(name)", .green) }
      for name in difference.environment.changed { line("  \(name) has another value") }
    }
    if !difference.inputs.isEmpty { line("inputs:", .bold) }
    for input in difference.inputs {
      let what = input.observed == .listing ? "the names in \(name(input.path))" : name(input.path)
      if let was = input.was { line("- \(what): \(was)", .red) }
      if let now = input.now { line("+ \(what): \(now)", .green) }
    }
    if !difference.outputs.isEmpty { line("outputs:", .bold) }
    for (output, content) in zip(difference.outputs, outputs) {
      if let was = output.was { line("- \(name(output.path)): \(was)", .red) }
      if let now = output.now { line("+ \(name(output.path)): \(now)", .green) }
      show(content)
    }
    for stream in streams {
      pair(stream.name, Quantity.size(stream.was), Quantity.size(stream.now))
      show(stream.content)
    }
    return result
  }

  private func name(_ path: FilePath) -> String { path.isEmpty ? "." : path.description }

  private func coloured(_ diff: [UInt8]) -> [UInt8] {
    diff.split(separator: 10, omittingEmptySubsequences: true).flatMap { line in
      let style: Style? =
        switch line.first {
        case UInt8(ascii: "+"): .green
        case UInt8(ascii: "-"): .red
        case UInt8(ascii: "@"): .cyan
        default: nil
        }
      guard let style else { return Array(line) + [10] }
      return Array("\u{1b}[\(style.rawValue)m".utf8) + line + Array("\u{1b}[0m\n".utf8)
    }
  }

  // MARK: JSON

  var json: JSON {
    func change(_ differs: Bool, _ was: JSON, _ now: JSON) -> JSON {
      differs ? .object([("was", was), ("now", now)]) : .null
    }
    func members(_ content: Content?) -> [(String, JSON)] {
      if case .text(let diff) = content { return [("diff", .bytes(diff))] }
      return [("diff", .null)]
    }
    func path(_ path: RunDifference.Path) -> [(String, JSON)] {
      [
        ("path", .path(path.path)), ("was", path.was.map { .string($0) } ?? .null),
        ("now", path.now.map { .string($0) } ?? .null),
      ]
    }
    let (was, now) = (difference.was, difference.now)
    let environment = difference.environment
    return .object([
      ("same", .bool(isSame)), ("runs", .array([.digest(was.id), .digest(now.id)])),
      ("command", change(commandDiffers, .bytes(was.command), .bytes(now.command))),
      ("directory", change(wasDirectory != nowDirectory, .path(wasDirectory), .path(nowDirectory))),
      (
        "exit_status",
        change(statusDiffers, .integer(Int64(was.exitStatus)), .integer(Int64(now.exitStatus)))
      ),
      (
        "environment",
        .object([
          ("removed", .array(environment.removed.map { .path($0) })),
          ("added", .array(environment.added.map { .path($0) })),
          ("changed", .array(environment.changed.map { .path($0) })),
        ])
      ),
      (
        "inputs",
        .array(
          difference.inputs.map { input in
            .object(path(input) + [("observed", input.observed.map { .string(RunJSON.word($0)) } ?? .null)])
          })
      ),
      (
        "outputs",
        .array(zip(difference.outputs, outputs).map { output, content in .object(path(output) + members(content)) })
      ),
      (
        "streams",
        .object(
          streams.map { stream in
            (
              stream.name,
              .object(
                [("was_bytes", .integer(stream.was)), ("now_bytes", .integer(stream.now))] + members(stream.content))
            )
          })
      ),
    ])
  }
}
