import CFuse
import CasherSystem
import Glibc

/// Tells the kernel what it must no longer believe, from one thread of its own.
///
/// A notification may wait for locks that the kernel holds during a request, so it must never be sent by a thread that
/// serves requests, nor under a lock that such a thread takes.
final class Notifier: Sendable {
  enum Notice: Sendable {
    /// A name of a directory, and the directory's attributes and cached listing.
    case entry(Node, FilePath, NameChange)
    /// Several names of one directory.
    case entries(Node, [FilePath], NameChange)
    case attributes(Node)
    /// Attributes and cached content from `offset` on, `length` bytes (0: to the end).
    case content(Node, offset: Int64, length: Int64)
  }

  private struct State {
    var queue: [Notice] = []
    var queued: UInt64 = 0
    var sent: UInt64 = 0
    var isSending = false
    var isEnded = false
    /// Threads that serve requests and wait here for long.
    var waiting = 0
  }

  private let state = Monitor(State())

  /// How long a request waits, and how long when so many others do that few may be left to serve the one that the kernel
  /// waits for; nanoseconds.
  private static let patience: Int64 = 10_000_000_000
  private static let shortPatience: Int64 = 200_000_000
  private static let mostWaiting = 4

  func send(_ notice: Notice) {
    state.update { state in
      guard !state.isEnded else { return }
      state.queue.append(notice)
      state.queued += 1
    }
  }

  func send(_ notices: [Notice]) {
    if notices.isEmpty { return }
    state.update { state in
      guard !state.isEnded else { return }
      state.queue += notices
      state.queued += UInt64(notices.count)
    }
  }

  /// Waits until everything that was queued before the call has been sent.
  func flush() {
    let target = state.withLock { $0.queued }
    _ = state.wait { state -> Bool? in state.sent >= target || state.isEnded ? true : nil }
  }

  /// `flush` for who serves a request, on which the kernel may in rare cases depend for what is sent: not for ever.
  func flushForRequest() {
    let (target, isShort) = state.withLock { state in
      state.waiting += 1
      return (state.queued, state.waiting > Notifier.mostWaiting)
    }
    let patience = isShort ? Notifier.shortPatience : Notifier.patience
    _ = state.wait(timeout: patience) { state -> Bool? in state.sent >= target || state.isEnded ? true : nil }
    state.withLock { $0.waiting -= 1 }
  }

  /// Sends what is queued, and what comes, until `end`. To be called on a thread of its own.
  func run(_ session: Session) {
    while true {
      let notices = state.wait { state -> [Notice]? in
        if state.isEnded { return [] }
        if state.queue.isEmpty { return nil }
        defer { state.queue = [] }
        return state.queue
      }
      guard let notices, !notices.isEmpty else { return }
      for notice in notices {
        let goesOn = state.withLock { state -> Bool in
          state.isSending = !state.isEnded
          return state.isSending
        }
        guard goesOn else { return }
        send(notice, through: session)
        state.update { state in
          state.isSending = false
          state.sent += 1
        }
      }
    }
  }

  /// Sends nothing more, and waits until the notification that is being sent has been, at most for a second: the kernel
  /// may let it wait for requests that nobody serves any more, until the connection is closed.
  func end() {
    state.update { state in
      state.isEnded = true
      state.queue = []
    }
    _ = state.wait(timeout: 1_000_000_000) { $0.isSending ? nil : true }
  }

  /// Waits, after `end` and once the connection is closed, until the session is not used any more.
  func waitForEnd() { _ = state.wait { $0.isSending ? nil : true } }

  /// ENOENT, that the kernel does not have the node or the name, is as good as success.
  private func send(_ notice: Notice, through session: Session) {
    switch notice {
    case .entry(let node, let name, let change):
      send([name], of: node, change, through: session)
    case .entries(let node, let names, let change):
      send(names, of: node, change, through: session)
    case .attributes(let node):
      fuse_lowlevel_notify_inval_inode(session.raw, node.identifier, -1, 0)
    case .content(let node, let offset, let length):
      fuse_lowlevel_notify_inval_inode(session.raw, node.identifier, off_t(offset), off_t(length))
    }
  }

  private func send(_ names: [FilePath], of node: Node, _ change: NameChange, through session: Session) {
    let flags = change == .isThere ? FUSE_LL_EXPIRE_ONLY : fuse_expire_flags(rawValue: 0)
    for name in names {
      name.withCString {
        // Linux before 6.2 only knows the name to be forgotten.
        if fuse_lowlevel_notify_expire_entry(session.raw, node.identifier, $0, name.bytes.count, flags) == -ENOSYS {
          _ = fuse_lowlevel_notify_inval_entry(session.raw, node.identifier, $0, name.bytes.count)
        }
      }
    }
    // The kernel forgets a directory's attributes and listing with a name only if it had the name.
    fuse_lowlevel_notify_inval_inode(session.raw, node.identifier, 0, 0)
  }
}

/// What has become of a name in a directory, for a kernel that may have looked it up before or after the change.
public enum NameChange: Sendable {
  /// It leads to something, made or put there just now: the kernel looks the name up again at its next use. It must not be
  /// made to forget it, as what a process has found there meanwhile, its program or its working directory, would be said
  /// to be deleted.
  case isThere
  /// Nothing has it any more: the kernel forgets it at once, and shows who uses what it led to that it is deleted.
  case isGone
}

extension Node {
  /// The node id: the main view's root has FUSE's own, every other node its address, which no other object has while
  /// the kernel has not forgotten it.
  var identifier: fuse_ino_t {
    if isRoot && view.isMain { return fuse_ino_t(FUSE_ROOT_ID) }
    return fuse_ino_t(UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque()))
  }
}
