import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem
import Glibc

/// The directory beneath a mount that shows a freeze: its directories and symlinks, made for as long as the mount lasts.
/// The files are placed there.
struct FrozenTree {
  let path: FilePath

  /// Makes it empty, in place of what an earlier one left.
  init(at path: FilePath) throws(Errno) {
    self.path = path
    FrozenTree.remove(path)
    try FileDescriptor.workingDirectory.makeDirectory(path, mode: 0o755)
  }

  func remove() { FrozenTree.remove(path) }

  static func remove(_ path: FilePath) {
    let here = FileDescriptor.workingDirectory
    var open = [path]
    var directories: [FilePath] = []
    while let directory = open.popLast() {
      directories.append(directory)
      for entry in (try? here.entries(of: directory)) ?? [] {
        let below = directory.appending(entry.name)
        if (try? here.statusIfPresent(of: below))??.type == .directory {
          open.append(below)
        } else {
          try? here.remove(below)
        }
      }
    }
    for directory in directories.reversed() { try? here.remove(directory, directory: true) }
  }

  /// Makes the directories and symlinks of a freeze.
  func fill(with record: FreezeRecord) throws(Errno) {
    let here = FileDescriptor.workingDirectory
    for directory in FrozenTree.directories(of: record) {
      try here.makeDirectory(path.appending(directory), mode: 0o755)
    }
    for result in record.results {
      if case .symlink(let target) = result.content { try here.makeSymlink(path.appending(result.path), to: target) }
    }
  }

  /// The directories that the results lie in, each after the one around it.
  private static func directories(of record: FreezeRecord) -> [FilePath] {
    var found: Set<FilePath> = []
    for result in record.results {
      var directory = result.path.parent
      while !directory.isEmpty, found.insert(directory).inserted { directory = directory.parent }
    }
    return found.sorted()
  }

  /// Places the files of a freeze whose content `has` says to be there, as those of the present user.
  func place(_ record: FreezeRecord, in overlay: Overlay, where has: (Digest) -> Bool) throws(DaemonError) {
    var directories: [FilePath: PinnedDirectory] = [:]
    var placings: [Placing] = []
    for result in record.results {
      guard case .file(let digest, let size) = result.content, has(digest) else { continue }
      let parent = result.path.parent
      do throws(Errno) {
        let directory: PinnedDirectory
        if let known = directories[parent] { directory = known } else { directory = try overlay.pinDirectory(parent) }
        directories[parent] = directory
        let file = PlacedFile(
          blob: digest, size: size, permissions: result.permissions, user: geteuid(), group: getegid(),
          modified: result.modified, changed: result.modified, attributes: [], run: record.maker(of: result).run)
        placings.append(Placing(directory: directory, name: result.path.lastComponent, file: file))
      } catch { throw .frozen("\(result.path) cannot be shown: \(error)") }
    }
    do throws(PlacingFailure) { try overlay.place(placings) } catch {
      throw .frozen("\(record.results[error.index].path) cannot be shown: \(error.cause)")
    }
  }
}
