import CFuse
import CLinux
import CasherSystem
import Glibc

extension Operations {
  static func change(_ table: inout fuse_lowlevel_ops) {
    table.mknod = { request, parent, name, mode, device in
      guard let request = Request(request), let parent = request.overlay.node(parent), let name else { return }
      let entryName = FilePath(cString: name)
      request.note(.mknod, parent, entryName)
      request.make(.node(FileType(mode: mode)), entryName, in: parent) { directory throws(Errno) in
        try directory.makeNode(entryName, mode: mode, device: UInt64(device))
      }
    }
    table.mkdir = { request, parent, name, mode in
      guard let request = Request(request), let parent = request.overlay.node(parent), let name else { return }
      let entryName = FilePath(cString: name)
      request.note(.mkdir, parent, entryName)
      request.make(.directory, entryName, in: parent) { directory throws(Errno) in
        try directory.makeDirectory(entryName, mode: mode)
      }
    }
    table.symlink = { request, target, parent, name in
      guard let request = Request(request), let parent = request.overlay.node(parent), let name, let target else {
        return
      }
      let entryName = FilePath(cString: name)
      let targetPath = FilePath(cString: target)
      request.note(.symlink, parent, entryName)
      request.make(.symlink, entryName, in: parent) { directory throws(Errno) in
        try directory.makeSymlink(entryName, to: targetPath)
      }
    }
    table.link = { request, id, parent, name in
      guard let request = Request(request), let node = request.overlay.node(id),
        let parent = request.overlay.node(parent), let name
      else { return }
      let entryName = FilePath(cString: name)
      request.note(.link, parent, entryName)
      request.make(.link(of: node.inode.key), entryName, in: parent, asCaller: false) { directory throws(Errno) in
        if node.type == .symlink {
          guard let from = node.parent else { throw .stale }
          let formerName = node.name
          try from.inode.withDescriptor { source throws(Errno) in
            try source.link(formerName, to: directory, as: entryName)
          }
        } else {
          try node.inode.withDescriptor { descriptor throws(Errno) in
            try entryName.withCString { name throws(Errno) in
              _ = try positive { casher_link_fd(descriptor.rawValue, directory.rawValue, name) }
            }
          }
        }
      }
      request.overlay.inodeChanged(node.inode.key, data: false, except: node.view)
    }
    table.unlink = { request, parent, name in
      guard let request = Request(request), let parent = request.overlay.node(parent), let name else { return }
      request.note(.unlink, parent, FilePath(cString: name))
      request.remove(FilePath(cString: name), in: parent, isDirectory: false)
    }
    table.rmdir = { request, parent, name in
      guard let request = Request(request), let parent = request.overlay.node(parent), let name else { return }
      request.note(.rmdir, parent, FilePath(cString: name))
      request.remove(FilePath(cString: name), in: parent, isDirectory: true)
    }
    table.rename = { request, parent, name, newParent, newName, flags in
      guard let request = Request(request), let parent = request.overlay.node(parent),
        let newParent = request.overlay.node(newParent), let name, let newName
      else { return }
      let (from, to) = (FilePath(cString: name), FilePath(cString: newName))
      request.note(.rename, parent, from)
      request.answer { () throws(Errno) in
        try request.overlay.rename(from, in: parent, to: to, in: newParent, flags, by: request.actor(parent.view))
        request.succeed()
      }
    }
  }
}

extension Overlay {
  /// Whether a name may be changed: the views' directory and what is in it may not.
  func checkName(_ name: FilePath, in parent: Node) throws(Errno) {
    if parent.isViewsDirectory || (parent.parent == nil && name == viewsDirectory) { throw .notPermitted }
  }

  /// What stands under a name now, before it goes.
  private func status(_ name: FilePath, in parent: Node) throws(Errno) -> FileStatus? {
    try parent.inode.withDescriptor { directory throws(Errno) in try directory.statusIfPresent(of: name) }
  }

  /// The inode is about to lose a name, perhaps its last: whoever has it open keeps reaching it.
  func prepareLoss(_ status: FileStatus?) -> Inode? {
    guard let status, let inode = inodes.inode(of: status.key) else { return nil }
    let isLast = status.type == .directory || status.links == 1
    guard isLast else { return nil }
    if status.type == .directory || inode.state.withLock({ $0.handles > 0 }) { inode.keepWithoutName() }
    return inode
  }

  /// The inode has no name any more.
  func settleLoss(_ inode: Inode?) {
    guard let inode else { return }
    inodes.retire(inode)
    for view in allViews { view.retire(inode) }
  }

  func rename(
    _ name: FilePath, in parent: Node, to newName: FilePath, in newParent: Node, _ flags: UInt32, by actor: Actor
  ) throws(Errno) {
    try checkName(name, in: parent)
    try checkName(newName, in: newParent)
    let isExchange = flags & UInt32(CASHER_RENAME_EXCHANGE) != 0
    let isObserved = !recorder.isIdle
    if isObserved {
      recorder.willRename(name, in: parent, to: newName, in: newParent, exchange: isExchange, by: actor)
    }
    let replaced = isExchange ? nil : prepareLoss(try status(newName, in: newParent))
    let moved = try status(name, in: parent)
    let isSame = replaced != nil && replaced?.key == moved?.key
    try parent.inode.withDescriptor { from throws(Errno) in
      try newParent.inode.withDescriptor { to throws(Errno) in
        try from.rename(name, to: to, as: newName, flags: flags)
      }
    }
    if !isSame { settleLoss(replaced) }
    if let moved { relocate(moved.key, to: newParent, newName) }
    if isExchange, let other = try status(name, in: parent) { relocate(other.key, to: parent, name) }
    if isObserved {
      recorder.didRename(name, in: parent, to: newName, in: newParent, exchange: isExchange, by: actor)
    }
    entryChanged(name, in: parent.inode.key, except: actor.view)
    entryChanged(newName, in: newParent.inode.key, except: actor.view)
  }

  /// Nodes of a renamed inode have another place, in every view that knows the new directory.
  private func relocate(_ key: InodeKey, to parent: Node, _ name: FilePath) {
    for view in allViews {
      guard let node = view.node(of: key), let directory = view.node(of: parent.inode.key) else { continue }
      node.located(directory, name)
    }
  }
}

extension Request {
  /// MKNOD, MKDIR, SYMLINK and LINK: something new under a name, answered with its entry.
  func make(
    _ kind: MadeKind, _ name: FilePath, in parent: Node, asCaller: Bool = true,
    _ body: (FileDescriptor) throws(Errno) -> Void
  ) {
    answer { () throws(Errno) in
      try overlay.checkName(name, in: parent)
      let actor = actor(parent.view)
      let isObserved = !overlay.recorder.isIdle
      if isObserved { overlay.recorder.willMake(kind, name, in: parent, by: actor) }
      let status = try parent.inode.withDescriptor { directory throws(Errno) in
        if asCaller {
          try self.asCaller { () throws(Errno) in try body(directory) }
        } else {
          try body(directory)
        }
        return try directory.status(of: name)
      }
      let node = overlay.enter(status, parent: parent, name: name)
      if isObserved { overlay.recorder.didMake(kind, name, in: parent, node: node, status: status, by: actor) }
      overlay.entryChanged(name, in: parent.inode.key, except: actor.view)
      var entry = overlay.entry(node, status)
      if fuse_reply_entry(pointer, &entry) != 0 { overlay.forget(node, 1) }
    }
  }

  func remove(_ name: FilePath, in parent: Node, isDirectory: Bool) {
    answer { () throws(Errno) in
      try overlay.checkName(name, in: parent)
      let actor = actor(parent.view)
      let isObserved = !overlay.recorder.isIdle
      if isObserved { overlay.recorder.willRemove(name, in: parent, isDirectory: isDirectory, by: actor) }
      let lost = try parent.inode.withDescriptor { directory throws(Errno) in
        let inode = overlay.prepareLoss(try directory.statusIfPresent(of: name))
        try directory.remove(name, directory: isDirectory)
        return inode
      }
      if isObserved { overlay.recorder.didRemove(name, in: parent, isDirectory: isDirectory, by: actor) }
      overlay.entryChanged(name, in: parent.inode.key, except: actor.view)
      if let lost { overlay.inodeChanged(lost.key, data: false, except: actor.view) }
      overlay.settleLoss(lost)
      succeed()
    }
  }
}
