import CFuse
import CLinux
import CasherSystem
import Glibc

/// Open files.
extension Request {
  // MARK: opening

  func open(_ node: Node, _ info: Info) throws(Errno) {
    let flags = info.pointee.flags
    let access = OpenAccess(flags: flags)
    let isChange = !access.isDisjoint(with: [.write, .truncate])
    let recorder = isChange ? changeRecorder : lookRecorder(node.view)
    let actor = actor(node.view)
    recorder?.willOpen(node, access, by: actor)
    let handle = try openHandle(node, flags: flags)
    defer { endOpening(handle) }
    recorder?.didOpen(node, access, by: actor)
    if access.contains(.truncate) { overlay.didChangeContent(of: node.inode, through: node.view) }
    begin(handle, info)
    let backing = backing(of: handle)
    cfuse_pass_next_open(backing)
    let failed = fuse_reply_open(raw, info) != 0
    cfuse_pass_next_open(0)
    if failed { end(handle, info) }
  }

  func create(_ name: CName, in directory: Node, mode: UInt32, _ info: Info) throws(Errno) {
    try checkWritable(name, in: directory)
    let flags = info.pointee.flags
    let view = directory.view
    let recorder = changeRecorder
    let actor = actor(view)
    let kind = MadeKind.file(
      exclusive: flags & O_EXCL != 0, truncates: flags & O_TRUNC != 0, reads: flags & O_ACCMODE != O_WRONLY,
      permissions: mode & 0o7777 & ~mask)
    recorder?.willMake(kind, FilePath(cString: name), in: directory, by: actor)
    let lower: FileDescriptor
    do throws(Errno) {
      lower = try directory.inode.withDescriptor { descriptor throws(Errno) in
        try overlay.placements.names.with(directory.inode.directoryKey) { () throws(Errno) in
          if overlay.placed(name, in: directory.inode) != nil { throw .exists }
          return try overlay.table.pool.givingWay { () throws(Errno) in
            try makeAsCaller(mode) { mode throws(Errno) in
              try descriptor.open(
                name, flags & FileHandle.lowerFlags | O_CREAT | O_EXCL | OpenFlags.noFollow, mode: mode)
            }
          }
        }
      }
    } catch {
      // The kernel did not know that the file is there: it is opened like any other.
      guard error == .exists, flags & O_EXCL == 0 else { throw error }
      return try openFound(name, in: directory, info)
    }
    overlay.didChange(name, in: directory.inode, through: view, .isThere)
    let made: (node: Node, status: FileStatus)
    let handle: FileHandle
    do throws(Errno) {
      made = try nodeOfCreated(lower, name, in: directory)
      handle = try handleOfCreated(made.node, lower, flags: flags)
    } catch {
      lower.close()
      throw error
    }
    recorder?.didMake(kind, FilePath(cString: name), in: directory, node: made.node, status: made.status, by: actor)
    reply(made, handle, info)
  }

  /// O_TMPFILE (open(2)): a file without a name in the directory's filesystem. No run is told of it before it gets one.
  func createNameless(in directory: Node, mode: UInt32, _ info: Info) throws(Errno) {
    guard directory.inode.role != .viewsDirectory else { throw .notPermitted }
    let flags = info.pointee.flags
    let lower = try directory.inode.withDescriptor { descriptor throws(Errno) in
      try makeAsCaller(mode) { mode throws(Errno) in
        try descriptor.open(".", flags & FileHandle.lowerFlags | Int32(CASHER_O_TMPFILE), mode: mode)
      }
    }
    let made: (node: Node, status: FileStatus)
    let handle: FileHandle
    do throws(Errno) {
      // As the kernel shows such files in /proc.
      let name = FilePath(Array("#\(try lower.status().key.inode)".utf8))
      made = try name.withCString { name throws(Errno) in try nodeOfCreated(lower, name, in: directory) }
      handle = try handleOfCreated(made.node, lower, flags: flags)
    } catch {
      lower.close()
      throw error
    }
    overlay.table.pool.keepForever(made.node.inode)
    reply(made, handle, info)
  }

  /// CREATE without O_EXCL of a name that stands for a file already.
  private func openFound(_ name: CName, in directory: Node, _ info: Info) throws(Errno) {
    guard let found = try find(name, in: directory) else { throw .stale }
    let flags = info.pointee.flags
    let access = OpenAccess(flags: flags)
    let recorder = changeRecorder
    do throws(Errno) {
      // The kernel looks the name up again after ESTALE, and finds what is no regular file.
      guard found.status.type == .regular else { throw .stale }
      recorder?.willOpen(found.node, access, by: actor(directory.view))
      let handle = try openHandle(found.node, flags: flags)
      defer { endOpening(handle) }
      recorder?.didOpen(found.node, access, by: actor(directory.view))
      if access.contains(.truncate) { overlay.didChangeContent(of: found.node.inode, through: directory.view) }
      let status = try found.node.inode.status()
      reply((found.node, status), handle, info)
    } catch {
      overlay.forget(found.node, 1)
      throw error
    }
  }

  private func reply(_ made: (node: Node, status: FileStatus), _ handle: FileHandle, _ info: Info) {
    begin(handle, info)
    var entry = overlay.entry(made.node, made.status)
    cfuse_pass_next_open(backing(of: handle))
    let failed = fuse_reply_create(raw, &entry, info) != 0
    cfuse_pass_next_open(0)
    if failed {
      end(handle, info)
      overlay.forget(made.node, 1)
    }
  }

  /// The node of what `lower` is open on, also when the name has been taken away since.
  private func nodeOfCreated(
    _ lower: FileDescriptor, _ name: CName, in directory: Node
  ) throws(Errno) -> (node: Node, status: FileStatus) {
    while true {
      let generation = overlay.table.renames.load(ordering: .sequentiallyConsistent)
      let found = overlay.identified(try overlay.look("", in: lower))
      if let node = overlay.table.intern(
        found, view: directory.view, at: name, in: directory.inode, generation: generation)
      {
        return (node, found.status)
      }
    }
  }

  /// `lower` is kept where the daemon may not be able to open it again: permission bits bind who opens, not who has open.
  private func handleOfCreated(_ node: Node, _ lower: FileDescriptor, flags: Int32) throws(Errno) -> FileHandle {
    let pool = overlay.table.pool
    let path: FileDescriptor
    do throws(Errno) { path = try lower.openAgain(OpenFlags.path) } catch {
      overlay.forget(node, 1)
      throw error
    }
    _ = pool.install(path, for: node.inode)
    let isPassthrough = registerBacking(of: node.inode) != nil
    let isKept = !isPassthrough || SystemAdministration.isLent
    if !isKept { lower.close() }
    return FileHandle(node: node, flags: flags, isPassthrough: isPassthrough, lower: isKept ? lower : nil)
  }

  /// Opens lower, or leaves that to the kernel, and truncates. The inode's descriptor is held until `end`.
  private func openHandle(_ node: Node, flags: Int32) throws(Errno) -> FileHandle {
    if node.inode.key.isPlaced { return try openPlaced(node, flags: flags) }
    return try openLower(node, flags: flags, isServed: false)
  }

  func openLower(_ node: Node, flags: Int32, isServed: Bool) throws(Errno) -> FileHandle {
    let pool = overlay.table.pool
    let path = try pool.acquire(node.inode)
    do throws(Errno) {
      let isPassthrough = !isServed && registerBacking(of: node.inode) != nil
      if isPassthrough, flags & O_ACCMODE != O_RDONLY { try checkProtection(of: path, flags) }
      var lower: FileDescriptor?
      if !isPassthrough {
        lower = try pool.givingWay { () throws(Errno) in
          try path.openAgain(flags & (FileHandle.lowerFlags | O_TRUNC))
        }
      } else if flags & O_TRUNC != 0 || SystemAdministration.isLent {
        let opened = try pool.givingWay { () throws(Errno) in
          try path.openAgain(flags & (O_ACCMODE | O_APPEND | O_TRUNC) | O_NONBLOCK)
        }
        // Without privilege of its own the daemon must be refused here what the kernel would open in its place, and keeps
        // what it got: an open file stays usable when its permission bits forbid to open it.
        if SystemAdministration.isLent { lower = opened } else { opened.close() }
      }
      if flags & O_TRUNC != 0 { try clearPrivileges(path) }
      return FileHandle(node: node, flags: flags, isPassthrough: isPassthrough, lower: lower, isServed: isServed)
    } catch {
      pool.release(node.inode)
      throw error
    }
  }

  /// Whoever opens lower is refused what chattr(1) forbids; the kernel, which is handed lower, is not.
  private func checkProtection(of path: FileDescriptor, _ flags: Int32) throws(Errno) {
    let protection = try path.writeProtection()
    if protection == .immutable || protection == .appendOnly && flags & O_APPEND == 0 { throw .notPermitted }
  }

  /// The inode's id as a backing file of the kernel. All files that are open on an inode at a time agree in whether
  /// there is one, which the kernel demands.
  func registerBacking(of inode: Inode) -> Int32? {
    guard let session = overlay.session, session.usesPassthrough else { return nil }
    return overlay.table.pool.backing(of: inode) { session.registerBacking($0) }
  }

  private func backing(of handle: FileHandle) -> Int32 {
    handle.isPassthrough ? registerBacking(of: handle.node.inode) ?? 0 : 0
  }

  private func begin(_ handle: FileHandle, _ info: Info) {
    let node = handle.node
    overlay.table.didOpen(handle)
    if handle.isWritable {
      node.view.writers.withLock { $0[ObjectIdentifier(handle)] = handle }
      // From here on nobody keeps attributes (`Inode.hasUnsettledAttributes`); what was kept before goes.
      overlay.didChangeAttributes(of: node.inode, through: node.view)
      if handle.mapsLower { overlay.session?.forgetAttributes(of: node) }
    }
    info.pointee.fh = handle.identifier
    // A close of a file that is only read needs no FLUSH, which would cost a request. POSIX locks set through such a
    // file are dropped at RELEASE then, not when the first of several processes that share it closes it.
    info.pointee.noflush = handle.isWritable ? 0 : 1
    info.pointee.keep_cache = 0
  }

  // MARK: closing

  func flush(_ handle: FileHandle, owner: UInt64) {
    if handle.isWritable { overlay.didChangeAttributes(of: handle.node.inode, through: handle.node.view) }
    overlay.locks.releasePosix(owner: owner, on: handle.node.inode.key)
    overlay.lowerLocks?.releaseAll(owner: owner, isFlock: false, on: handle.node.inode.key)
    // close(2) tells what a lower filesystem has kept to itself so far.
    if let lower = handle.openDescriptor, handle.isWritable, let copy = try? lower.duplicate() {
      if Glibc.close(copy.rawValue) == -1 {
        fuse_reply_err(raw, errno)
        return
      }
    }
    succeed()
  }

  func release(_ info: Info) {
    guard let handle = FileHandle.of(info) else { return succeed() }
    overlay.releasesUnderWay.add(1, ordering: .sequentiallyConsistent)
    defer { overlay.releasesUnderWay.subtract(1, ordering: .sequentiallyConsistent) }
    if info.pointee.flock_release != 0 {
      overlay.locks.releaseFlock(owner: info.pointee.lock_owner, on: handle.node.inode.key)
      overlay.lowerLocks?.releaseAll(owner: info.pointee.lock_owner, isFlock: true, on: handle.node.inode.key)
    }
    end(handle, info)
    succeed()
  }

  private func end(_ handle: FileHandle, _ info: Info) {
    let node = handle.node
    overlay.locks.releasePosix(takenThrough: handle)
    overlay.lowerLocks?.releaseAll(takenThrough: handle)
    if handle.holdsDescriptor { overlay.table.pool.release(node.inode) }
    overlay.table.didRelease(handle)
    if handle.isWritable {
      overlay.didChangeAttributes(of: node.inode, through: node.view)
      node.view.writers.update { $0[ObjectIdentifier(handle)] = nil }
    }
    handle.forgetIdentifier()
  }

  // MARK: reading and writing without passthrough

  func read(_ handle: FileHandle, size: Int, offset: Int64) throws(Errno) {
    var source = Request.buffer(try handle.descriptor(), size: size, offset: offset)
    fuse_reply_data(raw, &source, FUSE_BUF_SPLICE_MOVE)
  }

  func write(_ handle: FileHandle, _ data: UnsafeMutablePointer<fuse_bufvec>, offset: Int64) throws(Errno) {
    var target = Request.buffer(try handle.descriptor(), size: fuse_buf_size(data), offset: offset)
    let written = fuse_buf_copy(&target, data, fuse_buf_copy_flags(rawValue: 0))
    guard written >= 0 else { throw Errno(rawValue: Int32(truncatingIfNeeded: -written)) }
    overlay.didChangeContent(
      of: handle.node.inode, offset: offset, length: Int64(written), through: handle.node.view)
    fuse_reply_write(raw, written)
  }

  private static func buffer(_ descriptor: FileDescriptor, size: Int, offset: Int64) -> fuse_bufvec {
    var vector = fuse_bufvec()
    vector.count = 1
    vector.buf.size = size
    vector.buf.flags = fuse_buf_flags(rawValue: FUSE_BUF_IS_FD.rawValue | FUSE_BUF_FD_SEEK.rawValue)
    vector.buf.fd = descriptor.rawValue
    vector.buf.pos = off_t(offset)
    return vector
  }
}

extension OpenAccess {
  /// From the flags of open(2) as the kernel sends them.
  init(flags: Int32) {
    self = []
    switch flags & O_ACCMODE {
    case O_WRONLY: insert(.write)
    case O_RDWR: formUnion([.read, .write])
    default: insert(.read)
    }
    if flags & O_TRUNC != 0 { insert(.truncate) }
    if flags & O_APPEND != 0 { insert(.append) }
  }
}

extension FileHandle {
  /// Flags of open(2) that lower is to see. O_NONBLOCK never matters to a regular file, but to what may have taken its
  /// place.
  static let lowerFlags = O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC | O_NONBLOCK

  /// What the kernel knows the handle by: its address, kept alive until `forgetIdentifier`.
  var identifier: UInt64 { UInt64(UInt(bitPattern: Unmanaged.passRetained(self).toOpaque())) }

  func forgetIdentifier() { Unmanaged.passUnretained(self).release() }

  static func of(_ info: UnsafeMutablePointer<fuse_file_info>?) -> FileHandle? {
    guard let info, let address = UnsafeRawPointer(bitPattern: UInt(truncatingIfNeeded: info.pointee.fh)) else {
      return nil
    }
    return Unmanaged<FileHandle>.fromOpaque(address).takeUnretainedValue()
  }

  static func required(_ info: UnsafeMutablePointer<fuse_file_info>?) throws(Errno) -> FileHandle {
    guard let handle = of(info) else { throw Errno(rawValue: EBADF) }
    return handle
  }
}
