import CasherOverlay
import CasherRecord
import CasherSystem
import Synchronization

/// Where a directory is: what the recorder needs to know of one in order to speak of its names.
enum DirectoryReference {
  case node(Node)
  case located(InodeKey, FilePath)

  var key: InodeKey {
    switch self {
    case .node(let node): node.inode.key
    case .located(let key, _): key
    }
  }

  /// The path it has now, relative to the mount's root.
  var path: FilePath {
    switch self {
    case .node(let node): node.path
    case .located(_, let path): path
    }
  }
}

/// What was found that forbids storing a run; found by its own thread and by those of others.
final class Obstacles: Sendable {
  private let found = Mutex<[Uncacheable]>([])

  func append(_ obstacle: Uncacheable) { found.withLock { $0.append(obstacle) } }

  /// The first of those that count.
  func first(where counts: (Uncacheable) -> Bool) -> Uncacheable? { found.withLock { $0 }.first(where: counts) }
}

/// Everything one run has seen and changed inside the mount, as it happens.
///
/// Kept by the identity of directories, not by path: what is read in a directory that the run has renamed is what was
/// in it before the run, under its path before the run. Every method is called under the run's lock.
final class RunRecorder {
  let tree: Tree
  let digester: FileDigester
  /// A live inode's lower file, opened for reading.
  let openInode: (InodeKey) -> FileDescriptor?

  var entries: [EntryKey: Touched] = [:]
  var byInode: [InodeKey: [Touched]] = [:]
  /// Inodes that came to be during the run.
  var producedInodes: Set<InodeKey> = []
  /// The modification times, in nanoseconds, that the run gave to files, or that files it moved had; who has written since
  /// has changed them again.
  var givenTimes: [InodeKey: Int64] = [:]
  var listings: [InodeKey: Listing] = [:]
  /// Listings of directories that are no more; their inode numbers may stand for others now.
  var pastListings: [Listing] = []
  /// Paths before the run of directories that were there.
  var originalPaths: [InodeKey: FilePath] = [:]
  /// Where the directories that the run made or moved are now.
  var homes: [InodeKey: EntryKey] = [:]
  var born: Set<InodeKey> = []
  var gone: Set<InodeKey> = []
  /// What a request under way removes.
  var removing: [EntryKey: InodeKey] = [:]
  /// Names that a thread has looked up and not used since, oldest first: the next request tells whether the lookup was
  /// part of an operation or a probe.
  var pending: [Int32: [Touched]] = [:]
  /// State before the run of inodes with several links that the run changed through one of them.
  var inodesBefore: [InodeKey: (FileStatus, Digest)] = [:]
  /// By how many names of an inode the run has made more than it has removed.
  var linksAdded: [InodeKey: Int64] = [:]
  /// Inodes from before the run whose content, owner or permission bits it changed where they are.
  var changedInPlace: Set<InodeKey> = []
  /// Observations outside the mount that came with a nested hit.
  var outside: [Observation: Value] = [:]
  var outsideConditions: [Condition] = []
  var outsideOutputs: [Output] = []
  /// The runs that were made or replayed within this one, in that order.
  var innerRuns: [Digest] = []
  let obstacles = Obstacles()
  /// The run has ended: nothing is recorded any more. What is recorded is read without the run's lock from then on, while
  /// other hands' changes are still compared with it.
  private(set) var isFrozen = false
  /// The files that are read into the store since then.
  var captures: CaptureQueue?

  init(tree: Tree, digester: FileDigester, openInode: @escaping (InodeKey) -> FileDescriptor?) {
    self.tree = tree
    self.digester = digester
    self.openInode = openInode
  }

  // MARK: where directories are

  /// The path that a directory had before the run; nil when the run made it.
  func originalPath(of directory: DirectoryReference) -> FilePath? {
    let key = directory.key
    if born.contains(key) { return nil }
    if let path = originalPaths[key] { return path }
    let path: FilePath
    switch directory {
    case .located(_, let now): path = now
    case .node(let node):
      if let parent = node.parent {
        path = originalPath(of: .node(parent))?.appending(node.name) ?? node.path
      } else {
        path = FilePath([])
      }
    }
    originalPaths[key] = path
    return path
  }

  /// The path that a directory has now; nil when it is no more.
  func presentPath(of key: InodeKey) -> FilePath? {
    if gone.contains(key) { return nil }
    if let home = homes[key] { return presentPath(of: home.directory)?.appending(home.name) }
    return originalPaths[key]
  }

  func presentPath(of key: EntryKey) -> FilePath? { presentPath(of: key.directory)?.appending(key.name) }

  /// For messages: some path of the name.
  func anyPath(of touched: Touched) -> FilePath { touched.path ?? presentPath(of: touched.key) ?? touched.key.name }

  // MARK: touching

  /// The record of a name, made from its present state when the run touches it for the first time.
  @discardableResult
  func touch(_ directory: DirectoryReference, _ name: FilePath, status known: FileStatus?? = nil) -> Touched {
    let key = EntryKey(directory: directory.key, name: name)
    if let touched = entries[key] { return touched }
    let now = directory.path.appending(name)
    let original = originalPath(of: directory)
    var status: FileStatus?
    switch known {
    case .some(let given): status = given
    case .none: status = try? tree.status(of: now)
    }
    var before = Before.absent
    var digest: Digest?
    if var present = status {
      if let added = linksAdded[present.key], let links = Int64(exactly: present.links) {
        present.raw.st_nlink = UInt(clamping: links &- added)
      }
      if present.links > 1, let (earlier, earlierDigest) = inodesBefore[present.key] {
        present = earlier
        digest = earlierDigest
      }
      let target = present.type == .symlink ? try? tree.readLink(now) : nil
      before = .present(present, target: target)
    }
    var isChecked = false
    if BytecodeCache.isName(now) {
      isChecked = status.map { BytecodeCache.isChecked(now, $0, in: tree) } ?? true
    }
    let touched = Touched(
      key: key, path: original?.appending(name), before: before, isCheckedBytecode: isChecked)
    touched.digest = digest
    entries[key] = touched
    if let status {
      byInode[status.key, default: []].append(touched)
      if status.type == .directory, originalPaths[status.key] == nil, !born.contains(status.key) {
        originalPaths[status.key] = original?.appending(name) ?? now
      }
    }
    return touched
  }

  /// Notes that the run learned something of the state before; nothing when it made the present state itself.
  func observe(_ touched: Touched, _ facets: Touched.Facets) {
    guard !touched.isProduced else { return }
    // What was read of a file that the run had changed through another of its names is what the run put there.
    touched.facets.formUnion(isChangedElsewhere(touched) && facets.contains(.content) ? .probed : facets)
  }

  /// Whether the run has changed the file through another of its names.
  func isChangedElsewhere(_ touched: Touched) -> Bool {
    guard !touched.isProduced, let status = touched.before.status, status.links > 1 else { return false }
    return inodesBefore[status.key] != nil
  }

  /// Takes the content from before the run, now, because it is about to change or because the run has ended.
  func pin(_ touched: Touched) {
    guard touched.needsContent, touched.digest == nil, case .present(let status, _) = touched.before else { return }
    // A file this large that was only looked up is observed by size and time.
    if touched.facets.isDisjoint(with: [.content]), status.size > RunRecorder.stampThreshold { return }
    do throws(Errno) {
      let (digest, now) = try digester.digest(status) { () throws(Errno) in try self.open(touched, status.key) }
      if now.isSameGeneration(as: status) {
        touched.digest = digest
      } else {
        obstacles.append(.inputChanged(anyPath(of: touched)))
      }
    } catch {
      if error == .noSuchFile || error == .stale {
        obstacles.append(.inputChanged(anyPath(of: touched)))
      } else {
        obstacles.append(.inputUnreadable(anyPath(of: touched), error.rawValue))
      }
    }
  }

  /// Larger files (bytes) that were only looked up are observed by size and time.
  static let stampThreshold: Int64 = 64 << 20

  private func open(_ touched: Touched, _ inode: InodeKey) throws(Errno) -> FileDescriptor {
    if let descriptor = openInode(inode) { return descriptor }
    guard let path = presentPath(of: touched.key) else { throw .noSuchFile }
    return try tree.open(path)
  }

  /// Before the run changes an inode in any way: takes what is needed of every name of it that the run knows.
  func pinNames(of inode: InodeKey) {
    for touched in byInode[inode] ?? [] { pin(touched) }
  }

  /// Before the run changes the content of a file with several links: the other names change with it.
  func keepSharedContent(_ touched: Touched) {
    guard case .present(let status, _) = touched.before, status.type == .regular, status.links > 1,
      inodesBefore[status.key] == nil, !touched.isProduced
    else { return }
    guard let digest = try? digester.digest(status, open: { () throws(Errno) in try self.open(touched, status.key) })
    else { return }
    inodesBefore[status.key] = (status, digest.0)
  }

  /// The run changes an inode that may have been there before it.
  func willChangeInPlace(_ inode: InodeKey) { if !producedInodes.contains(inode) { changedInPlace.insert(inode) } }

  // MARK: telling probes from operations

  /// The thread's lookups but the last one of this name were probes; that one belongs to the operation under way.
  func consume(_ key: EntryKey, by thread: Int32) {
    guard var names = pending.removeValue(forKey: thread) else { return }
    if let last = names.lastIndex(where: { $0.key == key }) { names.remove(at: last) }
    for touched in names { observeProbe(touched, by: thread) }
  }

  /// As `consume`, for an operation on two names.
  func consume(_ first: EntryKey, _ second: EntryKey, by thread: Int32) {
    guard var names = pending.removeValue(forKey: thread) else { return }
    for key in [first, second] {
      if let last = names.lastIndex(where: { $0.key == key }) { names.remove(at: last) }
    }
    for touched in names { observeProbe(touched, by: thread) }
  }

  /// A lookup that was no part of an operation.
  func observeProbe(_ touched: Touched, by thread: Int32) {
    observe(touched, .probed)
    if case .absent = touched.before, !touched.isProduced { touched.missedBy = thread }
  }

  /// Other threads' unused lookups of this name are probes: it is about to change.
  func settleOthers(_ key: EntryKey, than thread: Int32) {
    for (other, names) in pending where other != thread {
      for touched in names where touched.key == key { observeProbe(touched, by: other) }
    }
  }

  /// Every lookup that no operation followed was a probe.
  func settleAll() {
    for (thread, names) in pending { for touched in names { observeProbe(touched, by: thread) } }
    pending.removeAll()
  }

  /// Ends the recording.
  func freeze() {
    settleAll()
    for touched in entries.values where touched.awaitsTruncation || touched.isReadBack {
      touched.facets.insert(.content)
    }
    isFrozen = true
  }

  func isPending(_ touched: Touched) -> Bool {
    pending.values.contains { names in names.contains { $0 === touched } }
  }
}
