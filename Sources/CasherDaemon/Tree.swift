import CLinux
import CasherOverlay
import CasherSystem
import Glibc

/// The files that observations speak of: the mount's lower directory, and what is placed in it, for relative paths, the
/// machine's root for absolute ones. Reads what is there now, never what a cache remembers.
struct Tree: Sendable {
  /// The lower directory of the mount (O_PATH).
  let root: FileDescriptor
  let placements: Placements

  /// Longest path that one system call takes (PATH_MAX less its terminator, with room for a name).
  private static let stepLimit = 3800
  /// As many symlinks as the kernel follows in one path (path_resolution(7)).
  private static let mostLinks = 40

  /// Calls `body` with a directory and a path below it that together stand for `path` in lower.
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

  // MARK: placed files

  /// The placed file at a path.
  func placed(_ path: FilePath) -> PlacedFile? {
    guard !path.isAbsolute, placements.mayHave(path.lastComponent) else { return nil }
    let key = try? with(path.parent) { base, rest throws(Errno) -> DirectoryKey in
      let directory = try base.open(rest, Int32(CASHER_O_PATH) | O_DIRECTORY)
      defer { directory.close() }
      return try DirectoryKey(of: directory)
    }
    return key.flatMap { placements.file(path.lastComponent, in: $0) }
  }

  /// What a descriptor of lower is open on, under the number that it is seen under.
  func status(of descriptor: FileDescriptor) throws(Errno) -> FileStatus {
    try placements.identifiedStatus(of: descriptor)
  }

  // MARK: looking

  /// Nil when there is nothing of that name. A symlink in the last place is not followed.
  func status(of path: FilePath) throws(Errno) -> FileStatus? {
    while true {
      if let file = placed(path) { return file.status }
      let count = placements.generation
      let found = try lowerStatus(of: path)
      // It may have come to be placed between the two looks.
      if found != nil || placements.generation == count { return found }
    }
  }

  private func lowerStatus(of path: FilePath) throws(Errno) -> FileStatus? {
    try with(path) { base, rest throws(Errno) in try lowerStatus(of: rest, in: base) }
  }

  /// What lower has at a path below a directory of it; nil when there is nothing.
  func lowerStatus(of path: FilePath, in directory: FileDescriptor) throws(Errno) -> FileStatus? {
    try path.withCString { path throws(Errno) in try lowerStatus(of: path, in: directory) }
  }

  func lowerStatus(of path: FileDescriptor.CName, in directory: FileDescriptor) throws(Errno) -> FileStatus? {
    guard placements.hasAliases else { return try directory.statusIfPresent(of: path) }
    do throws(Errno) {
      let found = try directory.statusAndBirth(of: path)
      return placements.identified(found.status, birth: found.birth)
    } catch {
      if error == .noSuchFile || error == .notDirectory { return nil }
      throw error
    }
  }

  /// As `status(of:)`, following symlinks; nil for a dangling one too.
  func targetStatus(of path: FilePath) throws(Errno) -> FileStatus? {
    let path = try followed(path)
    if let file = placed(path) { return file.status }
    return try with(path) { base, rest throws(Errno) in
      guard placements.hasAliases else {
        return try rest.withCString { rest throws(Errno) in try base.statusIfPresent(of: rest, following: true) }
      }
      let opened: FileDescriptor
      do throws(Errno) { opened = try base.open(rest, Int32(CASHER_O_PATH)) } catch {
        if error == .noSuchFile || error == .notDirectory { return nil }
        throw error
      }
      defer { opened.close() }
      return try status(of: opened)
    }
  }

  /// The path that the symlinks at a relative path lead to, as far as a placed file may be at their end: lower knows
  /// nothing of that.
  private func followed(_ path: FilePath) throws(Errno) -> FilePath {
    if path.isAbsolute || placements.isEmpty { return path }
    var path = path
    for _ in 0..<Tree.mostLinks {
      guard try lowerStatus(of: path)?.type == .symlink else { return path }
      let target = try readLink(path)
      if target.isAbsolute { return target }
      path = path.parent.appending(target)
    }
    throw .tooManySymlinks
  }

  func readLink(_ path: FilePath) throws(Errno) -> FilePath {
    try with(path) { base, rest throws(Errno) in try base.readLink(rest) }
  }

  /// Opens for reading, a placed file's blob for it; `O_NOFOLLOW` unless `following`.
  func open(_ path: FilePath, following: Bool = false) throws(Errno) -> FileDescriptor {
    let path = following ? try followed(path) : path
    while true {
      if let file = placed(path) { return try placements.open(file) }
      let count = placements.generation
      do throws(Errno) {
        return try with(path) { base, rest throws(Errno) in
          try base.open(rest, O_RDONLY | O_NONBLOCK | O_NOCTTY | (following ? 0 : O_NOFOLLOW))
        }
      } catch {
        if error != .noSuchFile || placements.generation == count { throw error }
      }
    }
  }

  /// The names in a directory, with their types, sorted; ENOTDIR and ENOENT as open(2) gives them.
  func entries(of path: FilePath, following: Bool = false) throws(Errno) -> [DirectoryEntry] {
    let directory = try with(path) { base, rest throws(Errno) in
      try base.open(rest, O_RDONLY | O_DIRECTORY | (following ? 0 : O_NOFOLLOW))
    }
    defer { directory.close() }
    // Placed names first: what becomes an ordinary file between the two looks is seen at least once.
    let placed = placements.isEmpty || path.isAbsolute ? [:] : placements.files(in: try DirectoryKey(of: directory))
    var entries = try Tree.typed(try directory.entries(), in: directory)
    if !placed.isEmpty {
      entries.removeAll { placed[$0.name] != nil }
      entries += placed.map { DirectoryEntry(name: $0.key, type: .regular, inode: $0.value.number) }
    }
    return entries.filter { !Placements.isTemporary($0.name) }.sorted { $0.name < $1.name }
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
