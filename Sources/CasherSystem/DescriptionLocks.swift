import CLinux
import Glibc

/// Locks that belong to an open file description, not to a process (fcntl(2)).
extension FileDescriptor {
  public enum DescriptionLock: Int32, Sendable {
    /// F_OFD_GETLK: the lock becomes the one in the way, or of type F_UNLCK.
    case test = 36
    /// F_OFD_SETLK: EAGAIN or EACCES where another has it.
    case set = 37
  }

  /// `lock` with a process id of 0. The corresponding C function is `fcntl`.
  public func lockOfDescription(_ kind: DescriptionLock, _ lock: inout flock) throws(Errno) {
    try check("fcntl") {
      withUnsafeMutablePointer(to: &lock) { casher_fcntl(rawValue, kind.rawValue, Int(bitPattern: $0)) }
    }
  }
}
