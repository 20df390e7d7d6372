import CasherSystem

/// Which fact about a path a run depended on.
public enum Facet: UInt8, Sendable, Hashable, CaseIterable {
  /// Everything a lookup and an open can tell: type, permission bits, content or link target; or that nothing is there.
  case entry = 1
  /// The names in a directory and their types.
  case listing
  /// Only what kind of thing it is: what removing it depends on.
  case kind
  /// What creating or truncating a file depends on: absent, or a regular file's owner, permission bits, single link.
  case ownership
  /// What renaming something onto the name depends on: whether a directory is there.
  case replaceable
  /// A Python bytecode cache, which Python itself checks against its source before use.
  case bytecode
  /// The extended attributes of the user namespace.
  case attributes
  /// Size and modification time: stand for the content of a large file that was only looked up.
  case stamp
  /// As `entry`, of what a symlink in the last place leads to; how paths outside the mount are observed.
  case target
  /// Which of the paths in `except` are further names of the same file.
  case identity
  /// As `listing`, of directories and of names that an extended regular expression, the first in `except`, is found in.
  case matching
}

/// Who owns a thing, and who may do what with it.
public struct Protection: Hashable, Sendable {
  /// 07777.
  public var permissions: UInt32
  public var user: UInt32
  public var group: UInt32
  /// The number of names of a regular file, where it counts: several of them let a command see that two are one.
  public var links: UInt32

  public init(permissions: UInt32, user: UInt32, group: UInt32, links: UInt32 = 0) {
    self.permissions = permissions
    self.user = user
    self.group = group
    self.links = links
  }

  public init(_ status: FileStatus, countingLinks: Bool = false) {
    self.init(
      permissions: status.permissions, user: status.owner, group: status.group,
      links: countingLinks ? UInt32(clamping: status.links) : 0)
  }
}

/// One path and the fact about it that a run depended on.
///
/// `path` is relative to the mount's root for what is inside (empty: the root itself), absolute for what is outside.
public struct Observation: Hashable, Sendable {
  public var path: FilePath
  public var facet: Facet
  /// For a listing: names that the run itself produced, which are left out on both sides of the comparison. Sorted.
  public var except: [FilePath]

  public init(path: FilePath, facet: Facet, except: [FilePath] = []) {
    self.path = path
    self.facet = facet
    self.except = except
  }

  public var isInside: Bool { !path.isAbsolute }
}

/// What an observation came out as.
public enum Value: Hashable, Sendable {
  case absent
  case file(Digest, Protection)
  /// A symlink has no permission bits of its own.
  case symlink(target: FilePath, user: UInt32, group: UInt32)
  case directory(Protection)
  case special(FileType, Protection, device: UInt64)
  /// Digest of the sorted names and types.
  case listing(Digest)
  case kind(FileType)
  case owned(Protection, singleLink: Bool)
  /// Absent, or something that is not a directory.
  case notDirectory
  /// A bytecode cache that is absent or that Python checks against its source.
  case derived
  case attributes(Digest)
  case stamp(size: Int64, modified: Int64, permissions: UInt32)
  /// The state could not be had: the error number.
  case unreadable(Int32)
}

/// The paths and facets that a run observed, without their values; sorted, so that equal sets are equal bytes.
public struct PathSet: Hashable, Sendable {
  public let observations: [Observation]

  public init(_ observations: some Sequence<Observation>) {
    self.observations = observations.sorted { ($0.path, $0.facet.rawValue) < ($1.path, $1.facet.rawValue) }
  }
}

/// An observation of something that the run then produced itself: it holds as it was before the run, or as the run
/// left it (unless only the state before will do, `--strict`).
public struct Condition: Hashable, Sendable {
  /// What the observation says of what the run did.
  public enum Role: UInt8, Sendable, Hashable {
    /// The run saw the state before and may have decided by it what to do.
    case decisive = 0
    /// The run merely created, overwrote or removed the name, which it would have done in either state.
    case free
    /// Tells only whether the name is exactly as the run left it: what was there before made no difference.
    case left
  }

  public var observation: Observation
  public var before: Value
  public var after: Value
  public var role: Role

  public init(_ observation: Observation, before: Value, after: Value, role: Role) {
    self.observation = observation
    self.before = before
    self.after = after
    self.role = role
  }
}

extension Condition {
  /// Whether all conditions of a run hold together; `value` gives the present value of an observation.
  ///
  /// Either everything that the run may have decided by is as it was before: then it would do the same again. Or
  /// everything is exactly as the run left it. A mixture of the two is a state of which nothing is known: a command that
  /// makes only what is missing would do something else there than it did in either.
  public static func hold(_ conditions: [Condition], strictly: Bool, value: (Observation) -> Value) -> Bool {
    let isAsBefore = conditions.allSatisfy { condition in
      if condition.role == .left { return true }
      let now = value(condition.observation)
      return now == condition.before || (!strictly && condition.role == .free && now == condition.after)
    }
    if isAsBefore || strictly { return isAsBefore }
    return conditions.allSatisfy { value($0.observation) == $0.after }
  }
}

extension Observation: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(path)
    encoder.put(facet.rawValue)
    encoder.put(except)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    let path = try decoder.path()
    guard let facet = Facet(rawValue: try decoder.byte()) else { throw DecodingFailure("unknown facet") }
    self.init(path: path, facet: facet, except: try decoder.paths())
  }
}

extension PathSet: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) { encoder.put(observations) }
  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) { observations = try decoder.list() }
}

extension Condition: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(observation)
    encoder.put(before)
    encoder.put(after)
    encoder.put(role.rawValue)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    let observation: Observation = try decoder.value()
    let (before, after): (Value, Value) = (try decoder.value(), try decoder.value())
    guard let role = Role(rawValue: try decoder.byte()) else { throw DecodingFailure("unknown role of a condition") }
    self.init(observation, before: before, after: after, role: role)
  }
}

extension FileType {
  init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    guard let type = FileType(rawValue: try decoder.byte()) else { throw DecodingFailure("unknown file type") }
    self = type
  }
}

extension Protection: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(permissions)
    encoder.put(user)
    encoder.put(group)
    encoder.put(links)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init(
      permissions: try decoder.uint32(), user: try decoder.uint32(), group: try decoder.uint32(),
      links: try decoder.uint32())
  }
}

extension Value: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    switch self {
    case .absent: encoder.put(0 as UInt8)
    case .file(let digest, let protection):
      encoder.put(1 as UInt8)
      encoder.put(digest)
      encoder.put(protection)
    case .symlink(let target, let user, let group):
      encoder.put(13 as UInt8)
      encoder.put(target)
      encoder.put(user)
      encoder.put(group)
    case .directory(let protection):
      encoder.put(3 as UInt8)
      encoder.put(protection)
    case .special(let type, let protection, let device):
      encoder.put(4 as UInt8)
      encoder.put(type.rawValue)
      encoder.put(protection)
      encoder.put(device)
    case .listing(let digest):
      encoder.put(5 as UInt8)
      encoder.put(digest)
    case .kind(let type):
      encoder.put(6 as UInt8)
      encoder.put(type.rawValue)
    case .owned(let protection, let singleLink):
      encoder.put(7 as UInt8)
      encoder.put(protection)
      encoder.put(singleLink)
    case .notDirectory: encoder.put(8 as UInt8)
    case .derived: encoder.put(9 as UInt8)
    case .attributes(let digest):
      encoder.put(10 as UInt8)
      encoder.put(digest)
    case .stamp(let size, let modified, let permissions):
      encoder.put(11 as UInt8)
      encoder.put(size)
      encoder.put(modified)
      encoder.put(permissions)
    case .unreadable(let error):
      encoder.put(12 as UInt8)
      encoder.put(error)
    }
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    switch try decoder.byte() {
    case 0: self = .absent
    case 1: self = .file(try decoder.digest(), try decoder.value())
    // As it was stored without owners: equal to no symlink, since nobody has this number.
    case 2: self = .symlink(target: try decoder.path(), user: .max, group: .max)
    case 3: self = .directory(try decoder.value())
    case 4:
      self = .special(try FileType(from: &decoder), try decoder.value(), device: try decoder.uint64())
    case 5: self = .listing(try decoder.digest())
    case 6: self = .kind(try FileType(from: &decoder))
    case 7:
      self = .owned(try decoder.value(), singleLink: try decoder.bool())
    case 8: self = .notDirectory
    case 9: self = .derived
    case 10: self = .attributes(try decoder.digest())
    case 11: self = .stamp(size: try decoder.int64(), modified: try decoder.int64(), permissions: try decoder.uint32())
    case 12: self = .unreadable(try decoder.int32())
    case 13: self = .symlink(target: try decoder.path(), user: try decoder.uint32(), group: try decoder.uint32())
    default: throw DecodingFailure("unknown kind of value")
    }
  }
}

extension Value: CustomStringConvertible {
  /// For people, as `--explain` and `casherfs show` print it.
  public var description: String {
    switch self {
    case .absent: "absent"
    case .file(let digest, let protection): "file \(digest.hexadecimal.prefix(12)) \(words(protection))"
    case .symlink(let target, _, _): "symlink to \(target)"
    case .directory(let protection): "directory \(words(protection))"
    case .special(let type, let protection, _): "\(type) \(words(protection))"
    case .listing(let digest): "listing \(digest.hexadecimal.prefix(12))"
    case .kind(let type): "\(type)"
    case .owned(let protection, let singleLink):
      "file \(words(protection))\(singleLink ? "" : " with several links")"
    case .notDirectory: "not a directory"
    case .derived: "bytecode cache"
    case .attributes(let digest): "attributes \(digest.hexadecimal.prefix(12))"
    case .stamp(let size, let modified, _): "\(size) bytes modified at \(modified) ns"
    case .unreadable(let error): "unreadable (\(Errno(rawValue: error)))"
    }
  }

  private func words(_ protection: Protection) -> String {
    "mode \(String(protection.permissions, radix: 8)) owner \(protection.user):\(protection.group)"
      + (protection.links > 1 ? " with \(protection.links) links" : "")
  }
}
