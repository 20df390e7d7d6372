import CFuse
import CLinux
import CasherSystem
import Glibc

/// Looking names up, making, linking, renaming and removing them.
extension Request {
  // MARK: looking up

  /// What stands at the name now, its node having one lookup more. Nil when there is nothing.
  ///
  /// `isMade`: it has just been made, and the kernel wants to see what it asked for.
  func find(
    _ name: CName, in directory: Node, isMade: Bool = false
  ) throws(Errno) -> (node: Node, status: FileStatus)? {
    let table = overlay.table
    while true {
      let generation = table.renames.load(ordering: .sequentiallyConsistent)
      let found: FoundFile
      if let placed = overlay.placed(name, in: directory.inode) {
        found = FoundFile(placed)
      } else {
        do throws(Errno) {
          let seen = try directory.inode.withDescriptor { descriptor throws(Errno) in
            try overlay.look(name, in: descriptor)
          }
          let status = isMade ? seen.status : table.identities.disguised(seen.status)
          found = overlay.identified((status, seen.birth))
        } catch {
          guard error == .noSuchFile else { throw error }
          // It may have come to be placed between the two looks.
          if table.renames.load(ordering: .sequentiallyConsistent) != generation { continue }
          return nil
        }
      }
      if let node = table.intern(
        found, view: directory.view, at: name, in: directory.inode, generation: generation)
      {
        return (node, found.status)
      }
    }
  }

  func lookup(_ name: CName, in directory: Node) throws(Errno) {
    if directory.inode.role == .viewsDirectory {
      guard let view = overlay.view(token: FilePath(cString: name)) else { throw .noSuchFile }
      let status = try overlay.rootDescriptor.status()
      return reply(overlay.table.special(overlay.rootInode, in: view), status)
    }
    if isViewsName(name, in: directory) {
      return reply(overlay.table.special(overlay.viewsInode, in: directory.view), try overlay.viewsStatus())
    }
    let found = try find(name, in: directory)
    var lifetime = overlay.isRecorded(directory.view) ? NameLifetime.use : .moment
    if let recorder = lookRecorder(directory.view) {
      lifetime = recorder.didLookUp(
        FilePath(cString: name), in: directory, found: found?.node, status: found?.status, by: actor(directory.view))
    }
    if let found { return reply(found.node, found.status, lifetime) }
    guard lifetime > .use, overlay.configuration.timeout > 0 else { throw .noSuchFile }
    // Node id 0: the kernel may remember for a while that nothing is there.
    var entry = fuse_entry_param()
    entry.entry_timeout = overlay.configuration.timeout
    fuse_reply_entry(raw, &entry)
  }

  /// Replies with a node that got one lookup more for it, which is taken back when the kernel does not take the reply.
  func reply(_ node: Node, _ status: FileStatus, _ lifetime: NameLifetime = .use) {
    var entry = overlay.entry(node, status)
    switch lifetime {
    case .use: break
    case .moment: entry.entry_timeout = max(entry.entry_timeout, overlay.configuration.timeout)
    case .ever: entry.entry_timeout = Overlay.forEver
    }
    if fuse_reply_entry(raw, &entry) != 0 { overlay.forget(node, 1) }
  }

  func readLink(_ node: Node) throws(Errno) {
    if overlay.table.identities.isDisguised(node.inode.key) {
      let target = try overlay.table.pool.descriptorForEver(of: node.inode)
      FilePath("/proc/\(getpid())/fd/\(target.rawValue)").withCString { _ = fuse_reply_readlink(raw, $0) }
      return
    }
    let target = try node.inode.withDescriptor { descriptor throws(Errno) in try descriptor.readLink() }
    target.withCString { _ = fuse_reply_readlink(raw, $0) }
  }

  private func isViewsName(_ name: CName, in directory: Node) -> Bool {
    directory.isRoot && overlay.isViewsName(name) && (directory.view.isMain || !overlay.configuration.isDetached)
  }

  /// The views' directory is changed by `Overlay.makeView` and `retire` alone.
  func checkWritable(_ name: CName, in directory: Node) throws(Errno) {
    if directory.inode.role == .viewsDirectory || isViewsName(name, in: directory) { throw .notPermitted }
  }

  // MARK: making

  func make(
    _ kind: MadeKind, _ name: CName, in directory: Node, mode: UInt32 = 0,
    _ body: (FileDescriptor, UInt32) throws(Errno) -> Void
  ) throws(Errno) {
    try checkWritable(name, in: directory)
    let actor = actor(directory.view)
    let recorder = changeRecorder
    recorder?.willMake(kind, FilePath(cString: name), in: directory, by: actor)
    try directory.inode.withDescriptor { descriptor throws(Errno) in
      try overlay.placements.names.with(directory.inode.directoryKey) { () throws(Errno) in
        if overlay.placed(name, in: directory.inode) != nil { throw .exists }
        try makeAsCaller(mode) { mode throws(Errno) in try body(descriptor, mode) }
      }
    }
    overlay.didChange(name, in: directory.inode, through: directory.view, .isThere)
    guard let made = try find(name, in: directory, isMade: true) else { throw .stale }
    recorder?.didMake(kind, FilePath(cString: name), in: directory, node: made.node, status: made.status, by: actor)
    reply(made.node, made.status)
  }

  func link(_ node: Node, to name: CName, in directory: Node) throws(Errno) {
    try checkWritable(name, in: directory)
    let actor = actor(directory.view)
    // Only a file that was made without a name can get one when it has none.
    let isNameless = try node.inode.status().links == 0
    let kind = isNameless ? MadeKind.node(.regular) : MadeKind.link(of: node.inode.key)
    let recorder = changeRecorder
    recorder?.willMake(kind, FilePath(cString: name), in: directory, by: actor)
    if overlay.placed(name, in: directory.inode) != nil { throw .exists }
    let inode = try overlay.ordinary(node.inode)
    try inode.withDescriptor { source throws(Errno) in
      try directory.inode.withDescriptor { target throws(Errno) in
        try overlay.placements.names.with(directory.inode.directoryKey) { () throws(Errno) in
          if overlay.placed(name, in: directory.inode) != nil { throw .exists }
          try source.linkSelf(to: target, as: name)
        }
      }
    }
    overlay.didChange(name, in: directory.inode, through: directory.view, .isThere)
    overlay.didChangeAttributes(of: inode, through: directory.view)
    guard let made = try find(name, in: directory) else { throw .stale }
    recorder?.didMake(kind, FilePath(cString: name), in: directory, node: made.node, status: made.status, by: actor)
    reply(made.node, made.status)
  }

  // MARK: removing and renaming

  func remove(_ name: CName, in directory: Node, isDirectory: Bool) throws(Errno) {
    try checkWritable(name, in: directory)
    let view = directory.view
    let recorder = changeRecorder
    recorder?.willRemove(FilePath(cString: name), in: directory, isDirectory: isDirectory, by: actor(view))
    try directory.inode.withDescriptor { descriptor throws(Errno) in
      var concerned = [directory.inode.directoryKey]
      if isDirectory, let found = try? overlay.look(name, in: descriptor) { concerned.append(DirectoryKey(found)) }
      try overlay.placements.names.with(all: concerned) { () throws(Errno) in
        let found = try? overlay.look(name, in: descriptor)
        if try removePlaced(name, in: directory, descriptor, isDirectory: isDirectory) { return }
        if isDirectory, let found, overlay.placements.hasFiles(in: DirectoryKey(found)) { throw .directoryNotEmpty }
        let removed = found.flatMap { overlay.hold($0) }
        do throws(Errno) { try descriptor.remove(name, directory: isDirectory) } catch {
          if let removed { overlay.table.pool.release(removed) }
          throw error
        }
        if let removed, let found { overlay.settle(removed, found.status.key, through: view) }
      }
    }
    overlay.didChange(name, in: directory.inode, through: view, .isGone)
    recorder?.didRemove(FilePath(cString: name), in: directory, isDirectory: isDirectory, by: actor(view))
    succeed()
  }

  func rename(_ name: CName, in directory: Node, to newName: CName, in newDirectory: Node, flags: UInt32) throws(Errno)
  {
    try checkWritable(name, in: directory)
    try checkWritable(newName, in: newDirectory)
    let view = directory.view
    let manner = RenameFlags.manner(flags)
    let recorder = changeRecorder
    recorder?.willRename(
      FilePath(cString: name), in: directory, to: FilePath(cString: newName), in: newDirectory,
      manner, by: actor(view))
    try directory.inode.withDescriptor { source throws(Errno) in
      try newDirectory.inode.withDescriptor { target throws(Errno) in
        try move(
          Renaming(
            name: name, directory: directory, source: source, newName: newName, newDirectory: newDirectory,
            target: target, flags: flags))
      }
    }
    overlay.didChange(
      name, in: directory.inode, through: view, flags & RenameFlags.exchange == 0 ? .isGone : .isThere)
    overlay.didChange(newName, in: newDirectory.inode, through: view, .isThere)
    recorder?.didRename(
      FilePath(cString: name), in: directory, to: FilePath(cString: newName), in: newDirectory, manner, by: actor(view))
    succeed()
  }

  /// A rename of what lower has at the name.
  func moveInLower(_ renaming: Renaming) throws(Errno) {
    let (source, target) = (renaming.source, renaming.target)
    let isExchange = renaming.flags & RenameFlags.exchange != 0
    let found = isExchange ? nil : try? overlay.look(renaming.newName, in: target)
    let replaced = found.flatMap { overlay.hold($0) }
    do throws(Errno) {
      if renaming.flags & UInt32(CASHER_RENAME_WHITEOUT) != 0 {
        // What is left at the old name belongs to the caller.
        try asCaller { () throws(Errno) in
          try source.rename(renaming.name, to: target, as: renaming.newName, flags: renaming.flags)
        }
      } else {
        try source.rename(renaming.name, to: target, as: renaming.newName, flags: renaming.flags)
      }
    } catch {
      if let replaced { overlay.table.pool.release(replaced) }
      throw error
    }
    // Whoever looked something up meanwhile looks again (see `InodeTable.intern`).
    overlay.table.renames.add(1, ordering: .sequentiallyConsistent)
    didMove(renaming.newName, target, from: renaming.name, in: renaming.directory, to: renaming.newDirectory)
    if isExchange {
      didMove(renaming.name, source, from: renaming.newName, in: renaming.newDirectory, to: renaming.directory)
    }
    if let replaced, let found { overlay.settle(replaced, found.status.key, through: renaming.directory.view) }
  }

  /// What stands at `name` now was at `oldName` before.
  private func didMove(
    _ name: CName, _ descriptor: FileDescriptor, from oldName: CName, in oldDirectory: Node, to directory: Node
  ) {
    guard let found = try? overlay.look(name, in: descriptor) else { return }
    let key = overlay.placements.identified(found.status, birth: found.birth).key
    overlay.table.didRename(key, from: oldName, in: oldDirectory.inode, to: name, in: directory.inode)
    if let inode = overlay.table.inode(for: key) {
      overlay.didChangeAttributes(of: inode, through: directory.view)
    }
  }
}

enum RenameFlags {
  static let exchange: UInt32 = 2
  static let noReplace: UInt32 = 1

  static func manner(_ flags: UInt32) -> RenameManner {
    flags & exchange != 0 ? .exchange : flags & noReplace != 0 ? .new : .replacing
  }
}

extension Overlay {
  /// What lower has at a name, or with an empty name what the descriptor is open on.
  func look(_ name: Request.CName, in directory: FileDescriptor) throws(Errno) -> (status: FileStatus, birth: Int64) {
    try table.identities.look(name, in: directory)
  }

  func isViewsName(_ name: Request.CName) -> Bool {
    strcmp(name, viewsCName.cString) == 0
  }

  /// The views' directory belongs to lower's owner and can be passed through, but not listed.
  func viewsStatus() throws(Errno) -> FileStatus {
    var status = try rootDescriptor.status()
    status.raw.st_ino = ino_t.max - 1
    status.raw.st_mode = FileType.directory.modeBits | 0o111
    status.raw.st_nlink = 2
    return status
  }

  func entry(_ node: Node, _ status: FileStatus) -> fuse_entry_param {
    var entry = fuse_entry_param()
    entry.ino = node.identifier
    entry.attr = status.raw
    entry.attr.st_ino = ino_t(table.identities.shownNumber(of: status.key))
    entry.entry_timeout = entryTimeout(node)
    entry.attr_timeout = attributeTimeout(node)
    return entry
  }

  func forget(_ id: fuse_ino_t, _ count: UInt64) {
    if id != fuse_ino_t(FUSE_ROOT_ID) { forget(node(id), count) }
  }

  func forget(_ node: Node, _ count: UInt64) {
    if node !== mainRoot { table.forget(node, count) }
  }
}
