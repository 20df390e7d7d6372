import CFuse
import CLinux
import CasherSystem
import Glibc

/// Requests about placed files, where they differ from those about lower's.
extension Request {
  // MARK: opening

  /// Opens what is or was a placed file. Until `endOpening` its backing does not change under the open.
  func openPlaced(_ node: Node, flags: Int32) throws(Errno) -> FileHandle {
    let inode = node.inode
    let isChange = flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0
    while true {
      if isChange { _ = try overlay.ordinary(inode, keepingContent: flags & O_TRUNC == 0) }
      let (backing, isServed) = overlay.table.beginOpen(inode, passthrough: overlay.usesPassthrough)
      do throws(Errno) {
        switch backing {
        // The kernel looks the name up again after ESTALE, and finds the other inode.
        case .successor?: break
        case .placed(let file)?:
          if !isChange { return try openBlob(of: file, node, flags: flags, isServed: isServed) }
          overlay.table.endOpen(inode, isServed: isServed)
          continue
        case .lower?, nil: return try openLower(node, flags: flags, isServed: isServed)
        }
      } catch {
        overlay.table.endOpen(inode, isServed: isServed)
        throw error
      }
      throw .stale
    }
  }

  private func openBlob(
    of file: PlacedFile, _ node: Node, flags: Int32, isServed: Bool
  ) throws(Errno) -> FileHandle {
    let pool = overlay.table.pool
    let inode = node.inode
    if overlay.usesPassthrough, !isServed {
      try pool.acquireUntouched(inode)
      if registerBacking(of: inode) != nil {
        return FileHandle(node: node, flags: flags, isPassthrough: true, lower: nil)
      }
      pool.release(inode)
      // What the daemon reads for the kernel keeps to the blob too: some files of the mount may be passed through.
      let lower = try overlay.table.open(file)
      _ = try pool.acquire(inode)
      return FileHandle(node: node, flags: flags, isPassthrough: false, lower: lower)
    }
    return FileHandle(
      node: node, flags: flags, isPassthrough: false, lower: try overlay.table.open(file), isServed: isServed,
      holdsDescriptor: false, epoch: inode.presentEpoch)
  }

  /// Ends what `openPlaced` began, once the handle is counted.
  func endOpening(_ handle: FileHandle) {
    if handle.node.inode.key.isPlaced { overlay.table.endOpen(handle.node.inode, isServed: handle.isServed) }
  }

  /// fsync(2). A placed file becomes an ordinary one first: what is only in the store is not on lower's disk.
  func synchronize(_ handle: FileHandle, dataOnly: Bool) throws(Errno) {
    let inode = handle.node.inode
    guard inode.key.isPlaced, !handle.isWritable else {
      try handle.descriptor().synchronize(dataOnly: dataOnly)
      return succeed()
    }
    let file = try overlay.ordinary(inode).openForReading()
    defer { file.close() }
    try file.synchronize(dataOnly: dataOnly)
    succeed()
  }

  // MARK: removing

  /// Takes a placed file away; false when none stands at the name. Under the lock of the directory's names.
  func removePlaced(
    _ name: CName, in directory: Node, _ descriptor: FileDescriptor, isDirectory: Bool
  ) throws(Errno) -> Bool {
    guard let file = overlay.placed(name, in: directory.inode) else { return false }
    if isDirectory { throw .notDirectory }
    try overlay.placements.journal?.append([.drop(file.number)])
    overlay.unname(file, through: directory.view)
    try? overlay.touch(descriptor)
    return true
  }

  // MARK: renaming

  /// What one rename is about.
  struct Renaming {
    var name: CName
    var directory: Node
    var source: FileDescriptor
    var newName: CName
    var newDirectory: Node
    var target: FileDescriptor
    var flags: UInt32

    var isOnto: Bool { strcmp(name, newName) == 0 && directory.inode === newDirectory.inode }
  }

  func move(_ renaming: Renaming) throws(Errno) {
    let simple = UInt32(CASHER_RENAME_NOREPLACE)
    while true {
      // An exchange and what else there is are left to lower.
      if renaming.flags & ~simple != 0 {
        for (name, directory) in [(renaming.name, renaming.directory), (renaming.newName, renaming.newDirectory)] {
          if let file = overlay.placed(name, in: directory.inode) { try overlay.materialise(file.number) }
        }
      }
      var concerned = [renaming.directory.inode.directoryKey, renaming.newDirectory.inode.directoryKey]
      let replaced = try? overlay.look(renaming.newName, in: renaming.target)
      if let replaced, replaced.status.type == .directory { concerned.append(DirectoryKey(replaced)) }
      let isDone = try overlay.placements.names.with(all: concerned) { () throws(Errno) -> Bool in
        let file = overlay.placed(renaming.name, in: renaming.directory.inode)
        let other = overlay.placed(renaming.newName, in: renaming.newDirectory.inode)
        if renaming.flags & ~simple != 0 {
          if file != nil || other != nil { return false }
        } else if let file {
          try movePlaced(file, renaming, onto: other)
          return true
        } else if let other {
          try moveOntoPlaced(other, renaming)
          return true
        } else if let replaced, replaced.status.type == .directory, renaming.flags == 0 {
          try checkEmpty(replaced, renaming)
        }
        try moveInLower(renaming)
        return true
      }
      if isDone { return }
    }
  }

  /// Placed files keep a directory from being replaced, where lower would replace it.
  private func checkEmpty(
    _ replaced: (status: FileStatus, birth: Int64), _ renaming: Renaming
  ) throws(Errno) {
    guard overlay.placements.hasFiles(in: DirectoryKey(replaced)) else { return }
    guard let moved = try? renaming.source.statusAndBirth(of: renaming.name), moved.status.type == .directory,
      moved.status.key != replaced.status.key
    else { return }
    throw .directoryNotEmpty
  }

  private func movePlaced(_ file: PlacedFile, _ renaming: Renaming, onto other: PlacedFile?) throws(Errno) {
    let noReplace = renaming.flags & UInt32(CASHER_RENAME_NOREPLACE) != 0
    if other != nil, noReplace { throw .exists }
    if renaming.isOnto { return }
    var covered: (status: FileStatus, birth: Int64)?
    if other == nil {
      do throws(Errno) { covered = try renaming.target.statusAndBirth(of: renaming.newName) } catch {
        if error != .noSuchFile { throw error }
      }
    }
    if let covered {
      if noReplace { throw .exists }
      if covered.status.type == .directory { throw .isDirectory }
    }
    guard try renaming.target.status().links > 0 else { throw .noSuchFile }
    let moved = file.with(changed: Clock.now())
    let newName = FilePath(cString: renaming.newName)
    let directory = renaming.newDirectory.inode
    try overlay.placements.journal?.append([
      .directory(overlay.journalDirectory(directory)),
      .move(file.number, name: newName, changed: moved.changed, covers: overlay.covered(covered)),
    ])
    overlay.placements.move(moved, to: newName, in: directory)
    overlay.table.update(moved)
    if let other { overlay.table.update(other.unlinked(at: moved.changed)) }
    overlay.table.renames.add(1, ordering: .sequentiallyConsistent)
    if let covered {
      do throws(Errno) { try removeCovered(covered, renaming) } catch {
        moveBack(file, renaming)
        throw error
      }
    }
    didMovePlaced(file, renaming)
    if let other { notifyAttributes(of: other.key) }
  }

  private func removeCovered(
    _ covered: (status: FileStatus, birth: Int64), _ renaming: Renaming
  ) throws(Errno) {
    let held = overlay.hold(covered)
    do throws(Errno) { try renaming.target.remove(renaming.newName, directory: false) } catch {
      if let held { overlay.table.pool.release(held) }
      throw error
    }
    if let held { overlay.settle(held, covered.status.key, through: renaming.directory.view) }
  }

  private func moveBack(_ file: PlacedFile, _ renaming: Renaming) {
    let name = FilePath(cString: renaming.name)
    let directory = renaming.directory.inode
    try? overlay.placements.journal?.append([
      .directory(overlay.journalDirectory(directory)),
      .move(file.number, name: name, changed: file.changed, covers: nil),
    ])
    overlay.placements.move(file, to: name, in: directory)
    overlay.table.update(file)
    overlay.table.renames.add(1, ordering: .sequentiallyConsistent)
  }

  private func didMovePlaced(_ file: PlacedFile, _ renaming: Renaming) {
    overlay.table.didRename(
      file.key, from: renaming.name, in: renaming.directory.inode, to: renaming.newName,
      in: renaming.newDirectory.inode)
    try? overlay.touch(renaming.source)
    try? overlay.touch(renaming.target)
    notifyAttributes(of: file.key)
  }

  private func notifyAttributes(of key: InodeKey) {
    guard let inode = overlay.table.inode(for: key) else { return }
    overlay.notifier.send(overlay.table.nodes(of: inode, except: nil).map { .attributes($0) })
  }

  /// What lower has at the name comes to stand where a placed file stands: in lower first, so that at every moment one of
  /// the two is there.
  private func moveOntoPlaced(_ other: PlacedFile, _ renaming: Renaming) throws(Errno) {
    let moved = try renaming.source.status(of: FilePath(cString: renaming.name))
    if renaming.flags & UInt32(CASHER_RENAME_NOREPLACE) != 0 { throw .exists }
    if moved.type == .directory { throw .notDirectory }
    try moveInLower(renaming)
    do throws(Errno) { try overlay.placements.journal?.append([.drop(other.number)]) } catch {
      // The journal has the replaced file still. It gives way to the one in lower when the journal is read.
    }
    overlay.unname(other, through: renaming.directory.view)
    overlay.table.renames.add(1, ordering: .sequentiallyConsistent)
  }
}

extension DirectoryKey {
  init(_ found: (status: FileStatus, birth: Int64)) {
    self.init(key: found.status.key, birth: Inode.birthBits(found.birth))
  }
}

extension Overlay {
  /// The placed file at a name.
  func placed(_ name: Request.CName, in directory: Inode) -> PlacedFile? {
    if placements.isEmpty || !directory.isDirectory { return nil }
    let key = directory.directoryKey
    guard placements.hasFiles(in: key) else { return nil }
    return placements.file(FilePath(cString: name), in: key)
  }

  /// What lower has, with the identity under which it is seen.
  func identified(_ found: (status: FileStatus, birth: Int64)) -> FoundFile {
    guard let number = placements.alias(of: found.status.key, birth: Inode.birthBits(found.birth)) else {
      return FoundFile(status: found.status, birth: found.birth)
    }
    var status = found.status
    status.identify(as: PlacedFile.key(of: number))
    return FoundFile(status: status, birth: found.birth, backing: .lower(Inode.LowerFile(found.status.key)))
  }

  /// A placed file has lost its name; whoever has it open keeps it.
  func unname(_ file: PlacedFile, through view: View?) {
    placements.drop(file.number)
    table.update(file.unlinked(at: Clock.now()))
    table.renames.add(1, ordering: .sequentiallyConsistent)
    if let inode = table.inode(for: file.key) { didChangeAttributes(of: inode, through: view) }
  }

  /// The value of an extended attribute of a placed file. Where lower has no such attributes at all, the error says so
  /// as it would for a file of lower.
  func attribute(_ name: FilePath, of file: PlacedFile) throws(Errno) -> [UInt8] {
    if let attribute = file.attributes.first(where: { $0.name == name }) { return attribute.value }
    let none = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    do throws(Errno) {
      _ = try name.withCString { name throws(Errno) in try rootDescriptor.attributeOfPath(name, into: none) }
    } catch {
      if error == .notSupported { throw error }
    }
    throw .noData
  }

  /// A directory's owner is about to close it to himself: then a daemon that is not root could not make files of what is
  /// placed in it any more.
  func materialiseBeforeClosing(_ directory: Inode) throws(Errno) {
    guard !switchesUsers else { return }
    for file in placements.files(in: directory.directoryKey).values { try materialise(file.number) }
  }
}

extension Inode {
  var presentEpoch: UInt32 { table.withLock(of: key) { epoch } }

  /// A descriptor of what holds the content.
  func openContent(_ flags: Int32) throws(Errno) -> FileDescriptor {
    guard key.isPlaced else {
      return try withDescriptor { path throws(Errno) in try path.openAgain(flags) }
    }
    if let file = placedFile { return try table.open(file) }
    // Of an inode that gave way to another the pool has the blob, as long as it is open.
    let path = try table.pool.acquire(self)
    defer { table.pool.release(self) }
    return try path.openAgain(flags)
  }
}
