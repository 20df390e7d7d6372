import CFuse
import CLinux
import CasherSystem
import Glibc

extension Operations {
  static func attributes(_ table: inout fuse_lowlevel_ops) {
    table.getattr = { request, id, _ in
      guard let request = Request(request), let node = request.overlay.node(id) else { return }
      request.note(.getattr, node)
      request.answer { () throws(Errno) in
        var status = node.isViewsDirectory ? try request.overlay.viewsStatus() : try node.inode.status()
        fuse_reply_attr(request.pointer, &status.raw, request.overlay.attributeTimeout(node))
      }
    }
    table.setattr = { request, id, attributes, valid, info in
      guard let request = Request(request), let node = request.overlay.node(id), let attributes else { return }
      request.note(.setattr, node)
      request.answer { () throws(Errno) in
        try request.overlay.setAttributes(of: node, attributes.pointee, valid, FileHandle.of(info), request)
        var status = try node.inode.status()
        fuse_reply_attr(request.pointer, &status.raw, request.overlay.attributeTimeout(node))
      }
    }
  }

  static func extendedAttributes(_ table: inout fuse_lowlevel_ops) {
    table.getxattr = { request, id, name, size in
      guard let request = Request(request), let node = request.overlay.node(id), let name else { return }
      let entryName = FilePath(cString: name)
      request.note(.getxattr, node, entryName)
      let overlay = request.overlay
      if entryName == Overlay.mountAttribute {
        guard node.isDirectory, !node.isViewsDirectory else { return request.fail(.noData) }
        return request.reply(bytes: overlay.recorder.mountAnswer(for: node), size)
      }
      if node.view.isRecorded, !overlay.recorder.isIdle, entryName.bytes.starts(with: "user.".utf8) {
        overlay.recorder.didReadAttributes(of: node, by: request.actor(node.view))
      }
      request.replyAttribute(size) { buffer, size throws(Errno) in
        try overlay.withAttributePath(node) { descriptor throws(Errno) in
          try positive { casher_getxattr_fd(descriptor, name, buffer, size) }
        }
      }
    }
    table.listxattr = { request, id, size in
      guard let request = Request(request), let node = request.overlay.node(id) else { return }
      request.note(.listxattr, node)
      let overlay = request.overlay
      if node.view.isRecorded, !overlay.recorder.isIdle {
        overlay.recorder.didReadAttributes(of: node, by: request.actor(node.view))
      }
      request.replyAttribute(size) { buffer, size throws(Errno) in
        try overlay.withAttributePath(node) { descriptor throws(Errno) in
          try positive {
            casher_listxattr_fd(descriptor, buffer?.assumingMemoryBound(to: CChar.self), size)
          }
        }
      }
    }
    table.setxattr = { request, id, name, value, size, flags in
      guard let request = Request(request), let node = request.overlay.node(id), let name else { return }
      request.note(.setxattr, node, FilePath(cString: name))
      request.changeAttribute(node, FilePath(cString: name)) { descriptor throws(Errno) in
        _ = try positive { casher_setxattr_fd(descriptor, name, value, size, flags) }
      }
    }
    table.removexattr = { request, id, name in
      guard let request = Request(request), let node = request.overlay.node(id), let name else { return }
      request.note(.removexattr, node, FilePath(cString: name))
      request.changeAttribute(node, FilePath(cString: name)) { descriptor throws(Errno) in
        _ = try positive { casher_removexattr_fd(descriptor, name) }
      }
    }
  }
}

/// A call's result, or its error.
func positive<Result: SignedInteger>(_ body: () -> Result) throws(Errno) -> Result {
  while true {
    let result = body()
    if result >= 0 { return result }
    let error = Errno.current
    if error != .interrupted { throw error }
  }
}

extension Overlay {
  /// Every directory of a mount answers this name with what is needed to talk to the mount's daemon.
  static let mountAttribute: FilePath = "security.casher"

  /// Symlinks have no path by their descriptor, and no attributes that a user may set.
  func withAttributePath<Result>(_ node: Node, _ body: (Int32) throws(Errno) -> Result) throws(Errno) -> Result {
    if node.type == .symlink { throw .notSupported }
    return try node.inode.withDescriptor { descriptor throws(Errno) in try body(descriptor.rawValue) }
  }

  func setAttributes(
    of node: Node, _ wanted: stat, _ valid: Int32, _ handle: FileHandle?, _ request: Request
  ) throws(Errno) {
    if node.isViewsDirectory { throw .notPermitted }
    let actor = request.actor(node.view)
    let changes = Overlay.changes(wanted, valid)
    let isObserved = !recorder.isIdle
    if isObserved { for change in changes { recorder.willSetAttributes(of: node, change, by: actor) } }
    if valid & FUSE_SET_ATTR_SIZE != 0, let handle {
      let descriptor = try handle.opened()
      _ = try positive { ftruncate(descriptor, wanted.st_size) }
    }
    try node.inode.withDescriptor { descriptor throws(Errno) in
      let number = descriptor.rawValue
      if valid & FUSE_SET_ATTR_SIZE != 0, handle == nil {
        _ = try positive { casher_truncate_fd(number, Int64(wanted.st_size)) }
      }
      if valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID) != 0 {
        try descriptor.setOwner(
          of: FilePath([]), user: valid & FUSE_SET_ATTR_UID != 0 ? wanted.st_uid : .max,
          group: valid & FUSE_SET_ATTR_GID != 0 ? wanted.st_gid : .max)
      }
      if valid & FUSE_SET_ATTR_MODE != 0 {
        if node.type == .symlink { throw .notSupported }
        _ = try positive { casher_chmod_fd(number, wanted.st_mode & 0o7777) }
      }
      if valid & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME) != 0 {
        try Overlay.setTimes(node, number, wanted, valid)
      }
    }
    if isObserved { for change in changes { recorder.didSetAttributes(of: node, change, by: actor) } }
    inodeChanged(node.inode.key, data: valid & FUSE_SET_ATTR_SIZE != 0, except: node.view)
  }

  private static func changes(_ wanted: stat, _ valid: Int32) -> [AttributeChange] {
    var result: [AttributeChange] = []
    if valid & FUSE_SET_ATTR_MODE != 0 { result.append(.permissions) }
    if valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID) != 0 { result.append(.owner) }
    if valid & FUSE_SET_ATTR_SIZE != 0 { result.append(.size(Int64(wanted.st_size))) }
    if valid & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME) != 0 {
      let isExplicit = valid & FUSE_SET_ATTR_MTIME != 0 && valid & FUSE_SET_ATTR_MTIME_NOW == 0
      // The access time alone is nothing that a run leaves; with the length changed the time is that of the change.
      if valid & FUSE_SET_ATTR_MTIME != 0, isExplicit || valid & FUSE_SET_ATTR_SIZE == 0 {
        result.append(.times(modified: isExplicit ? FileStatus.nanoseconds(wanted.st_mtim) : nil))
      }
    }
    return result
  }

  private static func setTimes(_ node: Node, _ descriptor: Int32, _ wanted: stat, _ valid: Int32) throws(Errno) {
    func time(_ set: Int32, _ now: Int32, _ value: timespec) -> (Int64, Int64) {
      if valid & now != 0 { return (0, Int64(CASHER_UTIME_NOW)) }
      if valid & set != 0 { return (Int64(value.tv_sec), Int64(value.tv_nsec)) }
      return (0, Int64(CASHER_UTIME_OMIT))
    }
    let access = time(FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, wanted.st_atim)
    let modified = time(FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, wanted.st_mtim)
    if node.type == .symlink {
      let times = [
        timespec(tv_sec: Int(access.0), tv_nsec: Int(access.1)),
        timespec(tv_sec: Int(modified.0), tv_nsec: Int(modified.1)),
      ]
      guard let parent = node.parent else { throw .stale }
      let name = node.name
      try parent.inode.withDescriptor { directory throws(Errno) in
        try name.withCString { name throws(Errno) in
          _ = try positive { utimensat(directory.rawValue, name, times, AT_SYMLINK_NOFOLLOW) }
        }
      }
      return
    }
    _ = try positive { casher_set_times_fd(descriptor, [access.0, modified.0], [access.1, modified.1]) }
  }
}

extension Request {
  /// Answers a getxattr or listxattr: the size alone when the caller asks with 0.
  func reply(bytes: [UInt8], _ size: Int) {
    if size == 0 {
      fuse_reply_xattr(pointer, bytes.count)
    } else if bytes.count > size {
      fail(Errno(rawValue: ERANGE))
    } else {
      bytes.withUnsafeBytes { buffer in
        _ = fuse_reply_buf(pointer, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), buffer.count)
      }
    }
  }

  func replyAttribute(_ size: Int, _ read: (UnsafeMutableRawPointer?, Int) throws(Errno) -> Int) {
    answer { () throws(Errno) in
      if size == 0 {
        fuse_reply_xattr(pointer, try read(nil, 0))
        return
      }
      let buffer = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
      defer { buffer.deallocate() }
      let count = try read(buffer, size)
      fuse_reply_buf(pointer, buffer.assumingMemoryBound(to: CChar.self), count)
    }
  }

  func changeAttribute(_ node: Node, _ name: FilePath, _ body: (Int32) throws(Errno) -> Void) {
    answer { () throws(Errno) in
      if name == Overlay.mountAttribute { throw .notPermitted }
      let actor = actor(node.view)
      let isObserved = !overlay.recorder.isIdle
      if isObserved { overlay.recorder.willSetAttributes(of: node, .extended(name: name), by: actor) }
      try overlay.withAttributePath(node, body)
      if isObserved { overlay.recorder.didSetAttributes(of: node, .extended(name: name), by: actor) }
      overlay.inodeChanged(node.inode.key, data: false, except: node.view)
      succeed()
    }
  }
}
