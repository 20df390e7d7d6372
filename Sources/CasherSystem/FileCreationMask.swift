import CLinux

/// The file creation mask of one thread (umask(2)).
public enum FileCreationMask {
  /// Calls `body` with the calling thread having this mask, and with the mode to create with. To be called by a process
  /// whose own mask is 0.
  ///
  /// A filesystem leaves the mask out of account in a directory with a default access list (acl(5)). Where a thread may have
  /// no mask of its own, it counts everywhere.
  public static func with<Result, Failure: Error>(
    _ mask: UInt32, _ mode: UInt32, _ body: (UInt32) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    if mask == 0 { return try body(mode) }
    guard casher_thread_umask(mask) == 0 else { return try body(mode & ~mask) }
    defer { _ = casher_thread_umask(0) }
    return try body(mode)
  }
}
