import CasherSystem
import Glibc

/// Locks on files by all views: POSIX record locks and flock(2) locks, which the kernel would keep for each view apart.
///
/// A request that has to wait is kept with what answers it; no thread waits.
final class LockTable: Sendable {
  enum Kind: Hashable { case posix, flock }

  struct Lock {
    var owner: UInt64
    var process: Int32
    var isExclusive: Bool
    /// First and last byte; `Int64.max` stands for the end of the file, wherever it comes to be.
    var first: Int64
    var last: Int64
  }

  private struct Key: Hashable {
    let inode: InodeKey
    let kind: Kind
  }

  private struct Waiter {
    let id: UInt
    let lock: Lock
    let answer: @Sendable (Int32) -> Void
  }

  private struct Locks {
    var held: [Lock] = []
    var waiting: [Waiter] = []
  }

  private struct State {
    var locks: [Key: Locks] = [:]
    var nextID: UInt = 1
    /// Requests that have an id and have not come yet, and whether a signal has ended them already.
    var announced: [UInt: Bool] = [:]
    /// Where each waiting request stands.
    var places: [UInt: Key] = [:]
  }

  private let state = Monitor(State())

  /// A lock that stands against this one, nil when it could be had.
  func conflict(_ inode: InodeKey, _ kind: Kind, with lock: Lock) -> Lock? {
    state.withLock { state in
      state.locks[Key(inode: inode, kind: kind)]?.held.first { LockTable.conflicts($0, lock) }
    }
  }

  /// An id for a request that may have to wait, by which it can be interrupted from now on.
  func announce() -> UInt {
    state.withLock { state in
      defer { state.nextID += 1 }
      state.announced[state.nextID] = false
      return state.nextID
    }
  }

  /// Sets the lock, converting what its owner already has there. `answer` is called once with 0 or an error number:
  /// EAGAIN when another's lock stands against it, unless there is an announced `waiter`, which is answered later.
  func set(
    _ inode: InodeKey, _ kind: Kind, _ lock: Lock, waiter: UInt?, answer: @escaping @Sendable (Int32) -> Void
  ) {
    let key = Key(inode: inode, kind: kind)
    var error: Int32?
    let granted = state.withLock { state -> [Waiter] in
      let isInterrupted = waiter.flatMap { state.announced.removeValue(forKey: $0) } ?? false
      var locks = state.locks[key] ?? Locks()
      if locks.held.contains(where: { LockTable.conflicts($0, lock) }) {
        guard let waiter else {
          error = EAGAIN
          return []
        }
        if isInterrupted {
          error = EINTR
          return []
        }
        if kind == .posix,
          LockTable.wouldDeadlock(lock, key, state.locks.mapValues { ($0.held, $0.waiting.map(\.lock)) })
        {
          error = EDEADLK
          return []
        }
        // flock(2): the lock held before is given up while waiting for a conversion.
        if kind == .flock { locks.held.removeAll { $0.owner == lock.owner } }
        locks.waiting.append(Waiter(id: waiter, lock: lock, answer: answer))
        state.places[waiter] = key
      } else {
        LockTable.replace(lock, in: &locks)
        error = 0
      }
      let granted = LockTable.grant(&locks)
      for waiter in granted { state.places[waiter.id] = nil }
      state.locks[key] = locks
      return granted
    }
    for waiter in granted { waiter.answer(0) }
    if let error { answer(error) }
  }

  /// Gives up the owner's locks between two bytes.
  func clear(_ inode: InodeKey, _ kind: Kind, owner: UInt64, first: Int64 = 0, last: Int64 = .max) {
    let key = Key(inode: inode, kind: kind)
    let granted = state.withLock { state -> [Waiter] in
      guard var locks = state.locks[key] else { return [] }
      LockTable.cut(&locks, owner: owner, first: first, last: last)
      let granted = LockTable.grant(&locks)
      for waiter in granted { state.places[waiter.id] = nil }
      state.locks[key] = locks.held.isEmpty && locks.waiting.isEmpty ? nil : locks
      return granted
    }
    for waiter in granted { waiter.answer(0) }
  }

  /// A signal has ended the wait: its answer is EINTR. Nothing when it has been answered already.
  func interrupt(waiter id: UInt) {
    let waiter = state.withLock { state -> Waiter? in
      if state.announced[id] != nil {
        state.announced[id] = true
        return nil
      }
      guard let key = state.places.removeValue(forKey: id),
        let index = state.locks[key]?.waiting.firstIndex(where: { $0.id == id })
      else { return nil }
      return state.locks[key]?.waiting.remove(at: index)
    }
    waiter?.answer(EINTR)
  }

  // MARK: what conflicts, what is granted

  private static func conflicts(_ held: Lock, _ wanted: Lock) -> Bool {
    held.owner != wanted.owner && (held.isExclusive || wanted.isExclusive) && held.first <= wanted.last
      && wanted.first <= held.last
  }

  private static func replace(_ lock: Lock, in locks: inout Locks) {
    cut(&locks, owner: lock.owner, first: lock.first, last: lock.last)
    locks.held.append(lock)
  }

  private static func cut(_ locks: inout Locks, owner: UInt64, first: Int64, last: Int64) {
    var result: [Lock] = []
    for lock in locks.held {
      guard lock.owner == owner, lock.first <= last, first <= lock.last else {
        result.append(lock)
        continue
      }
      if lock.first < first {
        var head = lock
        head.last = first - 1
        result.append(head)
      }
      if lock.last > last {
        var tail = lock
        tail.first = last + 1
        result.append(tail)
      }
    }
    locks.held = result
  }

  /// Takes those who can go on out of the queue, in their order.
  private static func grant(_ locks: inout Locks) -> [Waiter] {
    var granted: [Waiter] = []
    var index = 0
    while index < locks.waiting.count {
      let waiter = locks.waiting[index]
      if locks.held.contains(where: { conflicts($0, waiter.lock) }) {
        index += 1
      } else {
        replace(waiter.lock, in: &locks)
        granted.append(locks.waiting.remove(at: index))
      }
    }
    return granted
  }

  /// Whether those that `lock` would wait for wait, directly or over others, for its owner (fcntl(2), EDEADLK).
  private static func wouldDeadlock(_ lock: Lock, _ key: Key, _ all: [Key: ([Lock], [Lock])]) -> Bool {
    var seen: Set<UInt64> = []
    var open = (all[key]?.0 ?? []).filter { conflicts($0, lock) }.map(\.owner)
    while let owner = open.popLast() {
      if owner == lock.owner { return true }
      guard seen.insert(owner).inserted else { continue }
      for (held, waiting) in all.values {
        for wanted in waiting where wanted.owner == owner {
          open += held.filter { conflicts($0, wanted) }.map(\.owner)
        }
      }
    }
    return false
  }
}
