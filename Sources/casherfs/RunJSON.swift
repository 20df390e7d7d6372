import CasherRecord
import CasherStore
import CasherSystem

/// A stored run with its record, as JSON and in words.
enum RunJSON {
  static func members(_ run: StoredRun, _ record: RunRecord) -> [(String, JSON)] {
    let lengths = streamLengths(record)
    let inputs =
      zip(record.observations, record.values).map { input($0, $1, own: false) }
      + record.conditions.map { input($0.observation, $0.before, own: true) }
    return RunText.members(run) + [
      ("arguments", .array(record.arguments.map { .bytes($0) })),
      ("environment", .array(record.environmentNames.map { .path($0) })),
      ("stdin_bytes", record.input.flatMap { Int64(exactly: $0.count) }.map { .integer($0) } ?? .null),
      ("stdout_bytes", .integer(lengths.output)), ("stderr_bytes", .integer(lengths.error)),
      ("inputs", .array(inputs)), ("outputs", .array(record.outputs.map(output))),
    ]
  }

  /// Bytes that the run printed on each stream.
  static func streamLengths(_ record: RunRecord) -> (output: Int64, error: Int64) {
    var lengths: (output: Int64, error: Int64) = (0, 0)
    for segment in record.transcript.segments {
      let length = Int64(clamping: segment.length)
      if segment.stream == 2 { lengths.error &+= length } else { lengths.output &+= length }
    }
    return lengths
  }

  /// The stable word for what was observed.
  static func word(_ facet: Facet) -> String {
    switch facet {
    case .entry: "entry"
    case .listing: "listing"
    case .kind: "kind"
    case .ownership: "overwritable"
    case .replaceable: "replaceable"
    case .bytecode: "bytecode"
    case .attributes: "attributes"
    case .stamp: "stamp"
    case .target: "target"
    case .identity: "identity"
    case .matching: "matching"
    }
  }

  static func words(_ output: Output) -> String {
    let mode = "mode \(octal(output.permissions))"
    return switch output.content {
    case .file(let digest, let size, _): "file \(digest.hexadecimal.prefix(12)) \(Quantity.size(size)) \(mode)"
    case .directory: "directory \(mode)"
    case .symlink(let target): "symlink to \(target)"
    case .hardLink(let path): "another name of \(path)"
    case .fifo: "fifo \(mode)"
    case .removed: "removed"
    }
  }

  private static func input(_ observation: Observation, _ value: Value, own: Bool) -> JSON {
    .object([
      ("path", .path(observation.path)), ("observed", .string(word(observation.facet))), ("value", json(value)),
      ("own_output", .bool(own)),
    ])
  }

  static func json(_ value: Value) -> JSON {
    switch value {
    case .absent: .object([("type", .string("absent"))])
    case .file(let digest, let protection):
      .object([("type", .string("file")), ("sha256", .digest(digest))] + members(protection))
    case .symlink(let target, let user, let group):
      .object([
        ("type", .string("symlink")), ("target", .path(target)), ("user", .integer(Int64(user))),
        ("group", .integer(Int64(group))),
      ])
    case .directory(let protection): .object([("type", .string("directory"))] + members(protection))
    case .listing(let digest): .object([("type", .string("listing")), ("sha256", .digest(digest))])
    default: .object([("type", .string("other")), ("text", .string(value.description))])
    }
  }

  private static func members(_ protection: Protection) -> [(String, JSON)] {
    [
      ("mode", .string(octal(protection.permissions))), ("user", .integer(Int64(protection.user))),
      ("group", .integer(Int64(protection.group))),
    ]
  }

  static func output(_ output: Output) -> JSON {
    var members: [(String, JSON)] = [("path", .path(output.path))]
    switch output.content {
    case .file(let digest, let size, _):
      members += [("type", .string("file")), ("sha256", .digest(digest)), ("size", .integer(size))]
    case .directory: members.append(("type", .string("directory")))
    case .symlink(let target): members += [("type", .string("symlink")), ("target", .path(target))]
    case .hardLink(let path): members += [("type", .string("link")), ("of", .path(path))]
    case .fifo: members.append(("type", .string("fifo")))
    case .removed: members.append(("type", .string("removed")))
    }
    if case .removed = output.content { return .object(members) }
    members.append(("mode", .string(octal(output.permissions))))
    return .object(members)
  }

  private static func octal(_ mode: UInt32) -> String { String(mode, radix: 8) }
}
