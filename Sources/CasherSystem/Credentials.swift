import CLinux
import Glibc

/// Whose permissions the calling thread's file operations have.
public enum Credentials {
  /// Calls `body` with the thread acting on files as this user: owner of what it creates, and held to what the user
  /// may do. Without effect unless the process is root and the user is another.
  ///
  /// The corresponding system calls are `setgroups`, `setfsgid` and `setfsuid` (setfsuid(2)); they change the calling
  /// thread alone.
  public static func actingAs<Result, Failure: Error>(
    user: UInt32, group: UInt32, groups: [UInt32], _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    guard geteuid() == 0, user != 0 || group != getegid() else { return try body() }
    _ = casher_thread_setgroups(groups.count, groups)
    _ = casher_thread_setfsgid(group)
    _ = casher_thread_setfsuid(user)
    defer {
      _ = casher_thread_setfsuid(0)
      _ = casher_thread_setfsgid(getegid())
      _ = casher_thread_setgroups(0, nil)
    }
    return try body()
  }
}
