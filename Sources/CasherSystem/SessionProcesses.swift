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
}
