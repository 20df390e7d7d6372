import Synchronization

/// Directories that the kernel reads without having opened them, each where its next request is expected to go on.
///
/// A read that is not found here begins anew at its offset, which costs an open and no more.
final class DirectoryReads: Sendable {
  private struct Read: @unchecked Sendable {  // the handle has a lock of its own
    let handle: DirectoryHandle
    let offset: Int64
  }

  private let reads = Mutex<[Read]>([])
  /// A read that is not continued stays until so many others have come.
  private static let limit = 32

  /// The handle that stands there, which is the caller's from then on.
  func take(_ node: Node, at offset: Int64) -> DirectoryHandle? {
    if offset == 0 { return nil }
    return reads.withLock { reads in
      guard let index = reads.lastIndex(where: { $0.offset == offset && $0.handle.node === node }) else { return nil }
      return reads.remove(at: index).handle
    }
  }

  func put(_ handle: DirectoryHandle, at offset: Int64) {
    let dropped = reads.withLock { reads -> Read? in
      reads.append(Read(handle: handle, offset: offset))
      return reads.count > DirectoryReads.limit ? reads.removeFirst() : nil
    }
    // Closed without the lock.
    _ = dropped
  }

  /// Lets go of what was read through a view: a handle keeps a directory open, and with it the mount that it is on.
  func removeAll(of view: View) {
    let dropped = reads.withLock { reads -> [Read] in
      let gone = reads.filter { $0.handle.node.view === view }
      if !gone.isEmpty { reads.removeAll { $0.handle.node.view === view } }
      return gone
    }
    _ = dropped
  }
}
