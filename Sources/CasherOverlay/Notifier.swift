import CFuse
import CasherSystem
import Synchronization

/// Tells the kernel what it must no longer believe, from a thread of its own: the kernel may hold a directory's lock
/// while it waits for a request's answer, and takes that lock for a notification.
final class Notifier: Sendable {
  private enum Message {
    case entry(parent: Node, name: FilePath)
    /// Attributes, and with `data` the cached pages too.
    case inode(Node, data: Bool)
  }

  private struct Queue {
    var messages: [Message] = []
    /// Messages taken in and sent since the begin.
    var accepted = 0
    var sent = 0
    var isOpen = true
  }

  private let queue = Monitor(Queue())
  /// Set once before the first message and valid until the loop has ended.
  nonisolated(unsafe) private var session: OpaquePointer?

  func start(_ session: OpaquePointer) throws(Errno) {
    self.session = session
    try SystemThread.start { [self] in run() }
  }

  func invalidate(_ name: FilePath, in parent: Node) { add(.entry(parent: parent, name: name)) }
  func invalidate(_ node: Node, data: Bool) { add(.inode(node, data: data)) }

  private func add(_ message: Message) {
    queue.update { queue in
      guard queue.isOpen else { return }
      queue.messages.append(message)
      queue.accepted += 1
    }
  }

  /// Waits until everything added so far has reached the kernel.
  func flush() {
    let goal = queue.withLock { $0.accepted }
    _ = queue.wait { $0.sent >= goal || !$0.isOpen ? true : nil }
  }

  func stop() {
    queue.update { queue in
      queue.isOpen = false
      queue.messages.removeAll()
    }
  }

  private func run() {
    while true {
      let batch = queue.wait { queue -> [Message]? in
        if !queue.isOpen { return [] }
        if queue.messages.isEmpty { return nil }
        defer { queue.messages = [] }
        return queue.messages
      }
      guard let batch, !batch.isEmpty else { return }
      for message in batch { send(message) }
      queue.update { $0.sent += batch.count }
    }
  }

  private func send(_ message: Message) {
    guard let session else { return }
    switch message {
    case .entry(let parent, let name):
      name.withCString { pointer in
        _ = fuse_lowlevel_notify_inval_entry(session, parent.id, pointer, name.bytes.count)
      }
    case .inode(let node, let data):
      // A negative offset leaves the pages.
      _ = fuse_lowlevel_notify_inval_inode(session, node.id, data ? 0 : -1, 0)
    }
  }
}
