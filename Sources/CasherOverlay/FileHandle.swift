import CasherSystem
import Glibc
import Synchronization

/// An open file: from OPEN or CREATE to RELEASE.
final class FileHandle: @unchecked Sendable {  // `owners` is only touched under the lock table's lock
  let node: Node
  let flags: Int32
  /// Whether the kernel reads and writes lower by itself.
  let isPassthrough: Bool
  /// Whether the daemon reads and writes for the kernel, though it could do that itself, because what holds the content may
  /// change while the file is open.
  let isServed: Bool
  /// Who took locks through this handle.
  var owners: [UInt64] = []
  /// Whether it holds the pool's descriptor of the inode.
  let holdsDescriptor: Bool
  private let lower: Mutex<Lower>

  private struct Lower {
    var descriptor: FileDescriptor?
    /// The inode's, when the descriptor was opened.
    var epoch: UInt32
    /// Of earlier backings: a request may still be reading.
    var former: [FileDescriptor] = []
  }

  init(
    node: Node, flags: Int32, isPassthrough: Bool, lower: FileDescriptor?, isServed: Bool = false,
    holdsDescriptor: Bool = true, epoch: UInt32 = 0
  ) {
    self.node = node
    self.flags = flags
    self.isPassthrough = isPassthrough
    self.isServed = isServed
    self.holdsDescriptor = holdsDescriptor
    self.lower = Mutex(Lower(descriptor: lower, epoch: epoch))
  }

  deinit {
    lower.withLock { lower in
      lower.descriptor?.close()
      for descriptor in lower.former { descriptor.close() }
    }
  }

  var isWritable: Bool { flags & O_ACCMODE != O_RDONLY }

  /// Whether what is written through a mapping goes to lower past the kernel's side of the mount. A mapping that writes
  /// takes a file that is open for reading too (mmap(2)).
  var mapsLower: Bool { isPassthrough && flags & O_ACCMODE == O_RDWR }

  /// A descriptor with the handle's access of lower, or of a placed file's blob; opened at the first need unless the handle
  /// was made with it, and again when a file that is read through the daemon has become an ordinary one.
  func descriptor() throws(Errno) -> FileDescriptor {
    let epoch = node.inode.key.isPlaced && !holdsDescriptor ? node.inode.presentEpoch : 0
    return try lower.withLock { lower throws(Errno) in
      if let present = lower.descriptor, lower.epoch == epoch || holdsDescriptor { return present }
      let opened = try node.inode.openContent(flags & (O_ACCMODE | O_APPEND) | O_NONBLOCK)
      if let former = lower.descriptor { lower.former.append(former) }
      lower.descriptor = opened
      lower.epoch = epoch
      return opened
    }
  }

  /// The descriptor if it is open.
  var openDescriptor: FileDescriptor? { lower.withLock { $0.descriptor } }
}
