import CFuse
import CasherSystem
import Glibc
import Synchronization

/// POSIX locks (fcntl(2), also those of open file descriptions) and flock(2) locks of all views, which the kernel would
/// keep apart for each view.
///
/// A request that has to wait is kept, not its thread, and answered when the lock is granted or the wait interrupted.
final class LockTable: Sendable {
  /// What is asked for or held.
  enum Claim: Sendable {
    case posix(PosixLock)
    case flock(FlockLock)
  }

  private struct Waiter {
    let number: UInt
    let claim: Claim
    let reply: LockReply
  }

  private struct File {
    var posix = PosixLocks()
    var flocks: [FlockLock] = []
    var waiters: [Waiter] = []

    var isUnused: Bool { posix.isEmpty && flocks.isEmpty && waiters.isEmpty }

    /// Owners of what stands in the way.
    func conflicts(with claim: Claim) -> [UInt64] {
      switch claim {
      case .posix(let lock): posix.conflicts(with: lock).map(\.owner)
      case .flock(let lock):
        flocks.filter { $0.owner != lock.owner && ($0.isExclusive || lock.isExclusive) }.map(\.owner)
      }
    }

    mutating func apply(_ claim: Claim) {
      switch claim {
      case .posix(let lock): posix.set(lock)
      case .flock(let lock):
        flocks.removeAll { $0.owner == lock.owner }
        flocks.append(lock)
      }
    }
  }

  private struct State {
    var files: [InodeKey: File] = [:]
    var lastNumber: UInt = 0
    /// Waits that are being set up: interrupts that come meanwhile.
    var settingUp: [UInt: Bool] = [:]
    var isClosed = false
  }

  private let state = Mutex(State())

  /// How many requests wait.
  var waiting: Int { state.withLock { $0.files.values.reduce(0) { $0 + $1.waiters.count } } }

  // MARK: asking

  /// The first lock that stands in the way of `lock`.
  func conflict(with lock: PosixLock, on key: InodeKey) -> PosixLock? {
    state.withLock { $0.files[key]?.posix.conflicts(with: lock).first }
  }

  /// Whether another's lock stands in the way.
  func isTaken(_ claim: Claim, on key: InodeKey) -> Bool {
    state.withLock { $0.files[key]?.conflicts(with: claim).isEmpty == false }
  }

  /// Takes the lock and answers, at once or, when it `waits`, later. EAGAIN when it is held and nobody waits, EDEADLK
  /// when the wait could never end.
  func take(_ claim: Claim, on handle: FileHandle, waits: Bool, reply: LockReply) {
    let key = handle.node.inode.key
    let owner = claim.owner
    let (answer, granted) = state.withLock { state -> (Answer, [Waiter]) in
      if case .posix = claim, !handle.owners.contains(owner) { handle.owners.append(owner) }
      var file = state.files[key] ?? File()
      var granted: [Waiter] = []
      if case .flock = claim, file.flocks.contains(where: { $0.owner == owner }) {
        // flock(2): a conversion gives the old lock up first, whether or not it gets the new one.
        file.flocks.removeAll { $0.owner == owner }
        if !file.conflicts(with: claim).isEmpty { granted = LockTable.grant(&file) }
        state.files[key] = file
      }
      if file.conflicts(with: claim).isEmpty {
        file.apply(claim)
        // A lock that was changed to a weaker one may let others in.
        granted += LockTable.grant(&file)
        state.files[key] = file
        return (.done, granted)
      }
      guard waits, !state.isClosed else { return (.failed(.wouldBlock), granted) }
      if case .posix = claim, LockTable.wouldDeadlock(claim, on: key, in: state.files) {
        return (.failed(Errno(rawValue: EDEADLK)), granted)
      }
      state.lastNumber += 1
      state.settingUp[state.lastNumber] = false
      return (.wait(state.lastNumber), granted)
    }
    for waiter in granted { waiter.reply.send(nil) }
    switch answer {
    case .done: reply.send(nil)
    case .failed(let error): reply.send(error)
    case .wait(let number): wait(number, claim, key, reply)
    }
  }

  private enum Answer {
    case done
    case failed(Errno)
    case wait(UInt)
  }

  private func wait(_ number: UInt, _ claim: Claim, _ key: InodeKey, _ reply: LockReply) {
    // The interrupt may come in here already; then it must not be answered by libfuse's call, which still needs the
    // request after that.
    reply.onInterrupt(number)
    let immediate: Errno?? = state.withLock { state in
      let wasInterrupted = state.settingUp.removeValue(forKey: number) ?? false
      if wasInterrupted || state.isClosed { return .some(.interrupted) }
      var file = state.files[key] ?? File()
      if file.conflicts(with: claim).isEmpty {
        file.apply(claim)
        state.files[key] = file
        return .some(nil)
      }
      file.waiters.append(Waiter(number: number, claim: claim, reply: reply))
      state.files[key] = file
      return nil
    }
    if let immediate { reply.send(immediate) }
  }

  /// The process that waits under this number has got a signal. Called by libfuse.
  func interrupt(_ number: UInt) {
    let waiter = state.withLock { state -> Waiter? in
      if state.settingUp[number] != nil {
        state.settingUp[number] = true
        return nil
      }
      for (key, file) in state.files {
        guard let index = file.waiters.firstIndex(where: { $0.number == number }) else { continue }
        return state.files[key]?.waiters.remove(at: index)
      }
      return nil
    }
    waiter?.reply.send(.interrupted)
  }

  // MARK: giving back

  /// Drops a part of the owner's POSIX locks.
  func release(_ lock: PosixLock, on key: InodeKey) { change(key) { $0.posix.remove(lock) } }

  /// Drops all POSIX locks of the owner, as close(2) does.
  func releasePosix(owner: UInt64, on key: InodeKey) {
    change(key) { $0.posix.removeAll(of: owner) }
  }

  /// Drops the POSIX locks of whoever set some through the handle, which nobody has any more.
  func releasePosix(takenThrough handle: FileHandle) {
    let owners = state.withLock { _ in handle.owners }
    for owner in owners { releasePosix(owner: owner, on: handle.node.inode.key) }
  }

  func releaseFlock(owner: UInt64, on key: InodeKey) {
    change(key) { $0.flocks.removeAll { $0.owner == owner } }
  }

  private func change(_ key: InodeKey, _ body: (inout File) -> Void) {
    let granted = state.withLock { state -> [Waiter] in
      guard var file = state.files[key] else { return [] }
      body(&file)
      let granted = LockTable.grant(&file)
      state.files[key] = file.isUnused ? nil : file
      return granted
    }
    for waiter in granted { waiter.reply.send(nil) }
  }

  /// Grants, in the order they came, what nothing stands in the way of any more.
  private static func grant(_ file: inout File) -> [Waiter] {
    var granted: [Waiter] = []
    var index = 0
    while index < file.waiters.count {
      if file.conflicts(with: file.waiters[index].claim).isEmpty {
        let waiter = file.waiters.remove(at: index)
        file.apply(waiter.claim)
        granted.append(waiter)
      } else {
        index += 1
      }
    }
    return granted
  }

  /// Whether someone whom the claim would wait for waits, directly or not, for the claim's owner.
  private static func wouldDeadlock(_ claim: Claim, on key: InodeKey, in files: [InodeKey: File]) -> Bool {
    var seen: Set<UInt64> = []
    var pending = files[key]?.conflicts(with: claim) ?? []
    while let owner = pending.popLast() {
      if owner == claim.owner { return true }
      guard seen.insert(owner).inserted else { continue }
      for file in files.values {
        for waiter in file.waiters where waiter.claim.owner == owner {
          if case .posix = waiter.claim { pending += file.conflicts(with: waiter.claim) }
        }
      }
    }
    return false
  }

  /// The mount has ended: nobody waits any more.
  func cancelAll() {
    let waiters = state.withLock { state -> [Waiter] in
      state.isClosed = true
      defer { state.files = [:] }
      return state.files.values.flatMap(\.waiters)
    }
    for waiter in waiters { waiter.reply.send(.interrupted) }
  }
}

extension LockTable.Claim {
  var owner: UInt64 {
    switch self {
    case .posix(let lock): lock.owner
    case .flock(let lock): lock.owner
    }
  }
}

struct FlockLock: Sendable {
  var owner: UInt64
  var isExclusive: Bool
}

/// A request for a lock, to be answered exactly once.
struct LockReply: @unchecked Sendable {  // libfuse lets any thread answer
  let request: fuse_req_t

  /// Nil: the lock is taken. Whoever had it before in another view may have changed names and sizes under it, of which
  /// the kernel has heard then.
  func send(_ error: Errno?) {
    if error == nil { Overlay.serving(request)?.notifier.flushForRequest() }
    fuse_reply_err(request, error?.rawValue ?? 0)
  }

  /// Has `LockTable.interrupt` called with this number when the waiting process gets a signal.
  func onInterrupt(_ number: UInt) {
    fuse_req_interrupt_func(
      request,
      { request, data in
        guard let request, let overlay = Overlay.serving(request) else { return }
        overlay.locks.interrupt(UInt(bitPattern: data))
        overlay.lowerLocks?.interrupt(UInt(bitPattern: data))
      }, UnsafeMutableRawPointer(bitPattern: number))
  }
}
