import CLinux
import Glibc

/// Namespaces of this process (namespaces(7)).
public enum Namespaces {
  /// Puts this process, which must have one thread only, into a mount namespace of its own, and into a user namespace
  /// where it is not root. The corresponding C function is `unshare`.
  public static func separateMounts() throws(Errno) {
    let flags = CASHER_CLONE_NEWNS | (geteuid() == 0 ? 0 : CASHER_CLONE_NEWUSER)
    try check("unshare") { casher_unshare(Int32(bitPattern: UInt32(truncatingIfNeeded: flags))) }
  }

  /// Whether two processes see the same mounts under the same root; the other is this one when it is nil. Not if it cannot
  /// be told.
  public static func sharesMounts(_ process: Int32, with other: Int32?) -> Bool {
    let base = FilePath(other.map { "/proc/\($0)" } ?? "/proc/self")
    let asked = FilePath("/proc/\(process)")
    return ["ns/mnt", "root/."].allSatisfy { name in
      let directory = FileDescriptor.workingDirectory
      guard let left = try? directory.statusOfTarget(of: base.appending(name)),
        let right = try? directory.statusOfTarget(of: asked.appending(name))
      else { return false }
      return left.key == right.key
    }
  }
}
