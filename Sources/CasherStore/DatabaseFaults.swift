import CSQLite
import CasherSystem
import Glibc
import Synchronization

/// Has SQLite's own system calls counted and failed by `Faults`, as all others of the store are.
///
/// SQLite lets its calls be replaced by name (sqlite3_vfs, xSetSystemCall). The replacements are put in only while
/// faults are injected; they end in the calls that SQLite would have made.
enum DatabaseFaults {
  private static let done = Mutex(false)

  static func installOnce() {
    guard Faults.isInUse else { return }
    done.withLock { done in
      if done { return }
      done = true
      install()
    }
  }

  private typealias Transfer = @convention(c) (Int32, UnsafeMutableRawPointer?, Int, Int) -> Int
  private typealias PlainTransfer = @convention(c) (Int32, UnsafeMutableRawPointer?, Int) -> Int
  private typealias Open = @convention(c) (UnsafePointer<CChar>?, Int32, Int32) -> Int32
  private typealias Truncate = @convention(c) (Int32, Int) -> Int32
  private typealias Unlink = @convention(c) (UnsafePointer<CChar>?) -> Int32

  private static func fails(_ call: StaticString) -> Bool {
    guard let fault = Faults.injected(into: call) else { return false }
    errno = fault.rawValue
    return true
  }

  private static func install() {
    let open: Open = { path, flags, mode in
      guard let path, !DatabaseFaults.fails("sqlite-open") else { return -1 }
      do throws(Errno) {
        return try FileDescriptor.open(FilePath(cString: path), flags, mode: UInt32(bitPattern: mode)).rawValue
      } catch {
        errno = error.rawValue
        return -1
      }
    }
    let pread: Transfer = { DatabaseFaults.fails("sqlite-pread") ? -1 : Glibc.pread($0, $1, $2, $3) }
    let pwrite: Transfer = { DatabaseFaults.fails("sqlite-pwrite") ? -1 : Glibc.pwrite($0, $1, $2, $3) }
    let read: PlainTransfer = { DatabaseFaults.fails("sqlite-read") ? -1 : Glibc.read($0, $1, $2) }
    let write: PlainTransfer = { DatabaseFaults.fails("sqlite-write") ? -1 : Glibc.write($0, $1, $2) }
    let truncate: Truncate = { DatabaseFaults.fails("sqlite-ftruncate") ? -1 : Glibc.ftruncate($0, $1) }
    let unlink: Unlink = { path in
      guard let path, !DatabaseFaults.fails("sqlite-unlink") else { return -1 }
      return Glibc.unlink(path)
    }
    replace("open", unsafeBitCast(open, to: sqlite3_syscall_ptr.self))
    for name in ["pread", "pread64"] { replace(name, unsafeBitCast(pread, to: sqlite3_syscall_ptr.self)) }
    for name in ["pwrite", "pwrite64"] { replace(name, unsafeBitCast(pwrite, to: sqlite3_syscall_ptr.self)) }
    replace("read", unsafeBitCast(read, to: sqlite3_syscall_ptr.self))
    replace("write", unsafeBitCast(write, to: sqlite3_syscall_ptr.self))
    replace("ftruncate", unsafeBitCast(truncate, to: sqlite3_syscall_ptr.self))
    replace("unlink", unsafeBitCast(unlink, to: sqlite3_syscall_ptr.self))
  }

  /// Has all of SQLite's calls of that name made by `call`. Gives what made them until now.
  @discardableResult
  static func replace(_ name: String, _ call: sqlite3_syscall_ptr) -> sqlite3_syscall_ptr? {
    guard let system = sqlite3_vfs_find(nil), let set = system.pointee.xSetSystemCall,
      let present = system.pointee.xGetSystemCall?(system, name), set(system, name, call) == SQLITE_OK
    else { return nil }
    return present
  }
}
