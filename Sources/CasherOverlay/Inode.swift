import CFuse
import CLinux
import CasherSystem
import Glibc
import Synchronization

/// A file of lower, shared by all views: its identity, how to reach it, and who has it open.
///
/// The inode is reached through an O_PATH descriptor that is opened when it is first needed, by the directory and name
/// it was found under, and given back when many others are needed more (see `DescriptorPool`).
public final class Inode: Sendable {
  struct State {
    var descriptor: Int32 = -1
    /// Users of the descriptor right now: it is not given back under them.
    var users = 0
    /// Without a name, or the root: what is given back could not be had again.
    var mustKeep = false
    var parent: Inode?
    var name = FilePath([])
    /// Open handles in all views.
    var handles = 0
    var writableHandles = 0
    /// The id of the registered backing file; 0 when there is none.
    var backing: Int32 = 0
    /// Nodes of all views, and lookups under way that may become one. Changed under the table's lock.
    var nodes = 0
  }

  public let key: InodeKey
  let state: Mutex<State>
  private let pool: DescriptorPool

  init(key: InodeKey, parent: Inode?, name: FilePath, pool: DescriptorPool) {
    self.key = key
    self.pool = pool
    var state = State()
    state.parent = parent
    state.name = name
    self.state = Mutex(state)
  }

  /// For the root, which keeps its descriptor.
  init(root descriptor: FileDescriptor, key: InodeKey, pool: DescriptorPool) {
    self.key = key
    self.pool = pool
    var state = State()
    state.descriptor = descriptor.rawValue
    state.mustKeep = true
    self.state = Mutex(state)
  }

  deinit {
    state.withLock { state in
      if state.backing > 0 { _ = casher_fuse_backing_close(pool.device, state.backing) }
      if state.descriptor >= 0 {
        _ = Glibc.close(state.descriptor)
        pool.closed()
      }
    }
  }

  /// Handles open for writing, in all views; one counts until its RELEASE has come.
  public var writableHandles: Int { state.withLock { $0.writableHandles } }

  /// Calls `body` with an O_PATH descriptor that stays open for the call. ESTALE when the name that the inode was found
  /// under stands for another file now.
  public func withDescriptor<Result>(_ body: (FileDescriptor) throws(Errno) -> Result) throws(Errno) -> Result {
    let descriptor = try acquire()
    defer { release() }
    return try body(FileDescriptor(rawValue: descriptor))
  }

  /// What lower says of it now.
  public func status() throws(Errno) -> FileStatus {
    let reach = state.withLock { state -> (Inode, FilePath)? in
      guard state.descriptor < 0, let parent = state.parent else { return nil }
      return (parent, state.name)
    }
    if let (parent, name) = reach {
      let status = try parent.withDescriptor { directory throws(Errno) in try directory.status(of: name) }
      if status.key == key { return status }
      throw .stale
    }
    return try withDescriptor { descriptor throws(Errno) in try descriptor.status() }
  }

  /// A descriptor of lower's file, open for reading, which the caller closes.
  public func openForReading() throws(Errno) -> FileDescriptor {
    try withDescriptor { descriptor throws(Errno) in try descriptor.reopen(O_RDONLY | O_NONBLOCK | O_NOCTTY) }
  }

  // MARK: names

  /// The inode was found under this name.
  func located(_ parent: Inode, _ name: FilePath) {
    state.withLock { state in
      guard !state.mustKeep else { return }
      state.parent = parent
      state.name = name
    }
  }

  /// The last name is about to go: whoever still has the inode open must be able to reach it without.
  func keepWithoutName() {
    guard (try? acquire()) != nil else { return }
    state.withLock {
      $0.mustKeep = true
      $0.users -= 1
    }
  }

  // MARK: the descriptor

  private func acquire() throws(Errno) -> Int32 {
    let known = state.withLock { state -> Int32 in
      if state.descriptor >= 0 { state.users += 1 }
      return state.descriptor
    }
    if known >= 0 { return known }
    let opened = try open()
    let (descriptor, isSpare) = state.withLock { state -> (Int32, Bool) in
      state.users += 1
      if state.descriptor >= 0 { return (state.descriptor, true) }
      state.descriptor = opened
      return (opened, false)
    }
    if isSpare { _ = Glibc.close(opened) } else { pool.opened(self) }
    return descriptor
  }

  private func release() { state.withLock { $0.users -= 1 } }

  private func open() throws(Errno) -> Int32 {
    let (parent, name) = state.withLock { ($0.parent, $0.name) }
    guard let parent else { throw .stale }
    let descriptor = try parent.withDescriptor { directory throws(Errno) in
      try directory.open(name, Int32(CASHER_O_PATH) | O_NOFOLLOW)
    }
    do throws(Errno) {
      if try descriptor.status().key == key { return descriptor.rawValue }
    } catch {
      descriptor.close()
      throw error
    }
    descriptor.close()
    throw .stale
  }

  /// Gives the descriptor back when nobody needs it to be this one; false when it has to stay.
  func giveBackDescriptor() -> Bool {
    let descriptor = state.withLock { state -> Int32 in
      guard state.users == 0, !state.mustKeep, state.handles == 0, state.parent != nil, state.descriptor >= 0 else {
        return -1
      }
      if state.backing > 0 {
        _ = casher_fuse_backing_close(pool.device, state.backing)
        state.backing = 0
      }
      defer { state.descriptor = -1 }
      return state.descriptor
    }
    guard descriptor >= 0 else { return false }
    _ = Glibc.close(descriptor)
    return true
  }
}

/// Keeps the number of descriptors of lower's files below what the process may have open.
final class DescriptorPool: Sendable {
  private struct State {
    var count = 0
    /// Inodes with descriptors, oldest first; those that have gone since are passed over.
    var queue: [Weak] = []
    var head = 0
  }

  private struct Weak { weak var inode: Inode? }

  private let state = Mutex(State())
  private let limit: Int
  private let deviceNumber = Atomic<Int32>(-1)

  init(limit: Int) { self.limit = max(limit, 16) }

  /// The descriptor of /dev/fuse, on which backing files are registered.
  var device: Int32 {
    get { deviceNumber.load(ordering: .relaxed) }
    set { deviceNumber.store(newValue, ordering: .relaxed) }
  }

  var count: Int { state.withLock { $0.count } }

  func opened(_ inode: Inode) {
    let candidates = state.withLock { state -> [Inode] in
      state.count += 1
      state.queue.append(Weak(inode: inode))
      var result: [Inode] = []
      var tries = 0
      while state.count - result.count > limit, tries < 64, state.head < state.queue.count {
        tries += 1
        if let oldest = state.queue[state.head].inode, oldest !== inode { result.append(oldest) }
        state.head += 1
      }
      if state.head > 4096, state.head * 2 > state.queue.count {
        state.queue.removeFirst(state.head)
        state.head = 0
      }
      return result
    }
    for candidate in candidates {
      let isGivenBack = candidate.giveBackDescriptor()
      state.withLock { state in
        if isGivenBack { state.count -= 1 } else { state.queue.append(Weak(inode: candidate)) }
      }
    }
  }

  func closed() { state.withLock { $0.count -= 1 } }
}

/// The inodes that any view has a node of.
final class InodeTable: Sendable {
  let pool: DescriptorPool
  private let inodes = Mutex<[InodeKey: Inode]>([:])

  init(pool: DescriptorPool) { self.pool = pool }

  var count: Int { inodes.withLock { $0.count } }

  func inode(of key: InodeKey) -> Inode? { inodes.withLock { $0[key] } }

  /// The inode of a file that was found under this name, held until `release`.
  func hold(_ key: InodeKey, in parent: Inode, _ name: FilePath) -> Inode {
    inodes.withLock { inodes in
      let inode: Inode
      if let known = inodes[key] {
        inode = known
      } else {
        inode = Inode(key: key, parent: parent, name: name, pool: pool)
        inodes[key] = inode
      }
      inode.state.withLock { $0.nodes += 1 }
      return inode
    }
  }

  func release(_ inode: Inode) {
    let dead = inodes.withLock { inodes -> Inode? in
      let isLast = inode.state.withLock { state -> Bool in
        state.nodes -= 1
        return state.nodes == 0
      }
      guard isLast, inodes[inode.key] === inode else { return nil }
      return inodes.removeValue(forKey: inode.key)
    }
    _ = dead  // let go outside the lock: closing takes time
  }

  /// The file has no name any more: its number may come to stand for another.
  func retire(_ inode: Inode) {
    inodes.withLock { inodes in
      if inodes[inode.key] === inode { inodes[inode.key] = nil }
    }
  }
}
