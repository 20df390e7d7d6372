import CasherOverlay
import CasherRecord
import CasherSystem

/// What one run did with paths outside the mount, as the requests of its view of the whole root tell: in the end the same
/// that a tracer of system calls would tell, but with directories and symlinks on the way, and every path without
/// symlinks and `..`.
///
/// Kept by the identity of directories; a path is that of the first use. To be called under the run's lock.
final class OutsideLog {
  typealias Kinds = OutsideAccess.Kinds

  /// One name.
  private final class Use {
    let path: FilePath
    let isIgnored: Bool
    /// Whether something is mounted on it, or on something below it, in the run's namespace: mounts would go with the name.
    let leadsToMount: Bool
    /// Whether it is part of the machine's software (`OutsideLog.software`).
    let isSoftware: Bool
    var observed: Kinds = []
    var produced: Kinds = []
    var identity = OutsideAccess.Identity.unknown
    /// The run has changed what stands there: what it sees from then on is its own.
    var hasChangedContent = false
    var hasChanged = false
    /// Nothing is left of what stood there before.
    var isFresh = false
    var wasRemoved = false
    /// The modification time is one that the run set.
    var hasSetTime = false

    init(path: FilePath, ignored: [FilePath], software: [FilePath]) {
      self.path = path
      isSoftware = software.contains { path.isWithin($0) }
      isIgnored = ignored.contains { path.isWithin($0) }
      leadsToMount = ignored.contains { $0.isWithin(path) }
    }

    func observe(_ kinds: Kinds) {
      if hasChangedContent { return }
      observed.formUnion(hasChanged ? kinds.subtracting(.lookedUp) : kinds)
    }

    /// It was looked up and found. What is made out in the end is of what stands there then, which must be the same.
    func found(_ status: FileStatus) {
      if !hasChanged { identity = identity.joined(with: .one(OutsideLog.identity(of: status))) }
    }

    /// Whether seeing what it is once more would tell nothing new.
    func knows(_ kinds: Kinds) -> Bool {
      if hasChangedContent { return true }
      if kinds.contains(.missing) { return observed.contains(.missing) }
      if kinds.contains(.notFollowed) { return observed.contains(kinds) }
      return !observed.isDisjoint(with: [.lookedUp, .read])
    }
  }

  /// A lookup that the next request of its thread may turn out to have been part of.
  private struct Pending {
    var use: Use
    var kinds: Kinds
  }

  private var uses: [EntryKey: Use] = [:]
  /// Of the directories that names were used in, since the run last renamed or removed anything: another directory may
  /// be given the number of one that is gone.
  private var paths: [InodeKey: FilePath] = [:]
  private var pending: [Int32: [Pending]] = [:]
  private let ignored: [FilePath]

  /// Nothing at or below `ignored` is recorded; on these something else is mounted in the run's namespace.
  init(ignored: [FilePath]) { self.ignored = ignored }

  /// Directories of software. Who looks a file up there does so to use it, and hardly ever to write it: a lookup counts
  /// at once, and the kernel may keep the name. They are those of the machine, and what belongs to the programs that the
  /// run uses from elsewhere (an interpreter in the user's home).
  private var software: [FilePath] = [
    "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/etc", "/opt", "/nix", "/gnu",
  ]

  static func identity(of status: FileStatus) -> OutsideAccess.Identity.Inode {
    OutsideAccess.Identity.Inode(status, markedBy: Identities.linkMark)
  }

  // MARK: names

  private func use(_ name: FilePath, in directory: Node) -> Use {
    let key = EntryKey(directory: directory.inode.key, name: name)
    if let use = uses[key] { return use }
    let use = Use(path: path(of: directory).appending(name), ignored: ignored, software: software)
    uses[key] = use
    return use
  }

  private func path(of directory: Node) -> FilePath {
    if let path = paths[directory.inode.key] { return path }
    let path = FilePath("/").appending(directory.path)
    paths[directory.inode.key] = path
    return path
  }

  /// What the node was last looked up as; the root as the name "" in itself.
  private func use(_ node: Node) -> Use {
    if let parent = node.parent { return use(node.name, in: parent) }
    let key = EntryKey(directory: node.inode.key, name: FilePath([]))
    if let use = uses[key] { return use }
    let use = Use(path: "/", ignored: ignored, software: [])
    uses[key] = use
    return use
  }

  /// Where the program `prefix/bin/name`, or a link to it, has its libraries.
  private func addSoftware(of program: Use) {
    let directory = program.path.parent
    guard !program.isSoftware, directory.lastComponent == "bin", !directory.parent.isEmpty, directory.parent != "/"
    else { return }
    for name in ["bin", "lib", "lib64", "libexec"] as [FilePath] {
      let path = directory.parent.appending(name)
      if !software.contains(path) { software.append(path) }
    }
  }

  // MARK: lookups

  /// Returns how long the kernel may keep the name.
  func lookedUp(_ name: FilePath, in directory: Node, status: FileStatus?, by thread: Int32) -> NameLifetime {
    let use = use(name, in: directory)
    let lifetime = use.leadsToMount ? NameLifetime.ever : .moment
    if use.isIgnored { return lifetime }
    if let status { use.found(status) }
    settle(thread, but: [], keeping: 1)
    let kinds: Kinds
    switch status?.type {
    case nil: kinds = .missing
    case .directory:
      use.observe(.lookedUp)
      return lifetime
    case .symlink:
      kinds = [.lookedUp, .notFollowed]
      addSoftware(of: use)
    default: kinds = .lookedUp
    }
    if let list = pending[thread], list.contains(where: { $0.use === use }) { settle(thread, but: [], keeping: 0) }
    if use.knows(kinds) { return .moment }
    if use.isSoftware {
      use.observe(kinds)
      return .moment
    }
    pending[thread, default: []].append(Pending(use: use, kinds: kinds))
    return .use
  }

  /// The thread's lookups were probes, but that of each name of the operation under way, and the latest `count`.
  private func settle(_ thread: Int32, but operands: [Use], keeping count: Int = 0) {
    guard let list = pending[thread] else { return }
    if count > 0, list.count <= count { return }
    for entry in list.dropLast(count) where !operands.contains(where: { $0 === entry.use }) {
      entry.use.observe(entry.kinds)
    }
    let kept = list.suffix(count)
    pending[thread] = kept.isEmpty ? nil : Array(kept)
  }

  /// A name is about to change: what other threads have seen of it was a probe.
  private func settleOthers(_ use: Use, than thread: Int32) {
    for (other, list) in pending where other != thread {
      for entry in list where entry.use === use { use.observe(entry.kinds) }
    }
  }

  // MARK: operations

  func listed(_ directory: Node) { use(directory).observe(.listed) }

  func attributesRead(_ node: Node) { use(node).observe(.lookedUp) }

  func opened(_ node: Node, _ access: OpenAccess, by thread: Int32) {
    let use = use(node)
    settle(thread, but: [use])
    if access.contains(.truncate) {
      change(use, .truncated, by: thread)
      return
    }
    if access.contains(.read) {
      use.observe(.read)
      if access == .read { addSoftware(of: use) }
    }
    if access.contains(.write) { change(use, .updated, by: thread) }
  }

  func made(_ kind: MadeKind, _ name: FilePath, in directory: Node, by thread: Int32) {
    let use = use(name, in: directory)
    settle(thread, but: [use])
    switch kind {
    case .file(let exclusive, let truncates, let reads, _):
      if exclusive {
        change(use, [.created, .madeNew], by: thread)
      } else if truncates {
        change(use, [.created, .truncated], by: thread)
      } else {
        if reads { use.observe(.read) }
        change(use, [.created, .updated], by: thread)
      }
    case .directory, .symlink, .link, .node: change(use, .madeNew, by: thread)
    }
  }

  func removed(_ name: FilePath, in directory: Node, by thread: Int32) {
    let use = use(name, in: directory)
    settle(thread, but: [use])
    paths = [:]
    change(use, .removed, by: thread)
  }

  func renamed(
    _ name: FilePath, in directory: Node, to newName: FilePath, in newDirectory: Node, _ manner: RenameManner,
    by thread: Int32
  ) {
    let (source, target) = (use(name, in: directory), use(newName, in: newDirectory))
    paths = [:]
    settle(thread, but: [source, target])
    let (sourceTime, targetTime) = (source.hasSetTime, target.hasSetTime)
    let isExchange = manner == .exchange
    change(source, isExchange ? [.renamedAway, .replaced] : .renamedAway, by: thread)
    change(
      target, isExchange ? [.renamedAway, .replaced] : manner == .new ? [.madeNew, .replaced] : .replaced, by: thread)
    target.hasSetTime = sourceTime
    source.hasSetTime = isExchange && targetTime
  }

  func attributesSet(of node: Node, _ change: AttributeChange, by thread: Int32) {
    let use = use(node)
    settle(thread, but: [use])
    switch change {
    case .size: self.change(use, .updated, by: thread)
    case .permissions, .owner, .extended: self.change(use, .attributesSet, by: thread)
    case .times(let modified):
      self.change(use, .attributesSet, by: thread)
      use.hasSetTime = modified != nil
    }
  }

  private func change(_ use: Use, _ kinds: Kinds, by thread: Int32) {
    if use.isIgnored { return }
    settleOthers(use, than: thread)
    var kinds = kinds
    if use.isFresh { kinds.remove(.updated) }
    if kinds.contains(.madeNew), use.wasRemoved {
      kinds.remove(.madeNew)
      kinds.insert(.created)
    }
    use.produced.formUnion(kinds)
    use.hasChanged = true
    if kinds == .attributesSet { return }
    use.hasChangedContent = true
    use.hasSetTime = false
    if !kinds.isDisjoint(with: [.truncated, .madeNew, .removed, .renamedAway, .replaced]) { use.isFresh = true }
    if !kinds.isDisjoint(with: [.removed, .renamedAway]) { use.wasRemoved = true }
  }

  // MARK: the end

  /// What was done with each path, sorted by path.
  func accesses() -> [OutsideAccess] {
    for thread in Array(pending.keys) { settle(thread, but: []) }
    // Of the root itself there is no lookup.
    var result: [FilePath: OutsideAccess] = ["/": OutsideAccess(path: "/", observed: .lookedUp)]
    for use in uses.values where !use.isIgnored && !(use.observed.isEmpty && use.produced.isEmpty) {
      var produced = use.produced
      if use.hasSetTime { produced.insert(.timeSet) }
      var access = result[use.path] ?? OutsideAccess(path: use.path)
      access.observed.formUnion(use.observed)
      access.produced.formUnion(produced)
      access.identity = access.identity.joined(with: use.identity)
      result[use.path] = access
    }
    return result.values.sorted { $0.path < $1.path }
  }
}
