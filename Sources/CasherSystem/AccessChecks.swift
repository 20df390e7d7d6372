import CLinux
import Glibc

extension FileDescriptor {
  /// Throws EACCES, EROFS and the like unless the calling thread may do to this directory, which may be O_PATH, what
  /// `mode` says. The corresponding C function is `faccessat` with AT_EACCESS.
  public func checkAccess(_ mode: Int32) throws(Errno) {
    try check("faccessat") { faccessat(rawValue, ".", mode, Int32(CASHER_AT_EACCESS)) }
  }
}
