import CasherRecord
import CasherSystem

/// A working directory, which threads may share (clone(2), CLONE_FS).
final class WorkingDirectory {
  /// Absolute; without `.`, doubled and trailing slashes.
  var path: [UInt8]
  /// Whether `path` has neither symlinks nor `..`: then `..` can be taken off it by name.
  var isCanonical: Bool
  /// The path as the trace last showed it, escapes and all.
  var text: [UInt8] = []

  init(path: [UInt8], isCanonical: Bool) {
    self.path = path
    self.isCanonical = isCanonical
  }

  func copy() -> WorkingDirectory {
    let result = WorkingDirectory(path: path, isCanonical: isCanonical)
    result.text = text
    return result
  }
}

/// What a process did that its result cannot be stored for, or that decides about it.
enum Finding: Hashable {
  case network(String)
  case unobserved(String)
  case connected(PathTable.ID)
  /// A Unix socket bound to this name, which is a file unless it begins with `@`.
  case bound(PathTable.ID)
  /// A device or a socket made with mknod(2).
  case special(PathTable.ID)
}

/// A thread of the trace; strace makes no difference between processes and threads.
final class TracedProcess {
  let id: Int32
  let index: Int32
  var directory: WorkingDirectory
  var children: [Int32] = []
  var entries: [AccessLog.Entry] = []
  var findings: Set<Finding> = []
  var hasExited = false

  /// The beginning of a call that has not returned.
  var unfinished: [UInt8] = []
  /// Whether that call makes a process, and which one has been taken for it already.
  var isMakingProcess = false
  var madeProcess: Int32?
  /// The rest of an execve of another thread of this process, which has taken this one's id.
  var isTakenOver = false

  /// Lines that came before it was known whose child this is; nil once that is known.
  var held: [(order: UInt32, line: [UInt8])]? = nil

  init(id: Int32, index: Int32, directory: WorkingDirectory) {
    self.id = id
    self.index = index
    self.directory = directory
  }
}
