import CFuse
import CLinux
import CasherSystem
import Glibc
import Synchronization

/// A directory that a process has open.
final class DirectoryHandle: Sendable {
  private struct State: @unchecked Sendable {  // used under the lock alone
    let stream: OpaquePointer
    var offset: off_t = 0
    /// An entry that was read and did not fit the last answer.
    var pending: UnsafeMutablePointer<dirent>?
    var isListed = false
  }

  private let state: Mutex<State>

  init(stream: OpaquePointer) { state = Mutex(State(stream: stream)) }

  deinit { state.withLock { _ = closedir($0.stream) } }

  var descriptor: Int32 { state.withLock { dirfd($0.stream) } }

  /// True for the first caller.
  func isFirstListing() -> Bool {
    state.withLock { state in
      defer { state.isListed = true }
      return !state.isListed
    }
  }

  /// Calls `body` with each entry from `offset` on until it says that it has no room: the name, the inode number, the
  /// type and the offset of the next.
  func read(
    from offset: off_t, _ body: (UnsafePointer<CChar>, ino_t, UInt8, off_t) -> Bool
  ) throws(Errno) {
    let failure = state.withLock { state -> Errno? in
      if offset != state.offset {
        seekdir(state.stream, Int(offset))
        state.pending = nil
        state.offset = offset
      }
      while true {
        if state.pending == nil {
          errno = 0
          state.pending = readdir(state.stream)
        }
        guard let entry = state.pending else { return errno == 0 ? nil : Errno.current }
        let next = off_t(entry.pointee.d_off)
        let hasRoom = withUnsafePointer(to: &entry.pointee.d_name) { name in
          name.withMemoryRebound(to: CChar.self, capacity: 256) {
            body($0, entry.pointee.d_ino, entry.pointee.d_type, next)
          }
        }
        guard hasRoom else { return nil }
        state.pending = nil
        state.offset = next
      }
    }
    if let failure { throw failure }
  }

  static func of(_ info: UnsafeMutablePointer<fuse_file_info>?) -> DirectoryHandle? {
    guard let info, let pointer = UnsafeRawPointer(bitPattern: UInt(info.pointee.fh)) else { return nil }
    return Unmanaged<DirectoryHandle>.fromOpaque(pointer).takeUnretainedValue()
  }
}

extension Operations {
  static func directories(_ table: inout fuse_lowlevel_ops) {
    table.opendir = { request, id, info in
      guard let request = Request(request), let node = request.overlay.node(id), let info else { return }
      request.note(.opendir, node)
      request.answer { () throws(Errno) in
        if node.isViewsDirectory { throw .accessDenied }
        let descriptor = try node.inode.withDescriptor { directory throws(Errno) in
          try directory.open(".", O_RDONLY | O_DIRECTORY)
        }
        guard let stream = fdopendir(descriptor.rawValue) else {
          let error = Errno.current
          descriptor.close()
          throw error
        }
        let handle = Unmanaged.passRetained(DirectoryHandle(stream: stream))
        info.pointee.fh = UInt64(UInt(bitPattern: handle.toOpaque()))
        if fuse_reply_open(request.pointer, info) != 0 { handle.release() }
      }
    }
    table.releasedir = { request, _, info in
      guard let request = Request(request) else { return }
      request.note(.releasedir)
      if let info, let pointer = UnsafeRawPointer(bitPattern: UInt(info.pointee.fh)) {
        Unmanaged<DirectoryHandle>.fromOpaque(pointer).release()
      }
      request.succeed()
    }
    table.readdir = { request, id, size, offset, info in
      guard let request = Request(request), let node = request.overlay.node(id) else { return }
      request.note(.readdir, node)
      request.list(node, DirectoryHandle.of(info), size, offset, withEntries: false)
    }
    table.readdirplus = { request, id, size, offset, info in
      guard let request = Request(request), let node = request.overlay.node(id) else { return }
      request.note(.readdirplus, node)
      request.list(node, DirectoryHandle.of(info), size, offset, withEntries: true)
    }
    table.fsyncdir = { request, _, dataOnly, info in
      guard let request = Request(request), let handle = DirectoryHandle.of(info) else { return }
      request.note(.fsyncdir)
      request.answer { () throws(Errno) in
        try FileDescriptor(rawValue: handle.descriptor).synchronize(dataOnly: dataOnly != 0)
        request.succeed()
      }
    }
  }
}

extension Request {
  func list(_ node: Node, _ handle: DirectoryHandle?, _ size: Int, _ offset: off_t, withEntries: Bool) {
    guard let handle else { return fail(.invalid) }
    if node.view.isRecorded, !overlay.recorder.isIdle, handle.isFirstListing() {
      overlay.recorder.didList(node, by: actor(node.view))
    }
    let buffer = UnsafeMutablePointer<CChar>.allocate(capacity: size)
    defer { buffer.deallocate() }
    var used = 0
    var failure: Errno?
    do throws(Errno) {
      try handle.read(from: offset) { name, inode, type, next in
        let count =
          withEntries
          ? add(node, name, inode, type, next, buffer + used, size - used)
          : addPlain(name, inode, type, next, buffer + used, size - used)
        guard let count else { return true }
        if count > size - used { return false }
        used += count
        return true
      }
    } catch { failure = error }
    if let failure, used == 0 { return fail(failure) }
    fuse_reply_buf(pointer, buffer, used)
  }

  private func addPlain(
    _ name: UnsafePointer<CChar>, _ inode: ino_t, _ type: UInt8, _ next: off_t, _ buffer: UnsafeMutablePointer<CChar>,
    _ room: Int
  ) -> Int? {
    var attributes = stat()
    attributes.st_ino = inode
    attributes.st_mode = UInt32(type) << 12
    return fuse_add_direntry(pointer, buffer, room, name, &attributes, next)
  }

  /// An entry with its node, for views where names are cached; the entry alone where every use of a name is to be seen.
  private func add(
    _ parent: Node, _ name: UnsafePointer<CChar>, _ inode: ino_t, _ type: UInt8, _ next: off_t,
    _ buffer: UnsafeMutablePointer<CChar>, _ room: Int
  ) -> Int? {
    var entry = fuse_entry_param()
    entry.attr.st_ino = inode
    entry.attr.st_mode = UInt32(type) << 12
    let isDot = name[0] == 46 && (name[1] == 0 || (name[1] == 46 && name[2] == 0))
    if isDot || parent.view.isRecorded {
      return fuse_add_direntry_plus(pointer, buffer, room, name, &entry, next)
    }
    // Asked first with the plain entry, so that nothing has to be taken back when there is no room.
    let needed = fuse_add_direntry_plus(pointer, nil, 0, name, nil, 0)
    if needed > room { return needed }
    guard let (node, status) = (try? overlay.find(FilePath(cString: name), in: parent)) ?? nil else { return nil }
    entry = overlay.entry(node, status)
    return fuse_add_direntry_plus(pointer, buffer, room, name, &entry, next)
  }
}
