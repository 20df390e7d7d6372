import CLinux
import Glibc

/// A system call's error number (errno(3)).
public struct Errno: Error, Hashable, Sendable, RawRepresentable {
  public let rawValue: Int32

  public init(rawValue: Int32) { self.rawValue = rawValue }

  /// The calling thread's errno, read right after a call that failed.
  public static var current: Errno { Errno(rawValue: errno) }

  public static let noSuchFile = Errno(rawValue: ENOENT)
  public static let notPermitted = Errno(rawValue: EPERM)
  public static let accessDenied = Errno(rawValue: EACCES)
  public static let exists = Errno(rawValue: EEXIST)
  public static let notDirectory = Errno(rawValue: ENOTDIR)
  public static let isDirectory = Errno(rawValue: EISDIR)
  public static let directoryNotEmpty = Errno(rawValue: ENOTEMPTY)
  public static let tooManySymlinks = Errno(rawValue: ELOOP)
  public static let stale = Errno(rawValue: ESTALE)
  public static let noSpace = Errno(rawValue: ENOSPC)
  public static let ioError = Errno(rawValue: EIO)
  public static let invalid = Errno(rawValue: EINVAL)
  public static let noData = Errno(rawValue: ENODATA)
  public static let notSupported = Errno(rawValue: EOPNOTSUPP)
  public static let crossDevice = Errno(rawValue: EXDEV)
  public static let interrupted = Errno(rawValue: EINTR)
  public static let wouldBlock = Errno(rawValue: EAGAIN)
  public static let nameTooLong = Errno(rawValue: ENAMETOOLONG)
  public static let noSuchProcess = Errno(rawValue: ESRCH)
  public static let notTerminal = Errno(rawValue: ENOTTY)
}

extension Errno: CustomStringConvertible {
  /// The C library's words for it: `No such file or directory`.
  public var description: String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
      guard let base = buffer.baseAddress, strerror_r(rawValue, base, 256) == 0 else { return "error \(rawValue)" }
      return String(cString: base)
    }
  }
}

/// Runs a call that reports failure as -1, again after EINTR, under the name that fault injection knows it by.
@inline(__always)
@discardableResult
func check<Result: SignedInteger>(_ call: StaticString, _ body: () -> Result) throws(Errno) -> Result {
  if Faults.armed, let fault = Faults.next(call) { throw fault }
  while true {
    let result = body()
    if result != -1 { return result }
    let error = Errno.current
    if error != .interrupted { throw error }
  }
}
