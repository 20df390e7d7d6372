import CasherOverlay
import CasherRecord
import CasherSystem

/// What the run's own requests tell.
extension RunRecorder {
  // MARK: looking

  func lookedUp(_ name: FilePath, in directory: DirectoryReference, status: FileStatus?, by thread: Int32) {
    let touched = touch(directory, name, status: .some(status))
    if let listing = listings[touched.key.directory], listing.isPythonsOnly, !listing.isFollowedByImport,
      PythonModule.isName(name)
    {
      listings[touched.key.directory]?.isFollowedByImport = true
    }
    if touched.isProduced { return }
    if touched.isCheckedBytecode, !BytecodeCache.isPython(thread: thread) { touched.isCheckedBytecode = false }
    if status?.type == .directory {
      observe(touched, .probed)
      return
    }
    var names = pending[thread] ?? []
    names.append(touched)
    // An operation takes at most two names (rename, link): an older lookup stood alone.
    if names.count > 2 { observeProbe(names.removeFirst(), by: thread) }
    pending[thread] = names
  }

  /// `thread`: who reads the names; nil when it is not to find modules.
  func listed(_ directory: DirectoryReference, by thread: Int32? = nil) {
    let key = directory.key
    if listings[key] != nil {
      // Whoever reads the names again does so for another reason.
      listings[key]?.isPythonsOnly = false
      return
    }
    let original = originalPath(of: directory)
    guard let present = try? tree.entries(of: directory.path) else { return }
    var names: [FilePath: FileType] = [:]
    for entry in present { names[entry.name] = entry.type }
    for (entryKey, touched) in entries where entryKey.directory == key && touched.isProduced {
      names[entryKey.name] = touched.before.status?.type
    }
    listings[key] = Listing(
      path: original, entries: names.map { ($0.key, $0.value) },
      isPythonsOnly: thread.map { BytecodeCache.isPython(thread: $0) } ?? false)
  }

  func attributesRead(_ name: FilePath, in directory: DirectoryReference) {
    attributesRead(touch(directory, name), directory.path.appending(name))
  }

  private func attributesRead(_ touched: Touched, _ path: FilePath) {
    guard !touched.isProduced, touched.attributes == nil else { return }
    touched.attributes = Evaluator.evaluate(Observation(path: path, facet: .attributes), tree, digester)
  }

  // MARK: opening

  func willOpen(_ name: FilePath, in directory: DirectoryReference, _ access: OpenAccess, by thread: Int32) {
    let touched = touch(directory, name)
    consume(touched.key, by: thread)
    // With O_TRUNC nothing of what was there can be read.
    if access.contains(.read), !access.contains(.truncate) {
      settleTruncation(touched)
      observe(touched, .content)
      // Who looked for a file, made it as it was not there, and then reads it would have begun otherwise with it there.
      if touched.isProduced, touched.madeByMisser == thread { touched.isReadBack = true }
    }
    guard !access.isDisjoint(with: [.write, .truncate]) else { return }
    settleOthers(touched.key, than: thread)
    keepSharedContent(touched)
    if access == .write, !touched.isProduced, touched.before.status?.links == 1 {
      touched.awaitsTruncation = true
      touched.isUnread = true
    } else {
      observe(touched, contentOrOwnership(access))
    }
    if let status = touched.before.status { pinNames(of: status.key) }
    pin(touched)
  }

  /// What is in the file is read while the content from before may still be part of it.
  private func settleTruncation(_ touched: Touched) {
    touched.isUnread = false
    if touched.awaitsTruncation {
      touched.awaitsTruncation = false
      touched.facets.insert(.content)
    }
  }

  /// All content goes: what was there before was never read.
  private func dropContent(_ touched: Touched) {
    guard touched.isUnread else { return }
    touched.mayExtend = false
    if touched.awaitsTruncation {
      touched.awaitsTruncation = false
      touched.facets.insert(.ownership)
    }
  }

  /// What a file opened for reading and writing was before matters, unless its content is dropped at once.
  private func contentOrOwnership(_ access: OpenAccess) -> Touched.Facets {
    access.contains(.truncate) ? .ownership : .content
  }

  func didOpen(_ name: FilePath, in directory: DirectoryReference, _ access: OpenAccess) {
    guard !access.isDisjoint(with: [.write, .truncate]) else { return }
    let touched = touch(directory, name)
    touched.isProduced = true
    touched.isReadBack = false
    touched.modified = nil
    if access.contains(.truncate) { touched.isRewritten = true }
  }

  // MARK: making

  func willMake(_ name: FilePath, in directory: DirectoryReference, linkOf inode: InodeKey?, by thread: Int32) {
    let touched = touch(directory, name)
    settleOthers(touched.key, than: thread)
    guard let inode else { return }
    // Under its new name it may be read unnoticed.
    for other in entries.values where other.isUnread { settleTruncation(other) }
    // Linking changes the inode, after which its content from before can no longer be told.
    for other in byInode[inode] ?? [] { observe(other, .content) }
    pinNames(of: inode)
  }

  func didMake(
    _ kind: MadeKind, _ name: FilePath, in directory: DirectoryReference, inode: InodeKey, by thread: Int32
  ) {
    let touched = touch(directory, name)
    if case .link(let source) = kind {
      // The name linked to stays in the lookups as a probe: its content is what the new name has.
      consumeOnly(touched.key, by: thread)
      linksAdded[source, default: 0] &+= 1
    } else {
      consume(touched.key, by: thread)
    }
    switch kind {
    case .file(let exclusive, let truncates, let reads, _):
      observe(touched, exclusive ? .probed : .ownership)
      if exclusive { touched.isNewInode = true }
      if touched.missedBy == thread { touched.madeByMisser = thread }
      if !exclusive, !truncates, !touched.isProduced {
        touched.mayExtend = true
        touched.isUnread = !reads
      }
    case .directory:
      observe(touched, .made)
      touched.isNewInode = true
    case .symlink, .link, .node:
      observe(touched, .probed)
      touched.isNewInode = true
    }
    touched.isProduced = true
    touched.isRewritten = true
    touched.modified = nil
    if case .link = kind {} else { producedInodes.insert(inode) }
    if kind == .directory {
      born.insert(inode)
      gone.remove(inode)
      originalPaths[inode] = nil
      if let listing = listings.removeValue(forKey: inode) { pastListings.append(listing) }
      homes[inode] = touched.key
    }
    if case .node(let type) = kind, type != .regular, type != .fifo {
      obstacles.append(.specialFile(anyPath(of: touched)))
    }
  }

  private func consumeOnly(_ key: EntryKey, by thread: Int32) {
    guard var names = pending[thread] else { return }
    if let last = names.lastIndex(where: { $0.key == key }) { names.remove(at: last) }
    pending[thread] = names
  }

  // MARK: removing and renaming

  func willRemove(_ name: FilePath, in directory: DirectoryReference, isDirectory: Bool, by thread: Int32) {
    let touched = touch(directory, name)
    consume(touched.key, by: thread)
    settleOthers(touched.key, than: thread)
    observe(touched, .kind)
    let path = directory.path.appending(name)
    guard let status = try? tree.status(of: path) else { return }
    if isDirectory { listed(.located(status.key, path)) }
    willDrop(touched.key, status)
    pinNames(of: status.key)
  }

  func didRemove(_ name: FilePath, in directory: DirectoryReference, isDirectory: Bool) {
    let touched = touch(directory, name)
    touched.isProduced = true
    touched.isRewritten = true
    touched.isNewInode = true
    touched.modified = nil
    guard let inode = removing.removeValue(forKey: touched.key) else { return }
    if isDirectory { forgetDirectory(inode) } else { linksAdded[inode, default: 0] &-= 1 }
  }

  /// A directory is no more; its inode number may come back as another one.
  func forgetDirectory(_ inode: InodeKey) {
    homes[inode] = nil
    gone.insert(inode)
    if let listing = listings.removeValue(forKey: inode) { pastListings.append(listing) }
  }

  func willRename(
    _ name: FilePath, in directory: DirectoryReference, to newName: FilePath, in newDirectory: DirectoryReference,
    _ manner: RenameManner, by thread: Int32
  ) {
    let source = touch(directory, name)
    let target = touch(newDirectory, newName)
    consume(source.key, target.key, by: thread)
    settleOthers(source.key, than: thread)
    settleOthers(target.key, than: thread)
    takeWhole(source, directory.path.appending(name))
    removing[target.key] = nil
    // Whether there is such a name decides whether it is renamed at all.
    if manner == .new { observe(target, .probed) }
    if manner == .exchange {
      takeWhole(target, newDirectory.path.appending(newName))
    } else {
      observe(target, .replaceable)
      let path = newDirectory.path.appending(newName)
      if let status = try? tree.status(of: path) {
        if status.type == .directory { listed(.located(status.key, path)) }
        // Renaming one name of a file onto another does nothing (rename(2)).
        let isSame = (try? tree.status(of: directory.path.appending(name)))?.map { $0.key == status.key } ?? false
        if !isSame { willDrop(target.key, status) }
        pinNames(of: status.key)
      }
    }
  }

  /// A name is about to go, and with the last one of a file its inode, whose number may come back as another one.
  private func willDrop(_ key: EntryKey, _ status: FileStatus) {
    if status.type != .directory, status.links <= 1 {
      linksAdded[status.key] = nil
      changedInPlace.remove(status.key)
    } else {
      removing[key] = status.key
    }
  }

  /// Something is about to move: its content, and for a directory all there is in it, is what the run made its new
  /// place of.
  private func takeWhole(_ touched: Touched, _ path: FilePath) {
    observe(touched, .content)
    attributesRead(touched, path)
    pin(touched)
    guard let status = try? tree.status(of: path) else { return }
    pinNames(of: status.key)
    guard status.type == .directory else { return }
    if !born.contains(status.key), homes[status.key] == nil { homes[status.key] = touched.key }
    let reference = DirectoryReference.located(status.key, path)
    listed(reference)
    for entry in (try? tree.entries(of: path)) ?? [] {
      takeWhole(touch(reference, entry.name), path.appending(entry.name))
    }
  }

  func didRename(
    _ name: FilePath, in directory: DirectoryReference, to newName: FilePath, in newDirectory: DirectoryReference,
    exchange: Bool
  ) {
    let source = touch(directory, name)
    let target = touch(newDirectory, newName)
    let newPath = newDirectory.path.appending(newName)
    if !exchange, let replaced = target.before.status, replaced.type == .directory, !target.isProduced {
      forgetDirectory(replaced.key)
    }
    if !exchange, let replaced = removing.removeValue(forKey: target.key) { linksAdded[replaced, default: 0] &-= 1 }
    keepTime(source)
    if exchange { keepTime(target) }
    let movedTime = source.isProduced ? source.modified : source.before.status?.modified
    let replacedTime = target.isProduced ? target.modified : target.before.status?.modified
    for touched in [source, target] {
      touched.isProduced = true
      touched.isReadBack = false
      touched.isRewritten = true
      touched.isNewInode = true
    }
    // A moved file keeps its time, as rename(2) does.
    target.modified = movedTime
    source.modified = exchange ? replacedTime : nil
    settleMoved(target, newPath)
    if exchange { settleMoved(source, directory.path.appending(name)) }
  }

  /// What is moved has its time from before the run, by whichever name it is found then.
  private func keepTime(_ touched: Touched) {
    guard !touched.isProduced, let status = touched.before.status, status.type != .directory else { return }
    givenTimes[status.key] = status.modified
  }

  /// What stands under a name has come from elsewhere, with all that is in it.
  private func settleMoved(_ touched: Touched, _ path: FilePath) {
    guard let status = try? tree.status(of: path), status.type == .directory else { return }
    homes[status.key] = touched.key
    gone.remove(status.key)
    let reference = DirectoryReference.located(status.key, path)
    for entry in (try? tree.entries(of: path)) ?? [] {
      let child = touch(reference, entry.name)
      keepTime(child)
      if !child.isProduced { child.modified = child.before.status?.modified }
      child.isProduced = true
      child.isRewritten = true
      child.isNewInode = true
      settleMoved(child, path.appending(entry.name))
    }
  }

  // MARK: attributes

  func willSetAttributes(
    _ name: FilePath, in directory: DirectoryReference, _ change: AttributeChange, by thread: Int32
  ) {
    let touched = touch(directory, name)
    consume(touched.key, by: thread)
    settleOthers(touched.key, than: thread)
    if case .size(let size) = change {
      keepSharedContent(touched)
      if size == 0 { dropContent(touched) } else { settleTruncation(touched) }
      observe(touched, size == 0 ? .ownership : .content)
    } else {
      observe(touched, .probed)
    }
    if case .extended = change { attributesRead(touched, directory.path.appending(name)) }
    if let status = touched.before.status { pinNames(of: status.key) }
    pin(touched)
  }

  func didSetAttributes(
    _ name: FilePath, in directory: DirectoryReference, _ change: AttributeChange, of inode: InodeKey
  ) {
    let touched = touch(directory, name)
    touched.isProduced = true
    switch change {
    case .size:
      touched.isRewritten = true
      touched.modified = nil
    case .times(let modified):
      touched.isRewritten = true
      touched.modified = modified
      givenTimes[inode] = modified
    case .extended: touched.changesAttributes = true
    case .permissions, .owner: break
    }
  }
}
