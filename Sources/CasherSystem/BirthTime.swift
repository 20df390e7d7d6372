import CLinux

extension FileDescriptor {
  /// When the file at `path` came to be, nanoseconds since 1970; nil where the filesystem does not know. Does not follow
  /// a symlink. The corresponding C function is `statx` with STATX_BTIME.
  public func birthTime(of path: FilePath) -> Int64? {
    var time: Int64 = 0
    return path.withCString { casher_birth_time(rawValue, $0, &time) } == 0 ? time : nil
  }
}
