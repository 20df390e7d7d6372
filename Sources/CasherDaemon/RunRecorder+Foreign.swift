import CasherRecord
import CasherSystem

/// What another hand is about to change.
enum ForeignChange {
  /// A name is made, removed, replaced or renamed.
  case name(FilePath, DirectoryReference)
  /// A name is made that is a further one of this inode.
  case link(InodeKey, FilePath, DirectoryReference)
  case content(InodeKey)
  case attributes(InodeKey)
  /// Access and modification times alone.
  case times(InodeKey)
  /// A name is renamed to another; when it is a directory's, all below it come to have another path.
  case move(FilePath, DirectoryReference, to: FilePath, DirectoryReference)
}

/// What other hands do to the names that the run has seen or made: while it runs, its result is then not that of a state
/// that ever was, and is not stored.
extension RunRecorder {
  func changesElsewhere(_ change: ForeignChange) {
    if let obstacle = obstacle(change) { obstacles.append(obstacle) }
  }

  /// Whether the change is one of what the run has seen or made, or would be taken for one by its time.
  func isConcerned(by change: ForeignChange) -> Bool {
    switch change {
    case .times(let inode): changed(inode) != nil
    case .link(let inode, let name, let directory): changed(name, in: directory) ?? changed(inode) != nil
    default: obstacle(change) != nil
    }
  }

  private func obstacle(_ change: ForeignChange) -> Uncacheable? {
    switch change {
    case .name(let name, let directory), .link(_, let name, let directory): changed(name, in: directory)
    case .content(let inode), .attributes(let inode): changed(inode)
    case .times: nil
    case .move(let name, let directory, let newName, let newDirectory):
      changed(name, in: directory) ?? changed(newName, in: newDirectory) ?? moved(name, in: directory)
    }
  }

  private func changed(_ name: FilePath, in directory: DirectoryReference) -> Uncacheable? {
    let key = EntryKey(directory: directory.key, name: name)
    if let touched = entries[key] {
      return touched.isObserved || isPending(touched) ? .inputChanged(anyPath(of: touched)) : nil
    }
    return listings[key.directory].map { .inputChanged($0.path ?? directory.path) }
  }

  private func changed(_ inode: InodeKey) -> Uncacheable? {
    for touched in byInode[inode] ?? [] where touched.isObserved || isPending(touched) {
      return .inputChanged(anyPath(of: touched))
    }
    return producedInodes.contains(inode) ? .inputChanged(producedPath(of: inode)) : nil
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

  private func moved(_ name: FilePath, in directory: DirectoryReference) -> Uncacheable? {
    let path = directory.path.appending(name)
    guard let status = try? tree.status(of: path), status.type == .directory else { return nil }
    return originalPaths[status.key] != nil || homes[status.key] != nil ? .inputChanged(path) : nil
  }
}
