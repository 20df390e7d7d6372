import Synchronization

/// The kinds of requests, by the name that FUSE gives them.
enum Operation: Int, CaseIterable {
  case lookup, forget, getattr, setattr, readlink, mknod, mkdir, unlink, rmdir, symlink, rename, link
  case open, create, read, write, flush, release, fsync, opendir, readdir, readdirplus, releasedir, fsyncdir
  case statfs, setxattr, getxattr, listxattr, removexattr, getlk, setlk, flock, ioctl, fallocate
  case copyFileRange, lseek
}

/// How many requests of each kind came.
final class Counters: @unchecked Sendable {  // the memory holds atomics alone
  private let values: UnsafeMutablePointer<Atomic<Int>>

  init() {
    values = .allocate(capacity: Operation.allCases.count)
    for index in 0..<Operation.allCases.count { (values + index).initialize(to: Atomic(0)) }
  }

  deinit {
    values.deinitialize(count: Operation.allCases.count)
    values.deallocate()
  }

  func count(_ operation: Operation) { values[operation.rawValue].add(1, ordering: .relaxed) }

  /// Those that came at least once.
  var all: [(name: String, value: Int)] {
    Operation.allCases.compactMap { operation in
      let value = values[operation.rawValue].load(ordering: .relaxed)
      return value == 0 ? nil : ("\(operation)", value)
    }
  }
}
