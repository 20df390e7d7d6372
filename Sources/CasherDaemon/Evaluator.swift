import CasherRecord
import CasherStore
import CasherSystem
import Glibc

/// The values that observations have now.
///
/// One evaluator serves one lookup or one capture: it remembers what it found, so that many path sets which share
/// paths cost each path once.
struct Evaluator {
  let tree: Tree
  let digester: FileDigester
  private let reader: TreeReader
  private var known: [Observation: Value] = [:]

  init(tree: Tree, digester: FileDigester) {
    self.tree = tree
    self.digester = digester
    reader = TreeReader(tree)
  }

  mutating func value(of observation: Observation) -> Value {
    if let value = known[observation] { return value }
    let value = Evaluator.evaluate(observation, reader, digester)
    known[observation] = value
    return value
  }

  /// Lets go of the directories that were looked into; what was found stays.
  func close() { reader.close() }

  static func evaluate(_ observation: Observation, _ tree: Tree, _ digester: FileDigester) -> Value {
    evaluate(observation, TreeReader(tree), digester)
  }

  static func evaluate(_ observation: Observation, _ reader: TreeReader, _ digester: FileDigester) -> Value {
    do throws(Errno) {
      return try read(observation, reader, digester)
    } catch {
      return .unreadable(error.rawValue)
    }
  }

  /// The value of what a path leads to, which has this status.
  static func target(_ path: FilePath, _ status: FileStatus?, _ tree: Tree, _ digester: FileDigester) -> Value {
    do throws(Errno) { return try entry(path, status, tree, digester, following: true) } catch {
      return .unreadable(error.rawValue)
    }
  }

  private static func read(
    _ observation: Observation, _ reader: TreeReader, _ digester: FileDigester
  ) throws(Errno) -> Value {
    let tree = reader.tree
    let path = observation.path
    switch observation.facet {
    case .entry: return try entry(path, try reader.status(of: path), tree, digester, following: false)
    case .target:
      return try entry(path, try reader.status(of: path, following: true), tree, digester, following: true)
    case .listing, .matching:
      do throws(Errno) {
        let entries = try tree.entries(of: path, following: !observation.isInside).map { ($0.name, $0.type) }
        return .listing(listingDigest(entries, of: observation))
      } catch {
        if error == .noSuchFile { return .absent }
        if error == .notDirectory || error == .tooManySymlinks { return .notDirectory }
        throw error
      }
    case .kind:
      guard let status = try reader.status(of: path) else { return .absent }
      return .kind(status.type)
    case .ownership:
      guard let status = try reader.status(of: path) else { return .absent }
      return ownership(status)
    case .replaceable:
      guard let status = try reader.status(of: path), status.type == .directory else { return .notDirectory }
      return .kind(.directory)
    case .bytecode:
      guard let status = try reader.status(of: path) else { return .derived }
      if BytecodeCache.isChecked(path, status, in: tree) { return .derived }
      return try entry(path, status, tree, digester, following: false)
    case .attributes:
      return .attributes(SHA256.digest(of: try ExtendedAttributes.encodedUserAttributes(of: path, in: tree)))
    case .identity:
      guard let status = try tree.status(of: path) else { return .absent }
      var same: [(FilePath, FileType)] = []
      for other in observation.except {
        if let otherStatus = try tree.status(of: other), otherStatus.key == status.key {
          same.append((other, .regular))
        }
      }
      return .listing(listingDigest(same, except: []))
    case .stamp:
      guard let status = try reader.status(of: path, following: path.isAbsolute) else { return .absent }
      guard status.type == .regular else { return try entry(path, status, tree, digester, following: false) }
      return .stamp(size: status.size, modified: status.modified, permissions: status.permissions)
    }
  }

  /// What creating or truncating a file depends on.
  static func ownership(_ status: FileStatus) -> Value {
    status.type == .regular
      ? .owned(Protection(status), singleLink: status.links == 1) : .kind(status.type)
  }

  /// The whole state of what has this status.
  static func entry(
    _ path: FilePath, _ status: FileStatus?, _ tree: Tree, _ digester: FileDigester, following: Bool
  ) throws(Errno) -> Value {
    guard let status else { return .absent }
    switch status.type {
    case .regular:
      let (digest, digested) = try digester.digest(status) { () throws(Errno) in
        try tree.open(path, following: following)
      }
      return .file(digest, Protection(digested, countingLinks: !path.isAbsolute))
    case .symlink:
      return .symlink(target: try tree.readLink(path), user: status.owner, group: status.group)
    case .directory: return .directory(Protection(status))
    default:
      return .special(status.type, Protection(status), device: UInt64(status.raw.st_rdev))
    }
  }

  /// The digest of the names and types that a listing, or a matching, observes.
  static func listingDigest(_ entries: [(FilePath, FileType)], of observation: Observation) -> Digest {
    guard observation.facet == .matching, let pattern = observation.except.first else {
      return listingDigest(entries, except: observation.except)
    }
    let expression = try? RegularExpression(pattern.bytes)
    let matching = entries.filter { $0.1 == .directory || expression?.isFound(in: $0.0.bytes) ?? true }
    return listingDigest(matching, except: Array(observation.except.dropFirst()))
  }

  /// The digest of names and types in byte order, those in `except` (sorted) left out.
  static func listingDigest(_ entries: [(FilePath, FileType)], except: [FilePath]) -> Digest {
    let excluded = Set(except)
    var encoder = ByteEncoder()
    for (name, type) in entries.sorted(by: { $0.0 < $1.0 }) where !excluded.contains(name) {
      encoder.put(name)
      encoder.put(type.rawValue)
    }
    return SHA256.digest(of: encoder.bytes)
  }
}
