import CFuse
import CasherSystem
import Glibc

/// Attributes, extended ones too.
extension Request {
  func attributes(of node: Node) throws(Errno) {
    var status = node.inode.role == .viewsDirectory ? try overlay.viewsStatus() : try node.inode.status()
    if node.inode.role != .viewsDirectory {
      if overlay.table.identities.isDisguised(node.inode.key) { status = overlay.table.identities.disguised(status) }
      status.raw.st_ino = ino_t(overlay.table.identities.shownNumber(of: node.inode.key))
    }
    if cfuse_wants_birth() != 0 { tellBirth(of: node.inode.current) }
    fuse_reply_attr(raw, &status.raw, overlay.attributeTimeout(node))
  }

  /// A placed file has not come to be in lower yet.
  private func tellBirth(of inode: Inode) {
    guard inode.role != .viewsDirectory, inode.placedFile == nil else { return }
    let found = try? inode.withDescriptor { descriptor throws(Errno) in try descriptor.statusAndBirth(of: "") }
    if let found { cfuse_tell_birth(found.birth) }
  }

  /// SETATTR. `valid` has FUSE_SET_ATTR_…; with nothing to set it asks that set-id bits be cleared, because the file is
  /// written to (FUSE_HANDLE_KILLPRIV_V2: the kernel has stripped the mode it would have set), or it is chown(2) that
  /// leaves both owners, which changes the status change time.
  func setAttributes(of node: Node, _ wanted: stat, _ valid: Int32, _ handle: FileHandle?) throws(Errno) {
    guard node.inode.role != .viewsDirectory else { throw .notPermitted }
    let recorder = changeRecorder
    let actor = actor(node.view)
    let changes = recorder == nil ? [] : Request.changes(wanted, valid)
    for change in changes { recorder?.willSetAttributes(of: node, change, by: actor) }
    if node.isDirectory, valid & FUSE_SET_ATTR_MODE != 0, wanted.st_mode & 0o300 != 0o300 {
      try overlay.materialiseBeforeClosing(node.inode)
    }
    let dropsContent = valid & FUSE_SET_ATTR_SIZE != 0 && wanted.st_size == 0
    let inode = try overlay.ordinary(node.inode, keepingContent: !dropsContent)
    try inode.withDescriptor { descriptor throws(Errno) in
      let ids = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID
      let times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW
      if valid & (FUSE_SET_ATTR_MODE | ids | FUSE_SET_ATTR_SIZE | times) == 0 {
        try inode.writableHandles > 0 ? clearPrivileges(descriptor, touch: true) : keepOwner(descriptor)
      }
      if valid & FUSE_SET_ATTR_MODE != 0 { try descriptor.setPermissionsOfPath(wanted.st_mode & 0o7777) }
      if valid & ids != 0 {
        if user != 0 { try clearPrivileges(descriptor) }
        try descriptor.setOwnerOfPath(
          user: valid & FUSE_SET_ATTR_UID != 0 ? wanted.st_uid : .max,
          group: valid & FUSE_SET_ATTR_GID != 0 ? wanted.st_gid : .max)
      }
      if valid & FUSE_SET_ATTR_SIZE != 0 {
        if let handle, handle.isWritable {
          try handle.descriptor().truncate(to: Int64(wanted.st_size))
        } else {
          try descriptor.truncatePath(to: Int64(wanted.st_size))
        }
        try clearPrivileges(descriptor)
      }
      if valid & times != 0 {
        try descriptor.setTimesOfPath(
          accessed: Request.time(wanted.st_atim, valid, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW),
          modified: Request.time(wanted.st_mtim, valid, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW))
      }
    }
    for change in changes { recorder?.didSetAttributes(of: node, change, by: actor) }
    if valid & FUSE_SET_ATTR_SIZE != 0 {
      overlay.didChangeContent(of: inode, through: node.view)
    } else {
      overlay.didChangeAttributes(of: inode, through: node.view)
    }
    // The name still leads to the node of who reads the blob, with the blob's size and time, until the kernel has heard.
    if inode !== node.inode { overlay.notifier.flushForRequest() }
    try attributes(of: node)
  }

  /// Clears what a write clears: file capabilities, and by another than root also set-user-id and set-group-id, the
  /// latter only of who is in the file's group where the group may not execute (inode(7)).
  ///
  /// `touch`: the status change time is to be now in any case.
  func clearPrivileges(_ descriptor: FileDescriptor, touch: Bool = false) throws(Errno) {
    let status = try descriptor.status()
    guard status.type == .regular else {
      if touch { try descriptor.setOwnerOfPath(user: .max, group: .max) }
      return
    }
    var permissions = status.permissions
    if user != 0 {
      permissions &= ~0o4000
      if permissions & 0o2000 != 0, permissions & 0o10 != 0 || !isCaller(in: status.raw.st_gid) {
        permissions &= ~0o2000
      }
    }
    if touch || permissions != status.permissions { try descriptor.setPermissionsOfPath(permissions) }
    try? descriptor.removeAttributeOfPath("security.capability")
  }

  /// chown(2) that changes neither owner. The kernel has not asked whether the caller may clear what this clears.
  private func keepOwner(_ descriptor: FileDescriptor) throws(Errno) {
    let groups = Credentials.groups(ofThread: thread) ?? []
    try Credentials.actingAs(user: user, group: group, groups: groups) { () throws(Errno) in
      try descriptor.setOwnerOfPath(user: .max, group: .max)
    }
  }

  private func isCaller(in wanted: UInt32) -> Bool {
    group == wanted || Credentials.groups(ofThread: thread)?.contains(wanted) ?? false
  }

  private static func time(_ wanted: timespec, _ valid: Int32, _ given: Int32, _ now: Int32) -> timespec {
    if valid & now != 0 { return timespec(tv_sec: 0, tv_nsec: TimeMarks.now) }
    if valid & given != 0 { return wanted }
    return timespec(tv_sec: 0, tv_nsec: TimeMarks.omit)
  }

  /// The changes as the recorder is told of them.
  private static func changes(_ wanted: stat, _ valid: Int32) -> [AttributeChange] {
    var changes: [AttributeChange] = []
    if valid & FUSE_SET_ATTR_MODE != 0 { changes.append(.permissions) }
    if valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID) != 0 { changes.append(.owner) }
    if valid & FUSE_SET_ATTR_SIZE != 0 { changes.append(.size(Int64(wanted.st_size))) }
    if valid & FUSE_SET_ATTR_MTIME != 0 && valid & FUSE_SET_ATTR_MTIME_NOW == 0 {
      changes.append(.times(modified: FileStatus.nanoseconds(wanted.st_mtim)))
    } else if valid & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW) != 0 {
      changes.append(.times(modified: nil))
    }
    return changes
  }

  // MARK: extended attributes

  /// The attribute that every directory of a mount answers with what the recorder says of it.
  private static let answer = "security.casher"
  private static let userNamespace = "user."
  private static let accessLists = "system.posix_acl_"

  func extended(_ name: CName, of node: Node, size: Int) throws(Errno) {
    if !overlay.configuration.isDetached, strcmp(name, Request.answer) == 0 {
      guard node.isDirectory, node.inode.role != .viewsDirectory else { throw .noData }
      return try reply(overlay.recorder.mountAnswer(for: node), size: size)
    }
    guard node.inode.role != .viewsDirectory else { throw .noData }
    if strncmp(name, Request.userNamespace, 5) == 0 {
      lookRecorder(node.view)?.didReadAttributes(of: node, by: actor(node.view))
    }
    if let file = node.inode.current.placedFile {
      return try reply(try overlay.attribute(FilePath(cString: name), of: file), size: size)
    }
    do throws(Errno) {
      try replyFilled(size) { buffer throws(Errno) in
        try node.inode.current.withDescriptor { descriptor throws(Errno) in
          try descriptor.attributeOfPath(name, into: buffer)
        }
      }
    } catch {
      // To the kernel, which asks for the list before it grants anything, an error is a refusal.
      throw error == .notSupported && strncmp(name, Request.accessLists, 17) == 0 ? .noData : error
    }
  }

  func listExtended(of node: Node, size: Int) throws(Errno) {
    guard node.inode.role != .viewsDirectory else { return try reply([], size: size) }
    lookRecorder(node.view)?.didReadAttributes(of: node, by: actor(node.view))
    if let file = node.inode.current.placedFile {
      return try reply(file.attributes.flatMap { $0.name.bytes + [0] }, size: size)
    }
    try replyFilled(size) { buffer throws(Errno) in
      try node.inode.current.withDescriptor { descriptor throws(Errno) in
        try descriptor.attributeNamesOfPath(into: buffer)
      }
    }
  }

  func setExtended(_ name: CName, _ value: UnsafeRawBufferPointer, flags: Int32, of node: Node) throws(Errno) {
    try changeExtended(name, of: node) { descriptor throws(Errno) in
      try descriptor.setAttributeOfPath(name, value, flags: flags)
      // As chmod(2) does. Lower takes the caller for root.
      if user != 0, strcmp(name, "system.posix_acl_access") == 0 {
        let status = try descriptor.status()
        if status.permissions & 0o2000 != 0, !isCaller(in: status.raw.st_gid) {
          try descriptor.setPermissionsOfPath(status.permissions & ~0o2000)
        }
      }
    }
  }

  func removeExtended(_ name: CName, of node: Node) throws(Errno) {
    try changeExtended(name, of: node) { descriptor throws(Errno) in try descriptor.removeAttributeOfPath(name) }
  }

  private func changeExtended(
    _ name: CName, of node: Node, _ body: (FileDescriptor) throws(Errno) -> Void
  ) throws(Errno) {
    guard node.inode.role != .viewsDirectory, strcmp(name, Request.answer) != 0 else { throw .notPermitted }
    let recorder = changeRecorder
    let change = AttributeChange.extended(name: FilePath(cString: name))
    recorder?.willSetAttributes(of: node, change, by: actor(node.view))
    let inode = try overlay.ordinary(node.inode)
    try inode.withDescriptor { descriptor throws(Errno) in try body(descriptor) }
    recorder?.didSetAttributes(of: node, change, by: actor(node.view))
    overlay.didChangeAttributes(of: inode, through: node.view)
    succeed()
  }

  /// Replies with the size alone when none is allowed for, with ERANGE when too little is.
  private func reply(_ bytes: [UInt8], size: Int) throws(Errno) {
    if size == 0 {
      fuse_reply_xattr(raw, bytes.count)
      return
    }
    guard bytes.count <= size else { throw Errno(rawValue: ERANGE) }
    _ = bytes.withUnsafeBytes { fuse_reply_buf(raw, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count) }
  }

  private func replyFilled(
    _ size: Int, _ fill: (UnsafeMutableRawBufferPointer) throws(Errno) -> Int
  ) throws(Errno) {
    if size == 0 {
      fuse_reply_xattr(raw, try fill(UnsafeMutableRawBufferPointer(start: nil, count: 0)))
      return
    }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
    defer { buffer.deallocate() }
    let count = try fill(buffer)
    fuse_reply_buf(raw, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), count)
  }
}

/// Marks in the nanoseconds of utimensat(2).
enum TimeMarks {
  static let now = 0x3fff_ffff
  static let omit = 0x3fff_fffe
}
