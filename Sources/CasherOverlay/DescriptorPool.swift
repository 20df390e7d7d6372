import CasherSystem
import Glibc
import Synchronization

/// The O_PATH descriptors of inodes, and their ids as backing files of the kernel: at most `capacity` of them while
/// none more are in use at once, the least recently used closed first (the clock algorithm).
///
/// A slot never refers back to its inode: the inode knows the slot's number and the ticket it was given. A ticket that
/// no longer matches means that the slot was given to another.
final class DescriptorPool: Sendable {
  fileprivate struct Slot {
    var descriptor: Int32 = -1
    /// 0: not registered; -1: the kernel refused it.
    var backing: Int32 = 0
    var ticket: UInt32 = 0
    var users: UInt32 = 0
    var wasUsed = false
    /// What the file was like when its content was last known to be right, of a placed file's blob.
    var stamp: Stamp?
  }

  /// Any write, truncation or exchange moves one of these.
  fileprivate struct Stamp: Equatable {
    var size: Int64
    var modified: Int64
    var changed: Int64

    init(_ status: FileStatus) { (size, modified, changed) = (status.size, status.modified, status.changed) }
  }

  fileprivate struct State {
    var slots: [Slot] = []
    var free: [Int32] = []
    var hand = 0
    var open = 0
  }

  fileprivate struct Closing {
    var descriptor: Int32
    var backing: Int32
  }

  private let state = Mutex(State())
  private let capacity: Int
  /// Closes an id that `backing(of:register:)` got.
  private let closeBacking: @Sendable (Int32) -> Void

  init(capacity: Int, closeBacking: @escaping @Sendable (Int32) -> Void) {
    self.capacity = max(capacity, 1)
    self.closeBacking = closeBacking
  }

  /// How many descriptors are open now.
  var openCount: Int { state.withLock { $0.open } }

  /// The inode's descriptor, kept open until `release`. Throws ESTALE when the inode cannot be found again.
  func acquire(_ inode: Inode) throws(Errno) -> FileDescriptor {
    switch inode.role {
    case .root: return inode.table.root
    case .viewsDirectory: throw .stale
    case .ordinary: break
    }
    if let descriptor = state.withLock({ $0.use(inode) }) { return FileDescriptor(rawValue: descriptor) }
    return install(try givingWay { () throws(Errno) in try inode.table.reopen(inode) }, for: inode)
  }

  /// Calls `body`, which opens something; where no descriptor is left for it, after having closed some that are not in use.
  func givingWay<Result>(_ body: () throws(Errno) -> Result) throws(Errno) -> Result {
    while true {
      do throws(Errno) { return try body() } catch {
        guard error == Errno(rawValue: EMFILE) || error == Errno(rawValue: ENFILE), shrink() else { throw error }
      }
    }
  }

  /// The inode's descriptor if it is open, kept open until `release`.
  func acquireOpen(_ inode: Inode) -> FileDescriptor? {
    guard inode.role == .ordinary else { return nil }
    return state.withLock { $0.use(inode) }.map { FileDescriptor(rawValue: $0) }
  }

  /// Gives the inode a descriptor, which becomes the pool's; returns the one in use, kept open until `release`.
  func install(_ descriptor: FileDescriptor, for inode: Inode) -> FileDescriptor {
    let stamp = inode.placedFile == nil ? nil : (try? descriptor.status()).map { Stamp($0) }
    let (inUse, closing) = state.withLock { state -> (Int32, Closing?) in
      if let present = state.use(inode) { return (present, Closing(descriptor: descriptor.rawValue, backing: 0)) }
      let (index, evicted) = state.takeSlot(capacity: capacity)
      state.slots[index].descriptor = descriptor.rawValue
      state.slots[index].users = 1
      state.slots[index].wasUsed = true
      state.slots[index].stamp = stamp
      inode.slot = Int32(truncatingIfNeeded: index)
      inode.ticket = state.slots[index].ticket
      state.open += 1
      return (descriptor.rawValue, evicted)
    }
    if let closing { close(closing) }
    return FileDescriptor(rawValue: inUse)
  }

  /// As `acquire`, of a placed file whose blob is about to be read: one that was touched since it was opened is opened
  /// anew, by who digests it then. EIO while others have the touched one open.
  func acquireUntouched(_ inode: Inode) throws(Errno) {
    for _ in 0..<3 {
      let descriptor = try acquire(inode)
      let stamp = state.withLock { state in state.isCurrent(inode) ? state.slots[Int(inode.slot)].stamp : nil }
      let now: Stamp
      do throws(Errno) { now = Stamp(try descriptor.status()) } catch {
        release(inode)
        throw error
      }
      if stamp == nil || stamp == now { return }
      let closing = state.withLock { state -> Closing? in
        guard state.isCurrent(inode) else { return nil }
        let index = Int(inode.slot)
        state.slots[index].users -= min(state.slots[index].users, 1)
        guard state.slots[index].users == 0 else { return nil }
        defer { state.free.append(inode.slot) }
        return state.vacate(index)
      }
      guard let closing else { throw .ioError }
      close(closing)
    }
    throw .ioError
  }

  /// The inode is to have another descriptor, and nobody uses the present one.
  func forget(_ inode: Inode) {
    let closing = state.withLock { state -> Closing? in
      guard state.isCurrent(inode) else { return nil }
      let closing = state.vacate(Int(inode.slot))
      state.free.append(inode.slot)
      inode.slot = -1
      inode.isOrphan = false
      return closing
    }
    if let closing { close(closing) }
  }

  func release(_ inode: Inode) {
    guard inode.role == .ordinary else { return }
    state.withLock { state in
      let index = Int(inode.slot)
      if state.isCurrent(inode), state.slots[index].users > 0 { state.slots[index].users -= 1 }
    }
  }

  /// Keeps the descriptor, which the caller has acquired, open for the rest of the inode's life: it has no name left.
  func keepForever(_ inode: Inode) {
    guard inode.role == .ordinary else { return }
    state.withLock { state in
      guard !inode.isOrphan, state.isCurrent(inode) else { return }
      inode.isOrphan = true
      state.slots[Int(inode.slot)].users += 1
    }
  }

  /// The inode's descriptor, kept open for the rest of the inode's life.
  func descriptorForEver(of inode: Inode) throws(Errno) -> FileDescriptor {
    let descriptor = try acquire(inode)
    keepForever(inode)
    release(inode)
    return descriptor
  }

  /// The id under which the kernel reads and writes the inode by itself; nil when it refuses. The caller has acquired
  /// the inode, and the answer stays the same until everyone has released it.
  func backing(of inode: Inode, register: (FileDescriptor) -> Int32) -> Int32? {
    state.withLock { state in
      guard state.isCurrent(inode) else { return nil }
      let index = Int(inode.slot)
      if state.slots[index].backing == 0 {
        let id = register(FileDescriptor(rawValue: state.slots[index].descriptor))
        state.slots[index].backing = id > 0 ? id : -1
      }
      let id = state.slots[index].backing
      return id > 0 ? id : nil
    }
  }

  /// The inode has gone.
  func discard(slot: Int32, ticket: UInt32) {
    let closing = state.withLock { state -> Closing? in
      let index = Int(slot)
      guard state.slots.indices.contains(index), state.slots[index].ticket == ticket else { return nil }
      let closing = state.vacate(index)
      state.free.append(slot)
      return closing
    }
    if let closing { close(closing) }
  }

  /// Closes one descriptor that is not in use; false when there is none.
  private func shrink() -> Bool {
    let closing = state.withLock { state -> Closing? in
      guard let index = state.victim() else { return nil }
      let closing = state.vacate(index)
      state.free.append(Int32(truncatingIfNeeded: index))
      return closing
    }
    guard let closing else { return false }
    close(closing)
    return true
  }

  private func close(_ closing: Closing) {
    if closing.backing > 0 { closeBacking(closing.backing) }
    FileDescriptor(rawValue: closing.descriptor).close()
  }
}

extension DescriptorPool.State {
  fileprivate func isCurrent(_ inode: Inode) -> Bool {
    let index = Int(inode.slot)
    return slots.indices.contains(index) && slots[index].ticket == inode.ticket && slots[index].descriptor >= 0
  }

  /// The inode's descriptor with one more user; nil when it has none.
  fileprivate mutating func use(_ inode: Inode) -> Int32? {
    guard isCurrent(inode) else { return nil }
    let index = Int(inode.slot)
    slots[index].users += 1
    slots[index].wasUsed = true
    return slots[index].descriptor
  }

  /// An empty slot: a free one, one that is taken from another inode, or when all are in use a new one.
  fileprivate mutating func takeSlot(capacity: Int) -> (Int, DescriptorPool.Closing?) {
    if open >= capacity, let index = victim() { return (index, vacate(index)) }
    if let index = free.popLast() { return (Int(index), nil) }
    slots.append(.init())
    return (slots.count - 1, nil)
  }

  fileprivate mutating func vacate(_ index: Int) -> DescriptorPool.Closing {
    let closing = DescriptorPool.Closing(descriptor: slots[index].descriptor, backing: slots[index].backing)
    slots[index] = .init(ticket: slots[index].ticket &+ 1)
    open -= 1
    return closing
  }

  /// The next slot that nobody uses and that was not used since the hand last passed.
  fileprivate mutating func victim() -> Int? {
    guard !slots.isEmpty else { return nil }
    for _ in 0..<(2 * slots.count) {
      hand = (hand + 1) % slots.count
      guard slots[hand].descriptor >= 0, slots[hand].users == 0 else { continue }
      if !slots[hand].wasUsed { return hand }
      slots[hand].wasUsed = false
    }
    return nil
  }
}
