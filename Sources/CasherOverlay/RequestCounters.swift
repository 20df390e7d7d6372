import Synchronization

/// Requests by operation.
enum Operation: Int, CaseIterable {
  case lookup, forget, getattr, setattr, readlink, mknod, mkdir, unlink, rmdir, symlink, rename, link, open, create,
    read
  case write, flush, release, fsync, opendir, readdir, readdirplus, releasedir, fsyncdir, statfs, setxattr, getxattr
  case listxattr, removexattr, getlk, setlk, flock, fallocate, copyFileRange, lseek, ioctl
}

/// How many requests of each kind have come.
final class RequestCounters: Sendable {
  private let counts = Mutex<[UInt64]>(Array(repeating: 0, count: Operation.allCases.count))

  func add(_ operation: Operation, _ count: UInt64 = 1) { counts.withLock { $0[operation.rawValue] &+= count } }

  /// Those that came at least once, as `requests.lookup` and so on.
  var all: [(name: String, value: UInt64)] {
    let counts = counts.withLock { $0 }
    return Operation.allCases.compactMap { operation in
      counts[operation.rawValue] == 0 ? nil : ("requests.\(operation)", counts[operation.rawValue])
    }
  }
}
