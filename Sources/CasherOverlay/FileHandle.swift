import CasherSystem
import Glibc
import Synchronization

/// An open file: from OPEN or CREATE to RELEASE.
final class FileHandle: @unchecked Sendable {  // `owners` is only touched under the lock table's lock
  let node: Node
  let flags: Int32
  /// Whether the kernel reads and writes lower by itself.
  let isPassthrough: Bool
  /// Who took locks through this handle.
  var owners: [UInt64] = []
  private let lower = Mutex<FileDescriptor?>(nil)

  init(node: Node, flags: Int32, isPassthrough: Bool, lower: FileDescriptor?) {
    self.node = node
    self.flags = flags
    self.isPassthrough = isPassthrough
    self.lower.withLock { $0 = lower }
  }

  deinit { lower.withLock { $0?.close() } }

  var isWritable: Bool { flags & O_ACCMODE != O_RDONLY }

  /// Whether what is written through a mapping goes to lower past the kernel's side of the mount. A mapping that writes
  /// takes a file that is open for reading too (mmap(2)).
  var mapsLower: Bool { isPassthrough && flags & O_ACCMODE == O_RDWR }

  /// A descriptor of lower with the handle's access, opened at the first need.
  func descriptor() throws(Errno) -> FileDescriptor {
    try lower.withLock { present throws(Errno) in
      if let present { return present }
      let opened = try node.inode.withDescriptor { path throws(Errno) in
        try path.openAgain(flags & (O_ACCMODE | O_APPEND) | O_NONBLOCK)
      }
      present = opened
      return opened
    }
  }

  /// The descriptor of lower if it is open.
  var openDescriptor: FileDescriptor? { lower.withLock { $0 } }
}
