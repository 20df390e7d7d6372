import CLinux
import CasherOverlay
import CasherRecord
import CasherSystem
import Glibc
import Synchronization

/// Compares what a run depended on with what is there now.
///
/// Every path is looked at. What was seen there when it last had the run's value (`Glimpse`) spares reading and digesting
/// it again, never the look.
struct InputComparison: Sendable {
  private let record: RunRecord
  /// What was seen before; may be empty.
  private let known: [Glimpse?]
  private let tree: Tree
  private let digester: FileDigester
  /// When it began, nanoseconds since 1970: before anything was looked at.
  private let began = Clock.now()

  struct Findings: Sendable {
    /// An observation that has another value now; nil when all have the run's.
    var difference: Int?
    /// What was newly seen of observations that hold.
    var glimpses: [(Int, Glimpse)] = []
  }

  /// From so many observations on a second thread takes half of them.
  private static let many = 2000

  init(_ record: RunRecord, _ known: [Glimpse?], _ tree: Tree, _ digester: FileDigester) {
    self.record = record
    self.known = known
    self.tree = tree
    self.digester = digester
  }

  func run() -> Findings {
    let count = record.observations.count
    let isOver = Flag()
    guard count >= InputComparison.many else { return compare(0..<count, isOver) }
    let other = Monitor<Findings?>(nil)
    let half = count / 2
    do throws(Errno) {
      try SystemThread.start { [self] in
        let findings = compare(half..<count, isOver)
        other.update { $0 = findings }
      }
    } catch { return compare(0..<count, isOver) }
    var findings = compare(0..<half, isOver)
    let rest = other.wait { $0 } ?? Findings()
    findings.difference = findings.difference ?? rest.difference
    findings.glimpses += rest.glimpses
    return findings
  }

  /// Set when a difference was found, so that the other thread need not go on.
  private final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .relaxed) }
    func set() { value.store(true, ordering: .relaxed) }
  }

  private func compare(_ range: Range<Int>, _ isOver: Flag) -> Findings {
    let reader = TreeReader(tree)
    var findings = Findings()
    for index in range {
      if isOver.isSet { return findings }
      if holds(index, reader, &findings) { continue }
      findings.difference = index
      isOver.set()
      return findings
    }
    return findings
  }

  private func holds(_ index: Int, _ reader: TreeReader, _ findings: inout Findings) -> Bool {
    let observation = record.observations[index]
    switch observation.facet {
    case .entry: return entryHolds(index, observation, following: false, reader, &findings)
    case .target: return entryHolds(index, observation, following: true, reader, &findings)
    case .listing, .matching: return listingHolds(index, observation, reader, &findings)
    default: return Evaluator.evaluate(observation, reader, digester) == record.values[index]
    }
  }

  private func wasSeen(_ glimpse: Glimpse, _ index: Int) -> Bool { index < known.count && known[index] == glimpse }

  // MARK: files

  private func entryHolds(
    _ index: Int, _ observation: Observation, following: Bool, _ reader: TreeReader, _ findings: inout Findings
  ) -> Bool {
    let status: FileStatus?
    do throws(Errno) { status = try reader.status(of: observation.path, following: following) } catch {
      return record.values[index] == .unreadable(error.rawValue)
    }
    guard let status else { return record.values[index] == .absent }
    if status.type == .directory { return record.values[index] == .directory(Protection(status)) }
    guard status.type == .regular, !status.key.isPlaced else {
      return Evaluator.evaluate(observation, reader, digester) == record.values[index]
    }
    let glimpse = Glimpse(status)
    let isWritten = digester.isBeingWritten(status.key)
    if !isWritten, wasSeen(glimpse, index) { return true }
    guard Evaluator.evaluate(observation, reader, digester) == record.values[index] else { return false }
    if !isWritten, glimpse.isSettled(at: began),
      let after = try? reader.status(of: observation.path, following: following), Glimpse(after) == glimpse
    {
      findings.glimpses.append((index, glimpse))
    }
    return true
  }

  // MARK: directories

  private func listingHolds(
    _ index: Int, _ observation: Observation, _ reader: TreeReader, _ findings: inout Findings
  ) -> Bool {
    let glimpse = glimpseOfDirectory(observation)
    if let glimpse, wasSeen(glimpse, index) { return true }
    guard Evaluator.evaluate(observation, reader, digester) == record.values[index] else { return false }
    if let glimpse, glimpse.isSettled(at: began), glimpseOfDirectory(observation) == glimpse {
      findings.glimpses.append((index, glimpse))
    }
    return true
  }

  /// Nil where a directory's times do not tell of every change of its names: where files are placed in it, and on
  /// filesystems that are not known to keep such times.
  private func glimpseOfDirectory(_ observation: Observation) -> Glimpse? {
    let flags = Int32(CASHER_O_PATH) | O_DIRECTORY | (observation.isInside ? O_NOFOLLOW : 0)
    return try? tree.with(observation.path) { base, rest throws(Errno) -> Glimpse? in
      let directory = try base.open(rest, flags)
      defer { directory.close() }
      guard Filesystems.keepDirectoryTimes(directory) else { return nil }
      if observation.isInside, !tree.placements.isEmpty,
        tree.placements.hasFiles(in: try DirectoryKey(of: directory))
      {
        return nil
      }
      return Glimpse(try directory.status())
    }
  }
}

/// Filesystems by what is known of them.
private enum Filesystems {
  /// Magic numbers (statfs(2)) of ext2 to ext4, XFS, Btrfs, tmpfs and F2FS: local ones that move a directory's times
  /// with every change of its names.
  private static let reliable: Set<Int> = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010]

  static func keepDirectoryTimes(_ directory: FileDescriptor) -> Bool {
    reliable.contains(casher_filesystem_type(directory.rawValue))
  }
}
