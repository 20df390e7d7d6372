import CasherSystem
import Glibc

/// One name in a directory, kept as the C string that system calls want; millions of them may live.
///
/// A value that is owned by hand: whoever holds it last calls `free`.
struct EntryName: @unchecked Sendable {  // the bytes never change after `init`
  let bytes: UnsafeMutablePointer<CChar>

  init(copying name: UnsafePointer<CChar>) {
    // Swift itself ends the process where memory ends, at every object; this is no other case.
    guard let copy = strdup(name) else { preconditionFailure("out of memory") }
    bytes = copy
  }

  var cString: UnsafePointer<CChar> { UnsafePointer(bytes) }
  var path: FilePath { FilePath(cString: cString) }

  func equals(_ name: UnsafePointer<CChar>) -> Bool { strcmp(bytes, name) == 0 }
  func free() { Glibc.free(bytes) }
}

/// Where something is: a name in a directory. The directory is pinned in the table as long as the place is in use.
struct Place {
  var directory: Inode
  var name: EntryName

  func isAt(_ name: UnsafePointer<CChar>, in directory: Inode) -> Bool {
    self.directory === directory && self.name.equals(name)
  }
}
