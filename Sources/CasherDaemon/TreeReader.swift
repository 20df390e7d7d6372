import CLinux
import CasherOverlay
import CasherSystem
import Glibc

/// Looks at many paths of a tree, one after the other. The directories on the way to the last one stay open, so that
/// paths in the order of their names cost the kernel one step each.
///
/// Remembers nothing of what it saw: each look is at what is there then. A directory that is given another name
/// meanwhile is looked into under its old one until `close()`. Used by one thread at a time.
final class TreeReader {
  let tree: Tree
  /// The directory of the last path, behind those above it that were used before.
  private var directories: [Directory] = []
  /// Room for a name and its terminator.
  private let name = UnsafeMutablePointer<CChar>.allocate(capacity: TreeReader.longestName + 1)

  private struct Directory {
    /// Without a slash at its end; empty for lower's root.
    let path: [UInt8]
    var state: State
    /// Whether files are placed in it, as of `generation` of the placements.
    var hasPlaced = false
    var generation: UInt64 = 0
    var key: DirectoryKey?
  }

  private enum State {
    /// One path in it has been looked at: opening it pays from the second on.
    case met
    case open(FileDescriptor)
    /// It does not exist, or is no directory.
    case missing
    /// It cannot be opened; each path in it tells why by itself.
    case closed
  }

  /// NAME_MAX, with room for filesystems that have more.
  private static let longestName = 1023
  /// Longest path that is taken apart; longer ones are the tree's business.
  private static let longestPath = 3800

  init(_ tree: Tree) { self.tree = tree }

  deinit {
    close()
    name.deallocate()
  }

  /// Lets go of the directories.
  func close() {
    for directory in directories { if case .open(let descriptor) = directory.state { descriptor.close() } }
    directories.removeAll(keepingCapacity: true)
  }

  /// As `Tree.status(of:)`; with `following` as `Tree.targetStatus(of:)`.
  func status(of path: FilePath, following: Bool = false) throws(Errno) -> FileStatus? {
    // Where a symlink of the mount leads to may be placed, and what stands outside may be a file that was.
    let isPlain = !following || path.isAbsolute && !tree.placements.hasAliases
    guard isPlain, enter(path) else {
      return following ? try tree.targetStatus(of: path) : try tree.status(of: path)
    }
    let last = directories.count - 1
    switch directories[last].state {
    case .missing: return nil
    case .met, .closed: return following ? try tree.targetStatus(of: path) : try tree.status(of: path)
    case .open(let descriptor):
      if following { return try descriptor.statusIfPresent(of: UnsafePointer(name), following: true) }
      return try status(in: descriptor, last, path)
    }
  }

  /// The status of `name` in an open directory.
  private func status(in descriptor: FileDescriptor, _ last: Int, _ path: FilePath) throws(Errno) -> FileStatus? {
    let isInside = !path.isAbsolute
    while true {
      let generation = isInside ? tree.placements.generation : 0
      if isInside, try hasPlaced(last, descriptor, generation), let key = directories[last].key,
        let file = tree.placements.file(path.lastComponent, in: key)
      {
        return file.status
      }
      let found = try tree.lowerStatus(of: UnsafePointer(name), in: descriptor)
      // It may have come to be placed between the two looks.
      if found != nil || !isInside || tree.placements.generation == generation { return found }
    }
  }

  private func hasPlaced(
    _ index: Int, _ descriptor: FileDescriptor, _ generation: UInt64
  ) throws(Errno) -> Bool {
    if tree.placements.isEmpty { return false }
    if directories[index].generation == generation { return directories[index].hasPlaced }
    let key: DirectoryKey
    if let known = directories[index].key { key = known } else { key = try DirectoryKey(of: descriptor) }
    directories[index].key = key
    directories[index].hasPlaced = tree.placements.hasFiles(in: key)
    directories[index].generation = generation
    return directories[index].hasPlaced
  }

  // MARK: directories

  /// Makes the path's directory the last one and its last component `name`; false for a path that is not taken apart.
  private func enter(_ path: FilePath) -> Bool {
    path.bytes.withUnsafeBufferPointer { bytes -> Bool in
      guard bytes.count <= TreeReader.longestPath else { return false }
      let slash = bytes.lastIndex(of: UInt8(ascii: "/"))
      let start = slash.map { $0 + 1 } ?? 0
      let count = bytes.count - start
      guard count > 0, count <= TreeReader.longestName, bytes[start] != UInt8(ascii: ".") || count > 2 else {
        return false
      }
      // The root of all is written with a slash.
      let parent = UnsafeBufferPointer(rebasing: bytes[..<(slash == 0 ? 1 : slash ?? 0)])
      enterDirectory(parent)
      for index in 0..<count { name[index] = CChar(bitPattern: bytes[start + index]) }
      name[count] = 0
      return true
    }
  }

  private func enterDirectory(_ path: UnsafeBufferPointer<UInt8>) {
    while let last = directories.last {
      if TreeReader.isWithin(path, last.path) { break }
      if case .open(let descriptor) = last.state { descriptor.close() }
      directories.removeLast()
    }
    guard let last = directories.last, last.path.count == path.count else {
      directories.append(Directory(path: Array(path), state: .met))
      return
    }
    guard case .met = last.state else { return }
    directories[directories.count - 1].state = open(FilePath(last.path))
  }

  private func open(_ path: FilePath) -> State {
    do throws(Errno) {
      return .open(
        try tree.with(path) { base, rest throws(Errno) in
          try base.open(rest, Int32(CASHER_O_PATH) | O_DIRECTORY)
        })
    } catch {
      return error == .noSuchFile || error == .notDirectory ? .missing : .closed
    }
  }

  /// Whether a path is `directory` or below it.
  private static func isWithin(_ path: UnsafeBufferPointer<UInt8>, _ directory: [UInt8]) -> Bool {
    let count = directory.count
    guard path.count >= count else { return false }
    // Paths outside the mount are not below lower's root.
    if count == 0 { return path.first != UInt8(ascii: "/") }
    guard directory.withUnsafeBufferPointer({ $0.elementsEqual(path.prefix(count)) }) else { return false }
    return path.count == count || path[count] == UInt8(ascii: "/") || directory[count - 1] == UInt8(ascii: "/")
  }
}
