import CFuse
import CLinux
import CasherSystem
import Glibc

extension OpenAccess {
  /// From the flags of open(2).
  init(flags: Int32) {
    self = []
    switch flags & O_ACCMODE {
    case O_RDONLY: insert(.read)
    case O_WRONLY: insert(.write)
    default: formUnion([.read, .write])
    }
    if flags & O_TRUNC != 0 { insert(.truncate) }
    if flags & O_APPEND != 0 { insert(.append) }
  }
}

extension Overlay {
  /// Counts one more open and gives the id of the backing file; 0 when I/O goes through this process.
  func acquireBacking(_ inode: Inode, isWritable: Bool) throws(Errno) -> Int32 {
    // The descriptor must not be given back before the handle is counted.
    try inode.withDescriptor { descriptor throws(Errno) in
      inode.state.withLock { state in
        state.handles += 1
        if isWritable { state.writableHandles += 1 }
        guard usesPassthrough else { return 0 }
        if state.backing == 0 {
          let id = casher_fuse_backing_open(inodes.pool.device, descriptor.rawValue)
          if id > 0 { state.backing = id }
        }
        return state.backing
      }
    }
  }

  func releaseBacking(_ inode: Inode, isWritable: Bool) {
    inode.state.withLock { state in
      state.handles -= 1
      if isWritable { state.writableHandles -= 1 }
    }
  }

  /// Opens a node's file for a handle and answers the request with it.
  func open(_ node: Node, flags: Int32, _ info: UnsafeMutablePointer<fuse_file_info>, _ request: Request) throws(Errno)
  {
    let isWritable = flags & O_ACCMODE != O_RDONLY
    let backing = try acquireBacking(node.inode, isWritable: isWritable)
    do throws(Errno) {
      var descriptor: Int32 = -1
      if flags & O_TRUNC != 0 {
        try node.inode.withDescriptor { file throws(Errno) in
          _ = try positive { casher_truncate_fd(file.rawValue, 0) }
        }
      }
      if backing == 0 {
        let kept = flags & (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC | O_NONBLOCK)
        descriptor = try node.inode.withDescriptor { file throws(Errno) in
          try positive { casher_reopen_fd(file.rawValue, kept) }
        }
      }
      hand(FileHandle(node: node, flags: flags, descriptor: descriptor), info)
    } catch {
      releaseBacking(node.inode, isWritable: isWritable)
      throw error
    }
    casher_fuse_next_open_backing(backing)
  }

  /// Gives the kernel a handle that `release` takes back.
  func hand(_ handle: FileHandle, _ info: UnsafeMutablePointer<fuse_file_info>) {
    if handle.isWritable { handle.node.view.opened(ObjectIdentifier(handle), writing: handle.node) }
    info.pointee.fh = handle.token
    _ = Unmanaged.passRetained(handle)
    // FLUSH is what drops a process's POSIX locks at close(2). Without it a read lock set through a read-only handle is
    // dropped when that handle is released, which comes to the same but for descriptors shared over fork(2).
    info.pointee.noflush = handle.isWritable ? 0 : 1
  }

  func release(_ info: UnsafeMutablePointer<fuse_file_info>?) {
    guard let info, let pointer = UnsafeRawPointer(bitPattern: UInt(info.pointee.fh)) else { return }
    let handle = Unmanaged<FileHandle>.fromOpaque(pointer).takeRetainedValue()
    let inode = handle.node.inode
    for owner in handle.lockOwners.withLock({ $0 }) { locks.clear(inode.key, .posix, owner: owner) }
    if info.pointee.flock_release != 0 { locks.clear(inode.key, .flock, owner: info.pointee.lock_owner) }
    releaseBacking(inode, isWritable: handle.isWritable)
    if handle.isWritable {
      inodeChanged(inode.key, data: !usesPassthrough, except: handle.node.view)
      handle.node.view.released(ObjectIdentifier(handle))
    }
  }
}

extension Operations {
  static func files(_ table: inout fuse_lowlevel_ops) {
    table.open = { request, id, info in
      guard let request = Request(request), let node = request.overlay.node(id), let info else { return }
      request.note(.open, node)
      let overlay = request.overlay
      request.answer { () throws(Errno) in
        let flags = info.pointee.flags
        let access = OpenAccess(flags: flags)
        let actor = request.actor(node.view)
        let isChange = !access.isDisjoint(with: [.write, .truncate])
        let isObserved = !overlay.recorder.isIdle && (isChange || node.view.isRecorded)
        if isObserved { overlay.recorder.willOpen(node, access, by: actor) }
        try overlay.open(node, flags: flags, info, request)
        if isObserved { overlay.recorder.didOpen(node, access, by: actor) }
        if isChange { overlay.inodeChanged(node.inode.key, data: access.contains(.truncate), except: node.view) }
        if fuse_reply_open(request.pointer, info) != 0 { overlay.release(info) }
        casher_fuse_next_open_backing(0)
      }
      casher_fuse_next_open_backing(0)
    }
    table.create = { request, parent, name, mode, info in
      guard let request = Request(request), let parent = request.overlay.node(parent), let name, let info else {
        return
      }
      let entryName = FilePath(cString: name)
      request.note(.create, parent, entryName)
      request.answer { () throws(Errno) in
        try request.overlay.create(entryName, in: parent, mode: mode, info, request)
      }
      casher_fuse_next_open_backing(0)
    }
    table.release = { request, _, info in
      guard let request = Request(request) else { return }
      request.note(.release)
      request.overlay.release(info)
      request.succeed()
    }
    table.flush = { request, id, info in
      guard let request = Request(request), let node = request.overlay.node(id), let info else { return }
      request.note(.flush, node)
      request.overlay.locks.clear(node.inode.key, .posix, owner: info.pointee.lock_owner)
      request.succeed()
    }
    table.read = { request, id, size, offset, info in
      guard let request = Request(request), let handle = FileHandle.of(info) else { return }
      request.note(.read)
      request.answer { () throws(Errno) in
        var vector = request.vector(try handle.opened(), size, offset)
        fuse_reply_data(request.pointer, &vector, FUSE_BUF_SPLICE_MOVE)
      }
    }
    table.write_buf = { request, id, source, offset, info in
      guard let request = Request(request), let handle = FileHandle.of(info), let source else { return }
      request.note(.write)
      request.answer { () throws(Errno) in
        var vector = request.vector(try handle.opened(), fuse_buf_size(source), offset)
        let result = fuse_buf_copy(&vector, source, fuse_buf_copy_flags(rawValue: 0))
        if result < 0 { throw Errno(rawValue: Int32(truncatingIfNeeded: -result)) }
        request.overlay.inodeChanged(handle.node.inode.key, data: true, except: handle.node.view)
        fuse_reply_write(request.pointer, result)
      }
    }
    table.fsync = { request, id, dataOnly, info in
      guard let request = Request(request), let handle = FileHandle.of(info) else { return }
      request.note(.fsync)
      request.answer { () throws(Errno) in
        try FileDescriptor(rawValue: try handle.opened()).synchronize(dataOnly: dataOnly != 0)
        request.succeed()
      }
    }
    table.fallocate = { request, id, mode, offset, length, info in
      guard let request = Request(request), let handle = FileHandle.of(info) else { return }
      request.note(.fallocate)
      request.answer { () throws(Errno) in
        let descriptor = try handle.opened()
        _ = try positive { casher_fallocate(descriptor, mode, Int64(offset), Int64(length)) }
        request.overlay.inodeChanged(handle.node.inode.key, data: true, except: handle.node.view)
        request.succeed()
      }
    }
    table.copy_file_range = { request, _, from, source, _, to, target, length, _ in
      guard let request = Request(request), let source = FileHandle.of(source), let target = FileHandle.of(target)
      else {
        return
      }
      request.note(.copyFileRange)
      request.answer { () throws(Errno) in
        let (input, output) = (try source.opened(), try target.opened())
        var (fromOffset, toOffset) = (Int64(from), Int64(to))
        let count = try positive { casher_copy_file_range(input, &fromOffset, output, &toOffset, length) }
        request.overlay.inodeChanged(target.node.inode.key, data: true, except: target.node.view)
        fuse_reply_write(request.pointer, count)
      }
    }
    table.lseek = { request, _, offset, whence, info in
      guard let request = Request(request), let handle = FileHandle.of(info) else { return }
      request.note(.lseek)
      request.answer { () throws(Errno) in
        let descriptor = try handle.opened()
        let result = try positive { lseek(descriptor, offset, whence) }
        fuse_reply_lseek(request.pointer, result)
      }
    }
  }
}

extension Request {
  /// A buffer that is a part of an open file.
  func vector(_ descriptor: Int32, _ size: Int, _ offset: off_t) -> fuse_bufvec {
    var vector = fuse_bufvec()
    vector.count = 1
    vector.buf.size = size
    vector.buf.flags = fuse_buf_flags(rawValue: FUSE_BUF_IS_FD.rawValue | FUSE_BUF_FD_SEEK.rawValue)
    vector.buf.fd = descriptor
    vector.buf.pos = offset
    return vector
  }
}

extension Overlay {
  func create(
    _ name: FilePath, in parent: Node, mode: mode_t, _ info: UnsafeMutablePointer<fuse_file_info>, _ request: Request
  ) throws(Errno) {
    try checkName(name, in: parent)
    let flags = info.pointee.flags
    let kind = MadeKind.file(
      exclusive: flags & O_EXCL != 0, truncates: flags & O_TRUNC != 0, permissions: UInt32(mode) & 0o7777)
    let actor = request.actor(parent.view)
    let isObserved = !recorder.isIdle
    if isObserved { recorder.willMake(kind, name, in: parent, by: actor) }
    let kept = flags & (O_ACCMODE | O_APPEND | O_TRUNC | O_EXCL | O_SYNC | O_DSYNC | O_NONBLOCK)
    let (descriptor, status) = try parent.inode.withDescriptor { directory throws(Errno) in
      let descriptor = try request.asCaller { () throws(Errno) in
        try directory.open(name, kept | O_CREAT | O_NOFOLLOW, mode: UInt32(mode))
      }
      do throws(Errno) { return (descriptor, try descriptor.status()) } catch {
        descriptor.close()
        throw error
      }
    }
    let node = enter(status, parent: parent, name: name)
    let isWritable = flags & O_ACCMODE != O_RDONLY
    let backing: Int32
    do throws(Errno) { backing = try acquireBacking(node.inode, isWritable: isWritable) } catch {
      descriptor.close()
      forget(node, 1)
      throw error
    }
    if backing > 0 { descriptor.close() }
    hand(FileHandle(node: node, flags: flags, descriptor: backing > 0 ? -1 : descriptor.rawValue), info)
    if isObserved { recorder.didMake(kind, name, in: parent, node: node, status: status, by: actor) }
    entryChanged(name, in: parent.inode.key, except: parent.view)
    casher_fuse_next_open_backing(backing)
    var entry = entry(node, status)
    if fuse_reply_create(request.pointer, &entry, info) != 0 {
      release(info)
      forget(node, 1)
    }
  }
}
