import CSQLite
import CasherSystem
import Glibc

extension StoreError {
  /// From a system call that failed on `path`.
  init(_ cause: Errno, _ path: FilePath) { self.init(StoreError.code(cause), path, cause: cause) }

  private static func code(_ cause: Errno) -> Code {
    switch cause {
    case .noSpace, .quotaExceeded: .noSpace
    case .readOnlyFilesystem: .readOnly
    case .accessDenied, .notPermitted: .permission
    case .noSuchFile, .stale: .vanished
    case .notDirectory: .notDirectory
    case .noLocks, .notSupported: .noLocks
    default: .inputOutput
    }
  }

  /// From SQLite's extended result code (https://sqlite.org/rescode.html) and the errno behind it, 0 for none.
  init(sqlite code: Int32, systemError: Int32, message: String, directory: FilePath) {
    // A read beyond the end of a file fails no system call: what is said to be the cause is an older one.
    let isTooShort = code == 522  // SQLITE_IOERR_SHORT_READ
    let cause = systemError == 0 || isTooShort ? nil : Errno(rawValue: systemError)
    let lockCodes: [Int32] = [
      3850,  // SQLITE_IOERR_LOCK
      2314,  // SQLITE_IOERR_RDLOCK
      2058,  // SQLITE_IOERR_UNLOCK
      5130,  // SQLITE_IOERR_SHMLOCK
      5386,  // SQLITE_IOERR_SHMMAP
      22,  // SQLITE_NOLFS
    ]
    let kind: Code =
      switch code & 0xff {
      case SQLITE_FULL: .noSpace
      case SQLITE_IOERR where isTooShort: .corruptDatabase
      case SQLITE_IOERR where code == 4874 && cause == nil: .noSpace  // SQLITE_IOERR_SHMSIZE comes without a cause
      case SQLITE_READONLY: code == 1032 ? .vanished : .readOnly  // SQLITE_READONLY_DBMOVED
      case SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL: .busy
      case SQLITE_CORRUPT, SQLITE_NOTADB: .corruptDatabase
      case SQLITE_PERM, SQLITE_AUTH: .permission
      case SQLITE_CANTOPEN, SQLITE_IOERR:
        if let cause, StoreError.code(cause) != .inputOutput {
          StoreError.code(cause)
        } else if lockCodes.contains(code), cause != .ioError {
          .noLocks
        } else {
          .inputOutput
        }
      default: .inputOutput
      }
    // What the system said of a table that is missing or not as it should be means another schema than this one.
    let damaged = code == SQLITE_ERROR
    self.init(damaged ? .corruptDatabase : kind, directory, cause: cause, detail: message)
  }
}

/// Runs system calls of the store and gives their failures its own type and the path concerned.
@inline(__always)
func attempt<Result>(_ path: @autoclosure () -> FilePath, _ body: () throws(Errno) -> Result) throws(StoreError)
  -> Result
{
  do throws(Errno) { return try body() } catch { throw StoreError(error, path()) }
}
