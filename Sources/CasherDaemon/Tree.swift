import CLinux
import CasherSystem
import Glibc

/// The files that observations speak of: the mount's lower directory for relative paths, the machine's root for
/// absolute ones. Reads what is there now, never what a cache remembers.
struct Tree: Sendable {
  /// The lower directory of the mount (O_PATH).
  let root: FileDescriptor

  /// Longest path that one system call takes (PATH_MAX less its terminator, with room for a name).
  private static let stepLimit = 3800

  /// Calls `body` with a directory and a path below it that together stand for `path`.
  ///
  /// A path longer than the kernel takes at once is walked in steps; the descriptors in between are closed afterwards.
  func with<Result>(
    _ path: FilePath, _ body: (FileDescriptor, FilePath) throws(Errno) -> Result
  ) throws(Errno) -> Result {
    if path.isEmpty { return try body(root, ".") }
    let base = path.isAbsolute ? FileDescriptor.workingDirectory : root
    if path.bytes.count < Tree.stepLimit { return try body(base, path) }
    var directory = base
    defer { if directory != base { directory.close() } }
    var step = path.isAbsolute ? FilePath("/") : FilePath([])
    let names = path.components
    for name in names.dropLast() {
      if step.bytes.count + name.bytes.count + 1 >= Tree.stepLimit {
        let next = try directory.open(step, Int32(CASHER_O_PATH) | O_DIRECTORY)
        if directory != base { directory.close() }
        directory = next
        step = FilePath([])
      }
      step = step.appending(name)
    }
    if let last = names.last { step = step.appending(last) }
    return try body(directory, step)
  }

  /// Nil when there is nothing of that name. A symlink in the last place is not followed.
  func status(of path: FilePath) throws(Errno) -> FileStatus? {
    try with(path) { base, rest throws(Errno) in try base.statusIfPresent(of: rest) }
  }

  /// As `status(of:)`, following symlinks; nil for a dangling one too.
  func targetStatus(of path: FilePath) throws(Errno) -> FileStatus? {
    try with(path) { base, rest throws(Errno) in
      do throws(Errno) { return try base.statusFollowing(rest) } catch {
        if error == .noSuchFile || error == .notDirectory { return nil }
        throw error
      }
    }
  }

  func readLink(_ path: FilePath) throws(Errno) -> FilePath {
    try with(path) { base, rest throws(Errno) in try base.readLink(rest) }
  }

  /// Opens for reading; `O_NOFOLLOW` unless `following`.
  func open(_ path: FilePath, following: Bool = false) throws(Errno) -> FileDescriptor {
    try with(path) { base, rest throws(Errno) in
      try base.open(rest, O_RDONLY | O_NONBLOCK | O_NOCTTY | (following ? 0 : O_NOFOLLOW))
    }
  }

  /// The names in a directory, with their types, sorted; ENOTDIR and ENOENT as open(2) gives them.
  func entries(of path: FilePath, following: Bool = false) throws(Errno) -> [DirectoryEntry] {
    let directory = try with(path) { base, rest throws(Errno) in
      try base.open(rest, O_RDONLY | O_DIRECTORY | (following ? 0 : O_NOFOLLOW))
    }
    defer { directory.close() }
    return try Tree.typed(try directory.entries(), in: directory).sorted { $0.name < $1.name }
  }

  /// Fills in the types that the filesystem left out of its entries.
  static func typed(_ entries: [DirectoryEntry], in directory: FileDescriptor) throws(Errno) -> [DirectoryEntry] {
    var result: [DirectoryEntry] = []
    result.reserveCapacity(entries.count)
    for entry in entries {
      guard entry.type == .unknown else {
        result.append(entry)
        continue
      }
      guard let status = try directory.statusIfPresent(of: entry.name) else { continue }
      result.append(DirectoryEntry(name: entry.name, type: status.type, inode: entry.inode))
    }
    return result
  }
}
