import CasherSystem
import Glibc
import Synchronization

/// Locks of a view of the root, taken in lower itself: files there are locked by processes too that are in no view.
///
/// Each owner of locks has a descriptor of its own for each file, since locks of an open file description (fcntl(2),
/// F_OFD_SETLK) and those of flock(2) belong to that. A request that has to wait tries again from a thread of its own.
final class LowerLocks: Sendable {
  private struct Holder: Hashable {
    var file: InodeKey
    var owner: UInt64
    var isFlock: Bool
  }

  /// Closed when neither the table nor a waiting request has it.
  private final class Held: Sendable {
    let file: FileDescriptor
    init(_ file: FileDescriptor) { self.file = file }
    deinit { file.close() }
  }

  private struct State {
    var descriptors: [Holder: Held] = [:]
    var lastNumber: UInt = 0
    /// Requests that wait, and whether they were interrupted.
    var waiting: [UInt: Bool] = [:]
    var isClosed = false
  }

  private let state = Mutex(State())

  /// Between two attempts, nanoseconds: the first and the longest pause.
  private static let pauses: (first: Int, longest: Int) = (500_000, 20_000_000)

  // MARK: asking

  /// The lock that stands in the way of `wanted`, as fcntl(2) tells it.
  func conflict(with wanted: flock, owner: UInt64, on node: Node) throws(Errno) -> flock {
    var answer = wanted
    answer.l_pid = 0
    let held = try descriptor(Holder(file: node.inode.key, owner: owner, isFlock: false), node)
    try held.file.lockOfDescription(.test, &answer)
    return answer
  }

  func take(_ wanted: flock, owner: UInt64, on handle: FileHandle, waits: Bool, reply: LockReply) throws(Errno) {
    let holder = Holder(file: handle.node.inode.key, owner: owner, isFlock: false)
    state.withLock { _ in if !handle.owners.contains(owner) { handle.owners.append(owner) } }
    let held = try descriptor(holder, handle.node)
    try take(waits: waits, reply) { () throws(Errno) in
      var lock = wanted
      lock.l_pid = 0
      try held.file.lockOfDescription(.set, &lock)
    }
  }

  func takeFlock(_ operation: Int32, owner: UInt64, on handle: FileHandle, reply: LockReply) throws(Errno) {
    let held = try descriptor(Holder(file: handle.node.inode.key, owner: owner, isFlock: true), handle.node)
    try take(waits: operation & LOCK_NB == 0, reply) { () throws(Errno) in
      try held.file.holdLock(exclusive: operation & LOCK_EX != 0, waiting: false)
    }
  }

  private func take(
    waits: Bool, _ reply: LockReply, _ attempt: @escaping @Sendable () throws(Errno) -> Void
  ) throws(Errno) {
    do throws(Errno) {
      try attempt()
      return reply.send(nil)
    } catch { guard waits, error == .wouldBlock || error == .accessDenied else { throw error } }
    let number = state.withLock { state -> UInt in
      state.lastNumber += 1
      state.waiting[state.lastNumber] = false
      return state.lastNumber
    }
    reply.onInterrupt(number)
    do throws(Errno) { try SystemThread.start { self.wait(number, reply, attempt) } } catch {
      state.withLock { $0.waiting[number] = nil }
      throw error
    }
  }

  private func wait(_ number: UInt, _ reply: LockReply, _ attempt: () throws(Errno) -> Void) {
    var pause = LowerLocks.pauses.first
    var outcome: Errno?
    while true {
      var time = timespec(tv_sec: 0, tv_nsec: pause)
      nanosleep(&time, nil)
      pause = min(pause * 2, LowerLocks.pauses.longest)
      if state.withLock({ $0.waiting[number] == true || $0.isClosed }) {
        outcome = .interrupted
        break
      }
      do throws(Errno) {
        try attempt()
        break
      } catch {
        if error != .wouldBlock, error != .accessDenied {
          outcome = error
          break
        }
      }
    }
    state.withLock { $0.waiting[number] = nil }
    reply.send(outcome)
  }

  /// The process that waits under this number has got a signal. Called by libfuse.
  func interrupt(_ number: UInt) {
    state.withLock { if $0.waiting[number] != nil { $0.waiting[number] = true } }
  }

  private func descriptor(_ holder: Holder, _ node: Node) throws(Errno) -> Held {
    if let present = state.withLock({ $0.descriptors[holder] }) { return present }
    let opened = try node.inode.withDescriptor { file throws(Errno) in
      // A lock for writing wants a descriptor to write by; whoever asks had one.
      for access in [O_RDWR, O_RDONLY] {
        do throws(Errno) { return try file.openAgain(access | O_NONBLOCK) } catch {
          if access == O_RDONLY { throw error }
        }
      }
      throw Errno(rawValue: EBADF)
    }
    let held = Held(opened)
    return state.withLock { state in
      if let present = state.descriptors[holder] { return present }
      state.descriptors[holder] = held
      return held
    }
  }

  // MARK: giving back

  /// Drops a part of the owner's locks.
  func release(_ wanted: flock, owner: UInt64, on key: InodeKey) {
    let holder = Holder(file: key, owner: owner, isFlock: false)
    guard let held = state.withLock({ $0.descriptors[holder] }) else { return }
    var lock = wanted
    lock.l_pid = 0
    try? held.file.lockOfDescription(.set, &lock)
  }

  /// Drops all locks of the owner on a file.
  func releaseAll(owner: UInt64, isFlock: Bool, on key: InodeKey) {
    let holder = Holder(file: key, owner: owner, isFlock: isFlock)
    _ = state.withLock { $0.descriptors.removeValue(forKey: holder) }
  }

  /// Drops the POSIX locks of whoever set some through the handle, which nobody has any more.
  func releaseAll(takenThrough handle: FileHandle) {
    let owners = state.withLock { _ in handle.owners }
    for owner in owners { releaseAll(owner: owner, isFlock: false, on: handle.node.inode.key) }
  }

  /// The mount has ended.
  func close() {
    state.withLock { state in
      state.isClosed = true
      state.descriptors = [:]
    }
  }
}
