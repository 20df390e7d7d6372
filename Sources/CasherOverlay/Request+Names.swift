import CFuse
import CasherSystem
import Glibc

/// Looking names up, making, linking, renaming and removing them.
extension Request {
  // MARK: looking up

  /// What stands at the name now, its node having one lookup more. Nil when there is nothing.
  func find(_ name: CName, in directory: Node) throws(Errno) -> (node: Node, status: FileStatus)? {
    let table = overlay.table
    while true {
      let generation = table.renames.load(ordering: .sequentiallyConsistent)
      let found: (status: FileStatus, birth: Int64)
      do throws(Errno) {
        found = try directory.inode.withDescriptor { descriptor throws(Errno) in
          try descriptor.statusAndBirth(of: name)
        }
      } catch {
        if error == .noSuchFile { return nil }
        throw error
      }
      if let node = table.intern(
        found.status, birth: found.birth, view: directory.view, at: name, in: directory.inode, generation: generation)
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
    if let recorder = lookRecorder(directory.view) {
      recorder.didLookUp(
        FilePath(cString: name), in: directory, found: found?.node, status: found?.status, by: actor(directory.view))
    }
    if let found { return reply(found.node, found.status) }
    guard !overlay.isRecorded(directory.view), overlay.configuration.timeout > 0 else { throw .noSuchFile }
    // Node id 0: the kernel may remember for a while that nothing is there.
    var entry = fuse_entry_param()
    entry.entry_timeout = overlay.configuration.timeout
    fuse_reply_entry(raw, &entry)
  }

  /// Replies with a node that got one lookup more for it, which is taken back when the kernel does not take the reply.
  func reply(_ node: Node, _ status: FileStatus) {
    var entry = overlay.entry(node, status)
    if fuse_reply_entry(raw, &entry) != 0 { overlay.forget(node, 1) }
  }

  func readLink(_ node: Node) throws(Errno) {
    let target = try node.inode.withDescriptor { descriptor throws(Errno) in try descriptor.readLink() }
    target.withCString { _ = fuse_reply_readlink(raw, $0) }
  }

  private func isViewsName(_ name: CName, in directory: Node) -> Bool {
    directory.isRoot && overlay.isViewsName(name)
  }

  /// The views' directory is changed by `Overlay.makeView` and `retire` alone.
  func checkWritable(_ name: CName, in directory: Node) throws(Errno) {
    if directory.inode.role == .viewsDirectory || isViewsName(name, in: directory) { throw .notPermitted }
  }

  // MARK: making

  func make(
    _ kind: MadeKind, _ name: CName, in directory: Node, mode: UInt32 = 0,
    _ body: (FileDescriptor) throws(Errno) -> Void
  ) throws(Errno) {
    try checkWritable(name, in: directory)
    let actor = actor(directory.view)
    let recorder = changeRecorder
    recorder?.willMake(kind, FilePath(cString: name), in: directory, by: actor)
    try directory.inode.withDescriptor { descriptor throws(Errno) in
      try asCaller(making: mode) { () throws(Errno) in try body(descriptor) }
    }
    overlay.didChange(name, in: directory.inode, through: directory.view)
    guard let made = try find(name, in: directory) else { throw .stale }
    recorder?.didMake(kind, FilePath(cString: name), in: directory, node: made.node, status: made.status, by: actor)
    reply(made.node, made.status)
  }

  func link(_ node: Node, to name: CName, in directory: Node) throws(Errno) {
    try checkWritable(name, in: directory)
    let actor = actor(directory.view)
    let kind = MadeKind.link(of: node.inode.key)
    let recorder = changeRecorder
    recorder?.willMake(kind, FilePath(cString: name), in: directory, by: actor)
    try node.inode.withDescriptor { source throws(Errno) in
      try directory.inode.withDescriptor { target throws(Errno) in try source.linkSelf(to: target, as: name) }
    }
    overlay.didChange(name, in: directory.inode, through: directory.view)
    overlay.didChangeAttributes(of: node.inode, through: directory.view)
    guard let made = try find(name, in: directory) else { throw .stale }
    recorder?.didMake(kind, FilePath(cString: name), in: directory, node: made.node, status: made.status, by: actor)
    reply(made.node, made.status)
  }

  // MARK: removing and renaming

  /// What stands at a name that is about to lose it, if the kernel knows it, kept open until `settle`.
  private func hold(_ name: CName, in directory: FileDescriptor) -> Inode? {
    guard let found = try? directory.statusAndBirth(of: name), let inode = overlay.table.inode(for: found.status.key),
      (try? overlay.table.pool.acquire(inode)) != nil
    else { return nil }
    return inode
  }

  /// Without any name left, lower's inode can be reached through its descriptor alone.
  private func settle(_ inode: Inode, through view: View) {
    let pool = overlay.table.pool
    if let status = try? inode.status(), status.links == 0 || inode.isDirectory { pool.keepForever(inode) }
    pool.release(inode)
    overlay.didChangeAttributes(of: inode, through: view)
  }

  func remove(_ name: CName, in directory: Node, isDirectory: Bool) throws(Errno) {
    try checkWritable(name, in: directory)
    let view = directory.view
    let recorder = changeRecorder
    try directory.inode.withDescriptor { descriptor throws(Errno) in
      let removed = hold(name, in: descriptor)
      recorder?.willRemove(FilePath(cString: name), in: directory, isDirectory: isDirectory, by: actor(view))
      do throws(Errno) { try descriptor.remove(name, directory: isDirectory) } catch {
        if let removed { overlay.table.pool.release(removed) }
        throw error
      }
      if let removed { settle(removed, through: view) }
    }
    overlay.didChange(name, in: directory.inode, through: view)
    recorder?.didRemove(FilePath(cString: name), in: directory, isDirectory: isDirectory, by: actor(view))
    succeed()
  }

  func rename(_ name: CName, in directory: Node, to newName: CName, in newDirectory: Node, flags: UInt32) throws(Errno)
  {
    try checkWritable(name, in: directory)
    try checkWritable(newName, in: newDirectory)
    let view = directory.view
    let isExchange = flags & RenameFlags.exchange != 0
    let recorder = changeRecorder
    try directory.inode.withDescriptor { source throws(Errno) in
      try newDirectory.inode.withDescriptor { target throws(Errno) in
        let replaced = isExchange ? nil : hold(newName, in: target)
        recorder?.willRename(
          FilePath(cString: name), in: directory, to: FilePath(cString: newName), in: newDirectory,
          exchange: isExchange, by: actor(view))
        do throws(Errno) { try source.rename(name, to: target, as: newName, flags: flags) } catch {
          if let replaced { overlay.table.pool.release(replaced) }
          throw error
        }
        // Whoever looked something up meanwhile looks again (see `InodeTable.intern`).
        overlay.table.renames.add(1, ordering: .sequentiallyConsistent)
        didMove(newName, target, from: name, in: directory, to: newDirectory)
        if isExchange { didMove(name, source, from: newName, in: newDirectory, to: directory) }
        if let replaced { settle(replaced, through: view) }
      }
    }
    overlay.didChange(name, in: directory.inode, through: view)
    overlay.didChange(newName, in: newDirectory.inode, through: view)
    recorder?.didRename(
      FilePath(cString: name), in: directory, to: FilePath(cString: newName), in: newDirectory, exchange: isExchange,
      by: actor(view))
    succeed()
  }

  /// What stands at `name` now was at `oldName` before.
  private func didMove(
    _ name: CName, _ descriptor: FileDescriptor, from oldName: CName, in oldDirectory: Node, to directory: Node
  ) {
    guard let status = try? descriptor.statusAndBirth(of: name).status else { return }
    overlay.table.didRename(
      status.key, from: oldName, in: oldDirectory.inode, to: name, in: directory.inode)
    if let inode = overlay.table.inode(for: status.key) {
      overlay.didChangeAttributes(of: inode, through: directory.view)
    }
  }
}

enum RenameFlags {
  static let exchange: UInt32 = 2
}

extension Overlay {
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
