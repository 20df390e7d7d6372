import CLinux
import Glibc

// What the store needs of files beyond reading and writing: locks, anonymous files, writing everything back.

extension FileDescriptor {
  /// Locks this open file description as a whole, advisory, until it is closed. Without `waiting` throws `.wouldBlock`
  /// when someone else holds it. The corresponding C function is `flock`.
  public func holdLock(exclusive: Bool, waiting: Bool) throws(Errno) {
    try check("flock") { flock(rawValue, (exclusive ? LOCK_EX : LOCK_SH) | (waiting ? 0 : LOCK_NB)) }
  }

  /// A file without a name that lives in memory. The corresponding C function is `memfd_create`.
  public static func anonymous(_ name: String) throws(Errno) -> FileDescriptor {
    FileDescriptor(rawValue: try check("memfd_create") { casher_memfd_create(name, 1) })  // MFD_CLOEXEC
  }

  /// Takes disk space for the file's first `size` bytes and makes it that long. The corresponding C function is
  /// `fallocate`.
  public func allocate(size: Int64) throws(Errno) { try check("fallocate") { casher_fallocate(rawValue, 0, 0, size) } }

  /// Writes everything of this descriptor's filesystem to the disk. The corresponding C function is `syncfs`.
  public func synchronizeFilesystem() throws(Errno) { try check("syncfs") { casher_syncfs(rawValue) } }

  /// Has the file, which must be empty, written in place by a filesystem that would write to a new place each time; throws
  /// on most others. The corresponding C function is `ioctl` (FS_IOC_SETFLAGS, FS_NOCOW_FL).
  public func writeInPlace() throws(Errno) { try check("ioctl-flags") { casher_write_in_place(rawValue) } }

  /// The magic number of the filesystem (statfs(2), f_type). The corresponding C function is `fstatfs`.
  public func filesystemType() throws(Errno) -> Int { try check("fstatfs") { casher_filesystem_type(rawValue) } }
}

extension Errno {
  public static let readOnlyFilesystem = Errno(rawValue: EROFS)
  public static let quotaExceeded = Errno(rawValue: EDQUOT)
  public static let noLocks = Errno(rawValue: ENOLCK)
}

extension Faults {
  /// Whether faults are injected: then a library that makes system calls of its own is to have them counted too.
  public static var isInUse: Bool { armed }

  /// Counts a system call that another library is about to make; the error that it shall fail with, nil to go on.
  public static func injected(into call: StaticString) -> Errno? { armed ? next(call) : nil }
}
