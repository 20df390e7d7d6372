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
}
