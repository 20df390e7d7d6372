import CLinux
import CasherSystem
import Glibc

/// A nameless file on the store's disk, for what a command writes to its streams or what is on its way into the store.
public enum Spool {
  /// Open for reading and writing; gone when it is closed.
  public static func make(in directory: FilePath) throws(Errno) -> FileDescriptor {
    do throws(Errno) {
      return try FileDescriptor.open(directory, Int32(CASHER_O_TMPFILE) | O_RDWR, mode: 0o600)
    } catch {
      // A filesystem without O_TMPFILE: a name that is gone at once.
      let name = directory.appending(".spool-\(UInt64.random(in: .min ... .max))")
      let file = try FileDescriptor.open(name, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
      try? FileDescriptor.workingDirectory.remove(name)
      return file
    }
  }
}
