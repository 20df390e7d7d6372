import CFuse
import CLinux
import CasherSystem
import Glibc

extension Operations {
  static func lock(_ table: inout fuse_lowlevel_ops) {
    table.getlk = { request, id, info, lock in
      guard let request = Request(request), let node = request.overlay.node(id), let info, let lock else { return }
      request.note(.getlk, node)
      let wanted = LockTable.Lock(lock.pointee, owner: info.pointee.lock_owner)
      var answer = lock.pointee
      if let held = request.overlay.locks.conflict(node.inode.key, .posix, with: wanted) {
        answer.l_type = Int16(truncatingIfNeeded: held.isExclusive ? F_WRLCK : F_RDLCK)
        answer.l_whence = Int16(truncatingIfNeeded: SEEK_SET)
        answer.l_start = off_t(held.first)
        answer.l_len = held.last == .max ? 0 : off_t(held.last - held.first + 1)
        answer.l_pid = held.process
      } else {
        answer.l_type = Int16(truncatingIfNeeded: F_UNLCK)
      }
      fuse_reply_lock(request.pointer, &answer)
    }
    table.setlk = { request, id, info, lock, sleeps in
      guard let request = Request(request), let node = request.overlay.node(id), let info, let lock else { return }
      request.note(.setlk, node)
      let wanted = LockTable.Lock(lock.pointee, owner: info.pointee.lock_owner)
      if Int32(lock.pointee.l_type) == F_UNLCK {
        request.overlay.locks.clear(
          node.inode.key, .posix, owner: wanted.owner, first: wanted.first, last: wanted.last)
        return request.succeed()
      }
      if let handle = FileHandle.of(info), !handle.isWritable {
        handle.lockOwners.withLock { _ = $0.insert(wanted.owner) }
      }
      request.lock(node.inode.key, .posix, wanted, waits: sleeps != 0)
    }
    table.flock = { request, id, info, operation in
      guard let request = Request(request), let node = request.overlay.node(id), let info else { return }
      request.note(.flock, node)
      let owner = info.pointee.lock_owner
      if operation & LOCK_UN != 0 {
        request.overlay.locks.clear(node.inode.key, .flock, owner: owner)
        return request.succeed()
      }
      let wanted = LockTable.Lock(
        owner: owner, process: request.context.pid, isExclusive: operation & LOCK_EX != 0, first: 0, last: .max)
      request.lock(node.inode.key, .flock, wanted, waits: operation & LOCK_NB == 0)
    }
  }
}

extension LockTable.Lock {
  /// The kernel gives offsets from the file's begin; a length of 0 reaches to its end (fcntl(2)).
  init(_ lock: flock, owner: UInt64) {
    let first = Int64(lock.l_start)
    let length = Int64(lock.l_len)
    self.init(
      owner: owner, process: lock.l_pid, isExclusive: Int32(lock.l_type) == F_WRLCK, first: first,
      last: length == 0 || length > .max - first ? .max : first + length - 1)
  }
}

extension Request {
  /// Sets a lock and answers, now or when it is granted; a signal to the caller ends the wait.
  func lock(_ inode: InodeKey, _ kind: LockTable.Kind, _ wanted: LockTable.Lock, waits: Bool) {
    let request = self
    guard waits else {
      overlay.locks.set(inode, kind, wanted, waiter: nil) { fuse_reply_err(request.pointer, $0) }
      return
    }
    let waiter = overlay.locks.announce()
    // The id travels in the pointer, so that nothing has to outlive the request.
    fuse_req_interrupt_func(
      pointer,
      { request, data in
        guard let request = Request(request), let data else { return }
        request.overlay.locks.interrupt(waiter: UInt(bitPattern: data))
      }, UnsafeMutableRawPointer(bitPattern: waiter))
    overlay.locks.set(inode, kind, wanted, waiter: waiter) { fuse_reply_err(request.pointer, $0) }
  }
}
