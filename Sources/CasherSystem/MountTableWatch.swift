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

  /// The mount that is seen at exactly this place now. Needs no further descriptor, of which there may be none left.
  public func top(at path: FilePath) throws(Errno) -> MountEntry? {
    try table.seek(to: 0)
    return MountTable.entries(of: try table.readAll()).last { $0.mountPoint == path }
  }
}
