import CFuse
import CLinux
import CasherSystem
import Glibc

extension Overlay {
  /// Seconds that never pass.
  static let forEver = 1e6

  /// Finds a name below a node and counts one lookup of it; nil when there is nothing of that name.
  func find(_ name: FilePath, in parent: Node) throws(Errno) -> (Node, FileStatus)? {
    if parent.isViewsDirectory {
      guard let view = view(token: name), let root = view.root else { return nil }
      let status = try root.inode.status()
      view.lookedUp(root)
      return (root, status)
    }
    if name == viewsDirectory, parent.parent == nil, let directory = parent.view.viewsNode {
      let status = try viewsStatus()
      parent.view.lookedUp(directory)
      return (directory, status)
    }
    let found = try parent.inode.withDescriptor { directory throws(Errno) in try directory.statusIfPresent(of: name) }
    guard let status = found else { return nil }
    return (enter(status, parent: parent, name: name), status)
  }

  /// The node of something that was just found under a name, with one lookup more.
  func enter(_ status: FileStatus, parent: Node, name: FilePath) -> Node {
    let inode = inodes.hold(status.key, in: parent.inode, name)
    return parent.view.enter(inode, type: status.type, parent: parent, name: name, in: inodes)
  }

  func viewsStatus() throws(Errno) -> FileStatus {
    var status = try rootDescriptor.status()
    status.raw.st_ino = 0xFFFF_FFFF
    status.raw.st_mode = UInt32(CASHER_S_IFDIR) | 0o711
    return status
  }

  /// What the kernel is told of a node, and for how long it may believe it.
  func entry(_ node: Node, _ status: FileStatus) -> fuse_entry_param {
    var entry = fuse_entry_param()
    entry.ino = node.id
    entry.attr = status.raw
    entry.attr_timeout = attributeTimeout(node)
    entry.entry_timeout = entryTimeout(node)
    return entry
  }

  func attributeTimeout(_ node: Node) -> Double {
    node.view.isMain ? (node.isViewsDirectory ? 0 : configuration.timeout) : Overlay.forEver
  }

  /// In a recorded view each use of a file's name has to be seen; directories stay known for the length of the run.
  private func entryTimeout(_ node: Node) -> Double {
    if node.isViewsDirectory { return 0 }
    if node.view.isMain { return configuration.timeout }
    return node.isDirectory ? Overlay.forEver : 0
  }
}

extension Operations {
  static func lookUp(_ table: inout fuse_lowlevel_ops) {
    table.lookup = { request, parent, name in
      guard let request = Request(request), let name, let parent = request.overlay.node(parent) else { return }
      let overlay = request.overlay
      let entryName = FilePath(cString: name)
      request.note(.lookup, parent, entryName)
      request.answer { () throws(Errno) in
        let found = try overlay.find(entryName, in: parent)
        if parent.view.isRecorded, !overlay.recorder.isIdle, !overlay.isHidden(found?.0) {
          overlay.recorder.didLookUp(
            entryName, in: parent, found: found?.0, status: found?.1, by: request.actor(parent.view))
        }
        if let (node, status) = found {
          var entry = overlay.entry(node, status)
          if fuse_reply_entry(request.pointer, &entry) != 0 { overlay.forget(node, 1) }
        } else if parent.view.isMain, !parent.isViewsDirectory {
          var entry = fuse_entry_param()
          entry.entry_timeout = overlay.configuration.timeout
          fuse_reply_entry(request.pointer, &entry)
        } else {
          request.fail(.noSuchFile)
        }
      }
    }
    table.forget = { request, id, count in
      guard let request = Request(request) else { return }
      request.overlay.counts.add(.forget)
      if let node = request.overlay.node(id) { request.overlay.forget(node, count) }
      fuse_reply_none(request.pointer)
    }
    table.forget_multi = { request, count, forgets in
      guard let request = Request(request), let forgets else { return }
      request.overlay.counts.add(.forget, UInt64(count))
      for index in 0..<count {
        if let node = request.overlay.node(forgets[index].ino) { request.overlay.forget(node, forgets[index].nlookup) }
      }
      fuse_reply_none(request.pointer)
    }
    table.readlink = { request, id in
      guard let request = Request(request), let node = request.overlay.node(id) else { return }
      request.note(.readlink, node)
      request.answer { () throws(Errno) in
        let target = try node.inode.withDescriptor { descriptor throws(Errno) in try descriptor.readLink() }
        target.withCString { _ = fuse_reply_readlink(request.pointer, $0) }
      }
    }
  }
}

extension Overlay {
  func forget(_ node: Node, _ count: UInt64) { node.view.forget(node, count) }

  /// The views' directory and the roots in it are no part of the tree.
  func isHidden(_ node: Node?) -> Bool {
    guard let node else { return false }
    return node.isViewsDirectory || node.parent == nil
  }
}
