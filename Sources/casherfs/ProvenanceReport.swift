import CasherRecord
import CasherStore
import CasherSystem

/// Where a file comes from, as text and as JSON.
struct ProvenanceReport {
  private let provenance: Provenance
  /// Inputs that were read, those inside the mount first; all that were observed when asked for.
  private var inputs: [Input] = []
  /// How many more there are, and how many facts besides that are no content.
  private var (left, others) = (0, 0)

  private struct Input {
    var observation: Observation
    var value: Value
    /// The run that made the file, of files in the mount.
    var maker: StoredRun?
  }

  /// Inputs that are listed by themselves: files in the mount, and others.
  private static let limit = 20
  private static let limitOutside = 5

  init(_ provenance: Provenance, in store: Store, all: Bool) throws(StoreError) {
    self.provenance = provenance
    guard let made = ProvenanceReport.made(provenance) else { return }
    let facts = ProvenanceReport.facts(made.record)
    let read = all ? facts : facts.filter { ProvenanceReport.isRead($0.value) }
    let inside = read.filter(\.observation.isInside)
    var outside = read.filter { !$0.observation.isInside }
    if !all {
      // The programs that ran tell more than what they are linked with.
      outside = outside.filter(ProvenanceReport.isProgram) + outside.filter { !ProvenanceReport.isProgram($0) }
    }
    inputs =
      all
      ? inside + outside
      : Array(inside.prefix(ProvenanceReport.limit)) + outside.prefix(ProvenanceReport.limitOutside)
    left = read.count - inputs.count
    others = facts.count - read.count
    for index in inputs.indices where inputs[index].observation.isInside {
      guard case .file(let digest, _) = inputs[index].value else { continue }
      let path = RunPaths.absolute(inputs[index].observation.path, in: made.run)
      let maker = try LineageGraph.maker(of: [path], digest, store)
      inputs[index].maker = maker?.id == made.run.id ? nil : maker
    }
  }

  /// What is told of: the run that made the file, else the one that made the same elsewhere.
  private static func made(_ provenance: Provenance) -> Provenance.Made? {
    switch provenance.origin {
    case .run(let made): made
    case .forgotten: nil
    case nil: provenance.elsewhere?.made
    }
  }

  private static func facts(_ record: RunRecord) -> [Input] {
    zip(record.observations, record.values).map { Input(observation: $0, value: $1) }
      + record.conditions.filter { $0.role == .decisive }.map { Input(observation: $0.observation, value: $0.before) }
  }

  private static func isProgram(_ input: Input) -> Bool {
    input.observation.path.parent.lastComponent == "bin" || input.observation.path.parent.lastComponent == "sbin"
  }

  /// Whether it is something that the command read.
  private static func isRead(_ value: Value) -> Bool {
    switch value {
    case .file, .symlink, .listing, .stamp: true
    default: false
    }
  }

  // MARK: text

  var text: String {
    var lines = [headline]
    func field(_ name: String, _ value: String) { lines.append("\(Help.pad(name, to: 10))  \(value)") }
    switch provenance.origin {
    case .forgotten(let maker, let result, let freeze):
      field("run", "\(maker.run.hexadecimal), no longer stored")
      field("command", Style.bold("\(FilePath(maker.command))"))
      field("directory", "\(freeze.mount.appending(maker.directory))")
      field("ran", time(maker.created))
      if case .file(let digest, let size) = result.content { field("left", words(digest, size, result.permissions)) }
      field("known from", "freeze \(freeze.id), \(time(freeze.created))")
    case .run, nil:
      guard let made = ProvenanceReport.made(provenance) else { break }
      let run = made.run
      field("run", run.id.hexadecimal)
      field("command", Style.bold("\(FilePath(run.command))"))
      field("directory", "\(run.mount.appending(run.directory))")
      field("ran", "\(time(run.created)), took \(Quantity.duration(run.duration))")
      if run.hits > 0 {
        field("replayed", "\(RunText.count(run.hits, "time")), last \(Quantity.age(Clock.now() &- run.lastUsed)) ago")
      }
      for outer in provenance.around { field("part of", "\(RunText.short(outer.id))  \(FilePath(outer.command))") }
      field("left", RunJSON.words(made.output))
      lines += inputLines
    }
    return lines.joined(separator: "\n")
  }

  private var headline: String {
    let path = provenance.path
    if provenance.origin == nil, let elsewhere = provenance.elsewhere {
      return "\(path): no run left this, but the same content was made as \(elsewhere.path)"
    }
    var line: String
    switch provenance.state {
    case .same: line = "\(path): as the run left it"
    case .gone:
      line = "\(path): gone"
      if let made = ProvenanceReport.made(provenance), case .removed = made.output.content {
        line = "\(path): removed by the run"
      }
    case .changed: line = "\(path): changed since the run"
    }
    if case .file(let digest, let size, let mode) = provenance.present, provenance.state == .changed {
      line += ", now \(words(digest, size, mode))"
    } else if let mode = changedMode {
      line += ", but for its mode, which is \(octal(mode)) now"
    }
    if let elsewhere = provenance.elsewhere {
      line += "\n\(path): what it is now was made as \(elsewhere.path) by \(RunText.short(elsewhere.made.run.id))"
    }
    return line
  }

  /// The file's mode when it alone is another than the run left.
  private var changedMode: UInt32? {
    guard provenance.state == .same, case .file(_, _, let now) = provenance.present else { return nil }
    let was: UInt32?
    switch provenance.origin {
    case .run(let made): if case .file = made.output.content { was = made.output.permissions } else { was = nil }
    case .forgotten(_, let result, _): was = result.permissions
    case nil: was = nil
    }
    return was == nil || was == now ? nil : now
  }

  private var inputLines: [String] {
    let count = inputs.count + left
    var lines = ["", count == 0 ? "made from nothing that was read" : "made from (\(count)):"]
    let width = min(40, inputs.map { name($0).count }.max() ?? 0)
    for input in inputs {
      let maker = input.maker.map { "  made by \(RunText.short($0.id))  \(FilePath($0.command))" } ?? ""
      lines.append("  \(Help.pad(name(input), to: width))  \(short(input.value))\(maker)")
    }
    if left > 0 { lines.append("  and \(left) more; --all lists them") }
    if others > 0 {
      lines.append("  and \(RunText.count(others, "fact")) besides, such as names that were missing; --all lists them")
    }
    return lines
  }

  private func name(_ input: Input) -> String {
    input.observation.path.isEmpty ? "." : input.observation.path.description
  }

  private func short(_ value: Value) -> String {
    if case .file(let digest, _) = value { return "file \(RunText.short(digest))" }
    return value.description
  }

  private func words(_ digest: Digest, _ size: Int64, _ mode: UInt32) -> String {
    "file \(RunText.short(digest)) \(Quantity.size(size)) mode \(octal(mode))"
  }

  private func time(_ time: Int64) -> String {
    "\(Quantity.time(time)), \(Quantity.age(Clock.now() &- time)) ago"
  }

  private func octal(_ mode: UInt32) -> String { String(mode, radix: 8) }

  // MARK: JSON

  var json: JSON {
    var members: [(String, JSON)] = [
      ("path", .path(provenance.path)),
      ("state", .string(provenance.origin == nil ? "same-content" : provenance.state.rawValue)),
    ]
    if case .file(let digest, let size, let mode) = provenance.present {
      members += [("sha256", .digest(digest)), ("size", .integer(size)), ("mode", .string(octal(mode)))]
    }
    var freezeID: JSON = .null
    switch provenance.origin {
    case .forgotten(let maker, let result, let freeze):
      members += [("stored", .bool(false)), ("left", Freezes.json(result, maker))]
      members.append(
        (
          "run",
          .object([
            ("id", .digest(maker.run)), ("command", .bytes(maker.command)), ("directory", .path(maker.directory)),
            ("mount", .path(freeze.mount)), ("created", .number(Double(maker.created) / 1e9)),
          ])
        ))
      freezeID = .integer(freeze.id)
    case .run, nil:
      guard let made = ProvenanceReport.made(provenance) else { break }
      members += [
        ("stored", .bool(true)), ("left", RunJSON.output(made.output)),
        ("run", .object(RunJSON.members(made.run, made.record))),
      ]
    }
    members.append(("freeze", freezeID))
    members.append(("part_of", .array(provenance.around.map { .digest($0.id) })))
    members.append(("made_from", .array(inputs.map(json))))
    members.append(
      (
        "same_content",
        provenance.elsewhere.map { .object([("path", .path($0.path)), ("run", .digest($0.made.run.id))]) } ?? .null
      ))
    return .object(members)
  }

  private func json(_ input: Input) -> JSON {
    .object([
      ("path", .path(input.observation.path)), ("observed", .string(RunJSON.word(input.observation.facet))),
      ("value", RunJSON.json(input.value)), ("run", input.maker.map { .digest($0.id) } ?? .null),
    ])
  }
}
