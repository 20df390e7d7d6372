import CasherRecord
import CasherSystem

/// What other hands do to the names that the run has seen or made: then its result is not that of a state that ever
/// was, and is not stored.
extension RunRecorder {
  /// Someone else is about to make, remove, replace or rename a name.
  func changesElsewhere(_ name: FilePath, in directory: DirectoryReference) {
    let key = EntryKey(directory: directory.key, name: name)
    if let touched = entries[key] {
      if touched.isObserved || isPending(touched) { obstacles.append(.inputChanged(anyPath(of: touched))) }
    } else if let listing = listings[key.directory] {
      obstacles.append(.inputChanged(listing.path ?? directory.path))
    }
  }

  /// Someone else is about to change an inode's content or attributes.
  func changesElsewhere(inode: InodeKey) {
    for touched in byInode[inode] ?? [] where touched.isObserved || isPending(touched) {
      obstacles.append(.inputChanged(anyPath(of: touched)))
      return
    }
    if producedInodes.contains(inode) { obstacles.append(.inputChanged(producedPath(of: inode))) }
  }

  private func producedPath(of inode: InodeKey) -> FilePath {
    for touched in entries.values where touched.isProduced {
      guard let path = presentPath(of: touched.key), let status = try? tree.status(of: path), status.key == inode else {
        continue
      }
      return path
    }
    return FilePath([])
  }

  /// Someone else is about to rename a directory: everything below it comes to have another path.
  func movesElsewhere(_ name: FilePath, in directory: DirectoryReference) {
    let path = directory.path.appending(name)
    guard let status = try? tree.status(of: path), status.type == .directory else { return }
    if originalPaths[status.key] != nil || homes[status.key] != nil { obstacles.append(.inputChanged(path)) }
  }
}
