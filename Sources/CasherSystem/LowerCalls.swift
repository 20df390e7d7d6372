import CLinux
import Glibc

/// System calls whose names come as C strings, as FUSE hands them over: nothing is copied on the way.
extension FileDescriptor {
  public typealias CName = UnsafePointer<CChar>

  /// Status and birth time (nanoseconds since 1970, 0 where not known) of a name in this directory, or with an empty
  /// name of what the descriptor is open on; symlinks are not followed. The corresponding C function is `statx`.
  public func statusAndBirth(of name: CName) throws(Errno) -> (status: FileStatus, birth: Int64) {
    var status = FileStatus()
    var birth: Int64 = 0
    try check("statx") { casher_status_with_birth(rawValue, name, &status.raw, &birth) }
    return (status, birth)
  }

  /// The device that files of this filesystem show (st_dev), also where this process serves it and would have to answer
  /// itself. The corresponding C function is `statx` (AT_STATX_DONT_SYNC).
  public func device() throws(Errno) -> UInt64 {
    var device: UInt64 = 0
    try check("statx") { casher_device(rawValue, &device) }
    return device
  }

  /// As `statusAndBirth(of:)`, with the number of the mount in the upper half of the device: what is mounted at two places
  /// has two devices.
  public func statusAndMount(of name: CName) throws(Errno) -> (status: FileStatus, birth: Int64) {
    var status = FileStatus()
    var birth: Int64 = 0
    try check("statx") { casher_status_with_mount(rawValue, name, &status.raw, &birth) }
    return (status, birth)
  }

  /// Status of a name in this directory, nil when there is nothing of that name (ENOENT, ENOTDIR); of what a symlink in
  /// the last place leads to only with `following`. The corresponding C function is `fstatat`.
  public func statusIfPresent(of name: CName, following: Bool = false) throws(Errno) -> FileStatus? {
    var result = FileStatus()
    do throws(Errno) {
      try check("fstatat") { fstatat(rawValue, name, &result.raw, following ? 0 : AT_SYMLINK_NOFOLLOW) }
    } catch {
      if error == .noSuchFile || error == .notDirectory { return nil }
      throw error
    }
    return result
  }

  /// The corresponding C function is `openat`; O_CLOEXEC is always added.
  public func open(_ name: CName, _ flags: Int32, mode: UInt32 = 0) throws(Errno) -> FileDescriptor {
    FileDescriptor(rawValue: try check("openat") { casher_openat(rawValue, name, flags | O_CLOEXEC, mode) })
  }

  /// The corresponding C function is `mknodat`.
  public func makeNode(_ name: CName, mode: UInt32, device: UInt64) throws(Errno) {
    try check("mknodat") { mknodat(rawValue, name, mode, dev_t(device)) }
  }

  /// The corresponding C function is `mkdirat`.
  public func makeDirectory(_ name: CName, mode: UInt32) throws(Errno) {
    try check("mkdirat") { mkdirat(rawValue, name, mode) }
  }

  /// The corresponding C function is `symlinkat`.
  public func makeSymlink(_ name: CName, to target: CName) throws(Errno) {
    try check("symlinkat") { symlinkat(target, rawValue, name) }
  }

  /// The corresponding C function is `unlinkat`.
  public func remove(_ name: CName, directory: Bool) throws(Errno) {
    try check("unlinkat") { unlinkat(rawValue, name, directory ? AT_REMOVEDIR : 0) }
  }

  /// The corresponding C function is `renameat2`.
  public func rename(_ name: CName, to directory: FileDescriptor, as newName: CName, flags: UInt32) throws(Errno) {
    try check("renameat2") { casher_renameat2(rawValue, name, directory.rawValue, newName, flags) }
  }

  /// Another name, in `directory`, for what this descriptor stands for, which may be O_PATH and a symlink.
  /// The corresponding C function is `linkat`: with AT_EMPTY_PATH where the process may, else by way of /proc.
  public func linkSelf(to directory: FileDescriptor, as name: CName) throws(Errno) {
    do throws(Errno) {
      try check("linkat") { linkat(rawValue, "", directory.rawValue, name, Int32(CASHER_AT_EMPTY_PATH)) }
    } catch {
      // Without CAP_DAC_READ_SEARCH an empty path is answered as a missing file.
      guard error == .noSuchFile else { throw error }
      try withProcPath { path throws(Errno) in
        _ = try check("linkat") {
          linkat(AT_FDCWD, path, directory.rawValue, name, Int32(CASHER_AT_SYMLINK_FOLLOW))
        }
      }
    }
  }

  // MARK: by way of /proc/self/fd, for descriptors that are O_PATH

  /// Calls `body` with `/proc/self/fd/N` as a C string.
  public func withProcPath<Result, Failure: Error>(_ body: (CName) throws(Failure) -> Result) throws(Failure) -> Result
  {
    // 14 bytes of "/proc/self/fd/", at most 10 digits, NUL.
    var path: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    let outcome = withUnsafeMutableBytes(of: &path) { buffer -> Swift.Result<Result, Failure>? in
      var length = 0
      for byte in "/proc/self/fd/".utf8 {
        buffer[length] = byte
        length += 1
      }
      var digits = 1
      var rest = rawValue.magnitude
      while rest >= 10 {
        rest /= 10
        digits += 1
      }
      rest = rawValue.magnitude
      for position in stride(from: length + digits - 1, through: length, by: -1) {
        buffer[position] = UInt8(truncatingIfNeeded: 48 + rest % 10)
        rest /= 10
      }
      guard let base = buffer.baseAddress else { return nil }
      do throws(Failure) {
        return .success(try body(UnsafePointer(base.assumingMemoryBound(to: CChar.self))))
      } catch { return .failure(error) }
    }
    guard let outcome else { preconditionFailure("a tuple is never empty") }
    return try outcome.get()
  }

  /// The corresponding C function is `open` on /proc/self/fd/N; O_CLOEXEC is always added.
  public func openAgain(_ flags: Int32) throws(Errno) -> FileDescriptor {
    try withProcPath { path throws(Errno) in
      FileDescriptor(rawValue: try check("openat") { casher_open(path, flags | O_CLOEXEC, 0) })
    }
  }

  /// The corresponding system call is `fchmodat2` with AT_EMPTY_PATH; before Linux 6.6, `chmod` on /proc/self/fd/N.
  public func setPermissionsOfPath(_ mode: UInt32) throws(Errno) {
    do throws(Errno) {
      _ = try check("chmod") { casher_chmod_path_descriptor(rawValue, mode) }
      return
    } catch {
      // What a container does not let through looks like what the owner may not.
      guard error == Errno(rawValue: ENOSYS) || error == .notPermitted else { throw error }
    }
    try withProcPath { path throws(Errno) in _ = try check("chmod") { chmod(path, mode) } }
  }

  /// `UInt32.max` leaves an owner as it is. The corresponding C function is `fchownat` with AT_EMPTY_PATH.
  public func setOwnerOfPath(user: UInt32, group: UInt32) throws(Errno) {
    try check("fchownat") { fchownat(rawValue, "", user, group, Int32(CASHER_AT_EMPTY_PATH)) }
  }

  /// The corresponding C function is `truncate` on /proc/self/fd/N.
  public func truncatePath(to size: Int64) throws(Errno) {
    try withProcPath { path throws(Errno) in _ = try check("truncate") { Glibc.truncate(path, off_t(size)) } }
  }

  /// Either time may be UTIME_NOW or UTIME_OMIT. The corresponding C function is `utimensat` with AT_EMPTY_PATH; before
  /// Linux 5.8, on /proc/self/fd/N.
  public func setTimesOfPath(accessed: timespec, modified: timespec) throws(Errno) {
    var times = (accessed, modified)
    func set(_ directory: Int32, _ path: CName, _ flags: Int32) throws(Errno) {
      _ = try check("utimensat") {
        withUnsafePointer(to: &times) {
          $0.withMemoryRebound(to: timespec.self, capacity: 2) { utimensat(directory, path, $0, flags) }
        }
      }
    }
    do throws(Errno) { try set(rawValue, "", Int32(CASHER_AT_EMPTY_PATH)) } catch {
      guard error == .invalid else { throw error }
      try withProcPath { path throws(Errno) in try set(AT_FDCWD, path, 0) }
    }
  }

  /// The corresponding C function is `setxattr` on /proc/self/fd/N.
  public func setAttributeOfPath(_ name: CName, _ value: UnsafeRawBufferPointer, flags: Int32) throws(Errno) {
    try withProcPath { path throws(Errno) in
      _ = try check("setxattr") { CLinux.setxattr(path, name, value.baseAddress, value.count, flags) }
    }
  }

  /// Returns the value's size; with an empty buffer nothing else. The corresponding C function is `getxattr` on
  /// /proc/self/fd/N.
  public func attributeOfPath(_ name: CName, into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    try withProcPath { path throws(Errno) in
      try check("getxattr") { CLinux.getxattr(path, name, buffer.baseAddress, buffer.count) }
    }
  }

  /// Returns the list's size; with an empty buffer nothing else. The corresponding C function is `listxattr` on
  /// /proc/self/fd/N.
  public func attributeNamesOfPath(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    try withProcPath { path throws(Errno) in
      try check("listxattr") {
        CLinux.listxattr(path, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count)
      }
    }
  }

  /// The corresponding C function is `removexattr` on /proc/self/fd/N.
  public func removeAttributeOfPath(_ name: CName) throws(Errno) {
    try withProcPath { path throws(Errno) in _ = try check("removexattr") { CLinux.removexattr(path, name) } }
  }

  // MARK: open files

  /// The corresponding C function is `fallocate`.
  public func allocate(mode: Int32, offset: Int64, length: Int64) throws(Errno) {
    try check("fallocate") { casher_fallocate(rawValue, mode, offset, length) }
  }

  /// Returns the bytes copied, 0 at the end. The corresponding C function is `copy_file_range`.
  public func copyRange(
    at offset: Int64, to target: FileDescriptor, at targetOffset: Int64, count: Int, flags: UInt32
  ) throws(Errno) -> Int {
    var from = offset
    var to = targetOffset
    return try check("copy_file_range") {
      casher_copy_file_range_flags(rawValue, &from, target.rawValue, &to, count, flags)
    }
  }

  /// The corresponding C function is `fstatvfs`.
  public func fileSystemStatus() throws(Errno) -> statvfs {
    var result = statvfs()
    try check("fstatvfs") { fstatvfs(rawValue, &result) }
    return result
  }

  /// Records of struct linux_dirent64; 0 at the end. The corresponding system call is `getdents64`.
  public func readEntries(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    Int(try check("getdents64") { casher_getdents64(rawValue, buffer.baseAddress, buffer.count) })
  }
}
