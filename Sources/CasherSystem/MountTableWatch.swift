import Glibc

/// Tells when this process's mount table changes (proc_pid_mountinfo(5): poll(2) reports it as an error condition).
public struct MountTableWatch: Sendable {
  private let table: FileDescriptor

  public init() throws(Errno) { table = try FileDescriptor.open("/proc/self/mountinfo", O_RDONLY) }

  /// Waits for the next change since the last call, or since the watch was made.
  public func waitForChange() throws(Errno) {
    var entry = pollfd(fd: table.rawValue, events: Int16(POLLPRI), revents: 0)
    try check("poll") { poll(&entry, 1, -1) }
  }
}
