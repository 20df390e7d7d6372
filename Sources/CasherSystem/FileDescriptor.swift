import CLinux
import Glibc

/// A file descriptor's number. Whoever opened it closes it; nothing does so by itself.
public struct FileDescriptor: Hashable, Sendable {
  public let rawValue: Int32

  @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }

  /// The calling process's working directory (AT_FDCWD).
  public static let workingDirectory = FileDescriptor(rawValue: AT_FDCWD)
  public static let standardInput = FileDescriptor(rawValue: 0)
  public static let standardOutput = FileDescriptor(rawValue: 1)
  public static let standardError = FileDescriptor(rawValue: 2)

  /// `/proc/self/fd/N`, which names what the descriptor is open on.
  public var procPath: FilePath { FilePath("/proc/self/fd/\(rawValue)") }

  // MARK: opening and closing

  /// The corresponding C function is `openat`; O_CLOEXEC is always added.
  public func open(_ path: FilePath, _ flags: Int32, mode: UInt32 = 0) throws(Errno) -> FileDescriptor {
    FileDescriptor(
      rawValue: try path.withCString { path throws(Errno) in
        try check("openat") { casher_openat(rawValue, path, flags | O_CLOEXEC, mode) }
      })
  }

  /// The corresponding C function is `open`; O_CLOEXEC is always added.
  public static func open(_ path: FilePath, _ flags: Int32, mode: UInt32 = 0) throws(Errno) -> FileDescriptor {
    try workingDirectory.open(path, flags, mode: mode)
  }

  /// A new open file description of what this descriptor stands for, which may be O_PATH.
  public func reopen(_ flags: Int32) throws(Errno) -> FileDescriptor { try FileDescriptor.open(procPath, flags) }

  /// The corresponding C function is `close`. Errors are of no use to the caller: the number is gone either way.
  public func close() { _ = Glibc.close(rawValue) }

  /// The corresponding C call is `fcntl(F_DUPFD_CLOEXEC)`.
  public func duplicate() throws(Errno) -> FileDescriptor {
    FileDescriptor(rawValue: try check("fcntl") { casher_fcntl(rawValue, F_DUPFD_CLOEXEC, 3) })
  }

  /// Another descriptor of the same file, open for reading at its begin.
  public func duplicateAtStart() throws(Errno) -> FileDescriptor { try reopen(O_RDONLY) }

  // MARK: reading and writing

  /// The corresponding C function is `read`; 0 at the end of the file.
  public func read(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Int {
    try check("read") { Glibc.read(rawValue, buffer.baseAddress, buffer.count) }
  }

  /// The corresponding C function is `pread`.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    try check("pread") { pread(rawValue, buffer.baseAddress, buffer.count, off_t(offset)) }
  }

  /// The corresponding C function is `write`; may write less than it was given.
  public func write(_ buffer: UnsafeRawBufferPointer) throws(Errno) -> Int {
    try check("write") { Glibc.write(rawValue, buffer.baseAddress, buffer.count) }
  }

  /// As `write`, but EINTR when a signal came before anything was written.
  public func writeInterruptibly(_ buffer: UnsafeRawBufferPointer) throws(Errno) -> Int {
    let count = Glibc.write(rawValue, buffer.baseAddress, buffer.count)
    if count < 0 { throw Errno.current }
    return count
  }

  /// Writes everything.
  public func writeAll(_ buffer: UnsafeRawBufferPointer) throws(Errno) {
    var rest = buffer
    while !rest.isEmpty {
      let written = try write(rest)
      rest = UnsafeRawBufferPointer(rebasing: rest[written...])
    }
  }

  /// Writes everything.
  public func writeAll(_ bytes: [UInt8]) throws(Errno) {
    let failure = bytes.withUnsafeBytes { buffer -> Errno? in
      do throws(Errno) { try writeAll(buffer) } catch { return error }
      return nil
    }
    if let failure { throw failure }
  }

  /// Reads to the end of the file from the present offset, at most `limit` bytes.
  public func readAll(limit: Int = .max) throws(Errno) -> [UInt8] {
    var result: [UInt8] = []
    var failure: Errno?
    withUnsafeTemporaryAllocation(byteCount: 65536, alignment: 16) { buffer in
      while result.count < limit {
        do throws(Errno) {
          let count = try read(into: buffer)
          if count == 0 { return }
          result.append(contentsOf: buffer[..<min(count, limit - result.count)])
        } catch {
          failure = error
          return
        }
      }
    }
    if let failure { throw failure }
    return result
  }

  /// The corresponding C function is `lseek`.
  @discardableResult
  public func seek(to offset: Int64, from whence: Int32 = SEEK_SET) throws(Errno) -> Int64 {
    Int64(try check("lseek") { lseek(rawValue, off_t(offset), whence) })
  }

  /// The corresponding C function is `ftruncate`.
  public func truncate(to size: Int64) throws(Errno) { try check("ftruncate") { ftruncate(rawValue, off_t(size)) } }

  /// The corresponding C function is `fsync`, or `fdatasync` with `dataOnly`.
  public func synchronize(dataOnly: Bool = false) throws(Errno) {
    try check("fsync") { dataOnly ? fdatasync(rawValue) : fsync(rawValue) }
  }

  /// The corresponding C function is `copy_file_range`; both offsets move. Returns the bytes copied, 0 at the end.
  public func copyRange(to target: FileDescriptor, count: Int) throws(Errno) -> Int {
    try check("copy_file_range") { casher_copy_file_range(rawValue, nil, target.rawValue, nil, count) }
  }

  /// Makes this file share the extents of `source` (ioctl_ficlone(2)).
  public func clone(from source: FileDescriptor) throws(Errno) {
    try check("ficlone") { casher_ficlone(rawValue, source.rawValue) }
  }

  // MARK: attributes

  /// The corresponding C function is `fstat`.
  public func status() throws(Errno) -> FileStatus {
    var result = FileStatus()
    try check("fstat") { fstatat(rawValue, "", &result.raw, Int32(CASHER_AT_EMPTY_PATH)) }
    return result
  }

  /// The corresponding C function is `fstatat` with AT_SYMLINK_NOFOLLOW: a symlink in the last place is not followed.
  public func status(of path: FilePath) throws(Errno) -> FileStatus {
    var result = FileStatus()
    try path.withCString { path throws(Errno) in
      _ = try check("fstatat") { fstatat(rawValue, path, &result.raw, AT_SYMLINK_NOFOLLOW) }
    }
    return result
  }

  /// The corresponding C function is `fstatat`: symlinks are followed.
  public func statusOfTarget(of path: FilePath) throws(Errno) -> FileStatus {
    var result = FileStatus()
    try path.withCString { path throws(Errno) in
      _ = try check("fstatat") { fstatat(rawValue, path, &result.raw, 0) }
    }
    return result
  }

  /// `status(of:)`, nil when there is nothing of that name (ENOENT, ENOTDIR).
  public func statusIfPresent(of path: FilePath) throws(Errno) -> FileStatus? {
    do throws(Errno) { return try status(of: path) } catch {
      if error == .noSuchFile || error == .notDirectory { return nil }
      throw error
    }
  }

  /// The corresponding C function is `fchmod`.
  public func setPermissions(_ mode: UInt32) throws(Errno) { try check("fchmod") { fchmod(rawValue, mode) } }

  /// The corresponding C function is `fchmodat` on a name in this directory; follows symlinks.
  public func setPermissions(of path: FilePath, _ mode: UInt32) throws(Errno) {
    try path.withCString { path throws(Errno) in _ = try check("fchmodat") { fchmodat(rawValue, path, mode, 0) } }
  }

  /// The corresponding C function is `fchownat` with AT_SYMLINK_NOFOLLOW.
  public func setOwner(of path: FilePath, user: UInt32, group: UInt32) throws(Errno) {
    try path.withCString { path throws(Errno) in
      _ = try check("fchownat") {
        fchownat(rawValue, path, user, group, AT_SYMLINK_NOFOLLOW | Int32(CASHER_AT_EMPTY_PATH))
      }
    }
  }

  /// Sets the modification time of a name in this directory, in nanoseconds since 1970, and leaves the access time.
  /// The corresponding C function is `utimensat` with AT_SYMLINK_NOFOLLOW.
  public func setModified(of path: FilePath, _ nanoseconds: Int64) throws(Errno) {
    try setModified(of: path, nanoseconds, flags: AT_SYMLINK_NOFOLLOW)
  }

  /// As `setModified(of:_:)`, of what a symlink leads to, such as one in /proc/self/fd.
  public func setModifiedFollowing(_ path: FilePath, _ nanoseconds: Int64) throws(Errno) {
    try setModified(of: path, nanoseconds, flags: 0)
  }

  /// As `setModified(of:_:)`, of what this descriptor is open on. The corresponding C function is `futimens`.
  public func setModified(_ nanoseconds: Int64) throws(Errno) {
    let times = FileDescriptor.modified(nanoseconds)
    try check("futimens") { futimens(rawValue, times) }
  }

  private func setModified(of path: FilePath, _ nanoseconds: Int64, flags: Int32) throws(Errno) {
    let times = FileDescriptor.modified(nanoseconds)
    try path.withCString { path throws(Errno) in
      _ = try check("utimensat") { utimensat(rawValue, path, times, flags) }
    }
  }

  /// What utimensat(2) takes to set the modification time alone.
  private static func modified(_ nanoseconds: Int64) -> [timespec] {
    var (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    if rest < 0 { (seconds, rest) = (seconds - 1, rest + 1_000_000_000) }
    return [
      timespec(tv_sec: 0, tv_nsec: Int(CASHER_UTIME_OMIT)), timespec(tv_sec: Int(seconds), tv_nsec: Int(rest)),
    ]
  }

  // MARK: names in this directory

  /// The corresponding C function is `readlinkat`; an empty path reads the link this descriptor is open on.
  public func readLink(_ path: FilePath = FilePath([])) throws(Errno) -> FilePath {
    try path.withCString { path throws(Errno) in
      var size = 256
      while true {
        var buffer = [UInt8](repeating: 0, count: size)
        let count = try check("readlinkat") { readlinkat(rawValue, path, &buffer, size) }
        if count < size { return FilePath(buffer[..<count]) }
        size *= 4
      }
    }
  }

  /// The corresponding C function is `mkdirat`.
  public func makeDirectory(_ path: FilePath, mode: UInt32) throws(Errno) {
    try path.withCString { path throws(Errno) in _ = try check("mkdirat") { mkdirat(rawValue, path, mode) } }
  }

  /// The corresponding C function is `unlinkat`.
  public func remove(_ path: FilePath, directory: Bool = false) throws(Errno) {
    try path.withCString { path throws(Errno) in
      _ = try check("unlinkat") { unlinkat(rawValue, path, directory ? AT_REMOVEDIR : 0) }
    }
  }

  /// The corresponding C function is `renameat2`.
  public func rename(
    _ name: FilePath, to directory: FileDescriptor, as newName: FilePath, flags: UInt32 = 0
  ) throws(Errno) {
    try name.withCString { name throws(Errno) in
      try newName.withCString { newName throws(Errno) in
        _ = try check("renameat2") { casher_renameat2(rawValue, name, directory.rawValue, newName, flags) }
      }
    }
  }

  /// The corresponding C function is `linkat`.
  public func link(
    _ name: FilePath, to directory: FileDescriptor, as newName: FilePath, flags: Int32 = 0
  ) throws(Errno) {
    try name.withCString { name throws(Errno) in
      try newName.withCString { newName throws(Errno) in
        _ = try check("linkat") { linkat(rawValue, name, directory.rawValue, newName, flags) }
      }
    }
  }

  /// The corresponding C function is `symlinkat`.
  public func makeSymlink(_ path: FilePath, to target: FilePath) throws(Errno) {
    try path.withCString { path throws(Errno) in
      try target.withCString { target throws(Errno) in
        _ = try check("symlinkat") { symlinkat(target, rawValue, path) }
      }
    }
  }

  /// The corresponding C function is `mknodat`.
  public func makeNode(_ path: FilePath, mode: UInt32, device: UInt64) throws(Errno) {
    try path.withCString { path throws(Errno) in
      _ = try check("mknodat") { mknodat(rawValue, path, mode, dev_t(device)) }
    }
  }
}
