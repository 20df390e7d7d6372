import CFuse
import CasherSystem
import Glibc

/// Locks.
extension Request {
  func testLock(_ wanted: flock, owner: UInt64, of node: Node) throws(Errno) {
    if let lower = overlay.lowerLocks {
      var answer = try lower.conflict(with: wanted, owner: owner, on: node)
      fuse_reply_lock(raw, &answer)
      return
    }
    var answer = wanted
    let lock = PosixLock(wanted, owner: owner)
    if let conflict = overlay.locks.conflict(with: lock, on: node.inode.key) {
      answer.l_type = Int16(truncatingIfNeeded: conflict.isExclusive ? F_WRLCK : F_RDLCK)
      answer.l_whence = Int16(truncatingIfNeeded: SEEK_SET)
      answer.l_start = off_t(conflict.first)
      answer.l_len = conflict.last == .max ? 0 : off_t(conflict.last &- conflict.first &+ 1)
      answer.l_pid = conflict.process
    } else {
      answer.l_type = Int16(truncatingIfNeeded: F_UNLCK)
    }
    fuse_reply_lock(raw, &answer)
  }

  func setLock(_ wanted: flock, owner: UInt64, on handle: FileHandle, waits: Bool) throws(Errno) {
    if let lower = overlay.lowerLocks {
      guard Int32(wanted.l_type) == F_UNLCK else {
        return try lower.take(wanted, owner: owner, on: handle, waits: waits, reply: LockReply(request: raw))
      }
      lower.release(wanted, owner: owner, on: handle.node.inode.key)
      return succeed()
    }
    let lock = PosixLock(wanted, owner: owner)
    if Int32(wanted.l_type) == F_UNLCK {
      overlay.locks.release(lock, on: handle.node.inode.key)
      return succeed()
    }
    overlay.locks.take(.posix(lock), on: handle, waits: waits, reply: LockReply(request: raw))
  }

  func setFlock(_ operation: Int32, owner: UInt64, on handle: FileHandle) throws(Errno) {
    let waits = operation & LOCK_NB == 0
    if let lower = overlay.lowerLocks {
      guard operation & LOCK_UN != 0 else {
        let reply = LockReply(request: raw)
        do throws(Errno) { return try lower.takeFlock(operation, owner: owner, on: handle, reply: reply) } catch {
          guard error == .wouldBlock else { throw error }
          overlay.waitForReleases()
          return try lower.takeFlock(operation, owner: owner, on: handle, reply: reply)
        }
      }
      lower.releaseAll(owner: owner, isFlock: true, on: handle.node.inode.key)
      return succeed()
    }
    if operation & LOCK_UN != 0 {
      overlay.locks.releaseFlock(owner: owner, on: handle.node.inode.key)
      return succeed()
    }
    let lock = FlockLock(owner: owner, isExclusive: operation & LOCK_EX != 0)
    if !waits, overlay.locks.isTaken(.flock(lock), on: handle.node.inode.key) { overlay.waitForReleases() }
    overlay.locks.take(.flock(lock), on: handle, waits: waits, reply: LockReply(request: raw))
  }
}

extension Overlay {
  /// close(2) gives back what flock(2) took, but does not wait for the RELEASE that says so. Waits for those that have come
  /// before the request which asks, a few of which may not be counted for a moment; not for ever, as more may always come.
  fileprivate func waitForReleases() {
    for _ in 0..<200 {
      var pause = timespec(tv_sec: 0, tv_nsec: 1_000_000)
      nanosleep(&pause, nil)
      if releasesUnderWay.load(ordering: .sequentiallyConsistent) == 0 { return }
    }
  }
}

extension PosixLock {
  /// As libfuse hands it over: from the begin of the file, a length of 0 reaching to its end.
  init(_ lock: flock, owner: UInt64) {
    let first = Int64(lock.l_start)
    let (last, overflows) = first.addingReportingOverflow(Int64(lock.l_len) &- 1)
    self.init(
      owner: owner, process: lock.l_pid, isExclusive: Int32(lock.l_type) == F_WRLCK, first: first,
      last: lock.l_len <= 0 || overflows ? .max : last)
  }
}
