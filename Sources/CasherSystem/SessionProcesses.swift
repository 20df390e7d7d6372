import Glibc

extension ProcessEntry {
  /// The processes of the calling process's session, itself among them; the others of the system may be many, and few of
  /// them have anything to do with it (getsid(2)).
  public static func ofSession() -> [ProcessEntry] {
    let session = getsid(0)
    let names = (try? FileDescriptor.workingDirectory.entries(of: "/proc")) ?? []
    return names.compactMap { entry in
      guard let process = Int32(String(decoding: entry.name.bytes, as: UTF8.self)), getsid(process) == session else {
        return nil
      }
      return ProcessEntry(of: process)
    }
  }

  /// Whether the process has one thread and `child` alone, and does nothing but wait for it (proc_pid_wchan(5),
  /// proc_tid_children(5)). False where the kernel does not say.
  public func waits(forOnly child: Int32) -> Bool {
    let threads = FilePath("/proc/\(process)/task")
    guard let names = try? FileDescriptor.workingDirectory.entries(of: threads), names.count == 1,
      let children = ProcessEntry.text(threads.appending("\(process)/children")),
      children.split(separator: UInt8(ascii: " ")).map({ Int32(String(decoding: $0, as: UTF8.self)) }) == [child],
      let place = ProcessEntry.text(FilePath("/proc/\(process)/wchan"))
    else { return false }
    return place == Array("do_wait".utf8)
  }

  private static func text(_ path: FilePath) -> [UInt8]? {
    guard let file = try? FileDescriptor.open(path, O_RDONLY) else { return nil }
    defer { file.close() }
    return try? file.readAll(limit: 65536)
  }

  /// The calling process's id.
  public static var ownIdentifier: Int32 { getpid() }
}
