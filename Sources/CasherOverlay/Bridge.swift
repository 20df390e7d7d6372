import CFuse
import CasherSystem
import Glibc

/// libfuse's callbacks. They capture nothing: the overlay is found through the request.
enum Bridge {
  static var operations: fuse_lowlevel_ops {
    var operations = fuse_lowlevel_ops()
    operations.`init` = { data, connection in
      guard let connection else { return }
      Bridge.negotiate(connection, Overlay.serving(session: data))
    }
    addNames(&operations)
    addAttributes(&operations)
    addFiles(&operations)
    addDirectories(&operations)
    addLocks(&operations)
    return operations
  }

  private static func negotiate(_ connection: UnsafeMutablePointer<fuse_conn_info>, _ overlay: Overlay?) {
    for capability in [
      FUSE_CAP_SPLICE_WRITE, FUSE_CAP_SPLICE_MOVE, FUSE_CAP_ATOMIC_O_TRUNC,
      FUSE_CAP_CACHE_SYMLINKS,
      FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_READDIRPLUS, FUSE_CAP_READDIRPLUS_AUTO, FUSE_CAP_AUTO_INVAL_DATA,
    ] {
      connection.pointee.want |= connection.pointee.capable & UInt32(bitPattern: capability)
    }
    // The kernel heeds lower's access lists (acl(5)), and lower applies the file creation mask, which does not count in a
    // directory with a default list.
    let lists = connection.pointee.capable & UInt32(bitPattern: FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK)
    if overlay?.hasAccessLists ?? false { connection.pointee.want |= lists }
    // Whoever reads requests has to see them (CFuse.h).
    connection.pointee.want &= ~UInt32(bitPattern: FUSE_CAP_SPLICE_READ)
    // Set-id bits are cleared by a SETATTR of the kernel (CFuse.c asks for HANDLE_KILLPRIV_V2 besides). The older
    // HANDLE_KILLPRIV would leave that to a WRITE, which does not come with passthrough; nor does a cache of writes go
    // with passthrough.
    connection.pointee.want &= ~UInt32(bitPattern: FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_WRITEBACK_CACHE)
    connection.pointee.max_write = 1 << 20
    connection.pointee.max_background = 64
  }

  private static func addNames(_ operations: inout fuse_lowlevel_ops) {
    operations.lookup = { raw, parent, name in
      guard let name else { return }
      Request.serve(raw, .lookup, parent, name) { request, node throws(Errno) in try request.lookup(name, in: node) }
    }
    operations.forget = { raw, id, count in
      guard let raw, let overlay = Overlay.serving(raw) else { return }
      overlay.requests.count(.forget)
      overlay.forget(id, count)
      fuse_reply_none(raw)
    }
    operations.forget_multi = { raw, count, list in
      guard let raw, let overlay = Overlay.serving(raw), let list else { return }
      for index in 0..<count {
        overlay.requests.count(.forget)
        overlay.forget(list[index].ino, list[index].nlookup)
      }
      fuse_reply_none(raw)
    }
    operations.readlink = { raw, id in
      Request.serve(raw, .readlink, id) { request, node throws(Errno) in try request.readLink(node) }
    }
    operations.mknod = { raw, parent, name, mode, device in
      guard let name else { return }
      Request.serve(raw, .mknod, parent, name) { request, node throws(Errno) in
        try request.make(.node(FileType(mode: mode)), name, in: node, mode: mode) {
          directory, mode throws(Errno) in
          try directory.makeNode(name, mode: mode, device: UInt64(device))
        }
      }
    }
    operations.mkdir = { raw, parent, name, mode in
      guard let name else { return }
      Request.serve(raw, .mkdir, parent, name) { request, node throws(Errno) in
        try request.make(.directory, name, in: node, mode: mode) { directory, mode throws(Errno) in
          try directory.makeDirectory(name, mode: mode)
        }
      }
    }
    operations.symlink = { raw, target, parent, name in
      guard let name, let target else { return }
      Request.serve(raw, .symlink, parent, name) { request, node throws(Errno) in
        try request.make(.symlink, name, in: node) { directory, _ throws(Errno) in
          try directory.makeSymlink(name, to: target)
        }
      }
    }
    operations.link = { raw, id, parent, name in
      guard let name else { return }
      Request.serve(raw, .link, id, name) { request, node throws(Errno) in
        try request.link(node, to: name, in: request.overlay.node(parent))
      }
    }
    operations.unlink = { raw, parent, name in
      guard let name else { return }
      Request.serve(raw, .unlink, parent, name) { request, node throws(Errno) in
        try request.remove(name, in: node, isDirectory: false)
      }
    }
    operations.rmdir = { raw, parent, name in
      guard let name else { return }
      Request.serve(raw, .rmdir, parent, name) { request, node throws(Errno) in
        try request.remove(name, in: node, isDirectory: true)
      }
    }
    operations.rename = { raw, parent, name, newParent, newName, flags in
      guard let name, let newName else { return }
      Request.serve(raw, .rename, parent, name) { request, node throws(Errno) in
        try request.rename(name, in: node, to: newName, in: request.overlay.node(newParent), flags: flags)
      }
    }
  }

  private static func addAttributes(_ operations: inout fuse_lowlevel_ops) {
    operations.getattr = { raw, id, _ in
      Request.serve(raw, .getattr, id) { request, node throws(Errno) in try request.attributes(of: node) }
    }
    operations.setattr = { raw, id, wanted, valid, info in
      guard let wanted else { return }
      Request.serve(raw, .setattr, id) { request, node throws(Errno) in
        try request.setAttributes(of: node, wanted.pointee, valid, FileHandle.of(info))
      }
    }
    operations.statfs = { raw, id in
      Request.serve(raw, .statfs, id) { request, node throws(Errno) in
        let descriptor = request.overlay.rootDescriptor
        var status =
          node.inode.role == .ordinary && !node.inode.key.isPlaced
          ? try node.inode.withDescriptor { file throws(Errno) in try file.fileSystemStatus() }
          : try descriptor.fileSystemStatus()
        fuse_reply_statfs(request.raw, &status)
      }
    }
    operations.setxattr = { raw, id, name, value, size, flags in
      guard let name else { return }
      Request.serve(raw, .setxattr, id, name) { request, node throws(Errno) in
        try request.setExtended(
          name, UnsafeRawBufferPointer(start: value, count: value == nil ? 0 : size), flags: flags, of: node)
      }
    }
    operations.getxattr = { raw, id, name, size in
      guard let name else { return }
      Request.serve(raw, .getxattr, id, name) { request, node throws(Errno) in
        try request.extended(name, of: node, size: size)
      }
    }
    operations.listxattr = { raw, id, size in
      Request.serve(raw, .listxattr, id) { request, node throws(Errno) in
        try request.listExtended(of: node, size: size)
      }
    }
    operations.removexattr = { raw, id, name in
      guard let name else { return }
      Request.serve(raw, .removexattr, id, name) { request, node throws(Errno) in
        try request.removeExtended(name, of: node)
      }
    }
    operations.ioctl = { raw, id, _, _, _, _, _, _, _ in
      Request.serve(raw, .ioctl, id) { _, _ throws(Errno) in throw Errno(rawValue: 25) }  // ENOTTY
    }
  }

  private static func addFiles(_ operations: inout fuse_lowlevel_ops) {
    operations.open = { raw, id, info in
      guard let info else { return }
      Request.serve(raw, .open, id) { request, node throws(Errno) in try request.open(node, info) }
    }
    operations.create = { raw, parent, name, mode, info in
      guard let info, let name else { return }
      Request.serve(raw, .create, parent, name) { request, node throws(Errno) in
        if strcmp(name, CFUSE_NAMELESS) == 0 {
          try request.createNameless(in: node, mode: mode, info)
        } else {
          try request.create(name, in: node, mode: mode, info)
        }
      }
    }
    operations.read = { raw, id, size, offset, info in
      Request.serve(raw, .read, id) { request, node throws(Errno) in
        try request.read(try FileHandle.required(info), size: size, offset: Int64(offset))
      }
    }
    operations.write_buf = { raw, id, buffer, offset, info in
      guard let buffer else { return }
      Request.serve(raw, .write, id) { request, node throws(Errno) in
        try request.write(try FileHandle.required(info), buffer, offset: Int64(offset))
      }
    }
    operations.flush = { raw, id, info in
      Request.serve(raw, .flush, id) { request, node throws(Errno) in
        request.flush(try FileHandle.required(info), owner: info?.pointee.lock_owner ?? 0)
      }
    }
    operations.release = { raw, id, info in
      guard let info else { return }
      Request.serve(raw, .release, id) { request, node throws(Errno) in request.release(info) }
    }
    operations.fsync = { raw, id, dataOnly, info in
      Request.serve(raw, .fsync, id) { request, node throws(Errno) in
        try request.synchronize(try FileHandle.required(info), dataOnly: dataOnly != 0)
      }
    }
    operations.fallocate = { raw, id, mode, offset, length, info in
      Request.serve(raw, .fallocate, id) { request, node throws(Errno) in
        let handle = try FileHandle.required(info)
        try handle.descriptor().allocate(mode: mode, offset: Int64(offset), length: Int64(length))
        request.overlay.didChangeContent(of: node.inode, through: node.view)
        request.succeed()
      }
    }
    operations.copy_file_range = { raw, id, offset, info, _, targetOffset, targetInfo, count, flags in
      Request.serve(raw, .copyFileRange, id) { request, node throws(Errno) in
        let target = try FileHandle.required(targetInfo)
        let copied = try FileHandle.required(info).descriptor().copyRange(
          at: Int64(offset), to: try target.descriptor(), at: Int64(targetOffset), count: count,
          flags: UInt32(bitPattern: flags))
        request.overlay.didChangeContent(of: target.node.inode, through: target.node.view)
        fuse_reply_write(request.raw, copied)
      }
    }
    operations.lseek = { raw, id, offset, whence, info in
      Request.serve(raw, .lseek, id) { request, node throws(Errno) in
        let position = try FileHandle.required(info).descriptor().seek(to: Int64(offset), from: whence)
        fuse_reply_lseek(request.raw, off_t(position))
      }
    }
  }

  private static func addDirectories(_ operations: inout fuse_lowlevel_ops) {
    operations.opendir = { raw, id, info in
      guard let info else { return }
      Request.serve(raw, .opendir, id) { request, node throws(Errno) in try request.openDirectory(node, info) }
    }
    operations.readdir = { raw, id, size, offset, info in
      Request.serve(raw, .readdir, id) { request, node throws(Errno) in
        try request.list(try DirectoryHandle.required(info), size: size, offset: Int64(offset), plus: false)
      }
    }
    operations.readdirplus = { raw, id, size, offset, info in
      Request.serve(raw, .readdirplus, id) { request, node throws(Errno) in
        try request.list(try DirectoryHandle.required(info), size: size, offset: Int64(offset), plus: true)
      }
    }
    operations.releasedir = { raw, id, info in
      guard let info else { return }
      Request.serve(raw, .releasedir, id) { request, _ throws(Errno) in
        DirectoryHandle.end(info)
        request.succeed()
      }
    }
    operations.fsyncdir = { raw, id, dataOnly, info in
      Request.serve(raw, .fsyncdir, id) { request, _ throws(Errno) in
        try DirectoryHandle.required(info).synchronize(dataOnly: dataOnly != 0)
        request.succeed()
      }
    }
  }

  private static func addLocks(_ operations: inout fuse_lowlevel_ops) {
    operations.getlk = { raw, id, info, lock in
      guard let info, let lock else { return }
      Request.serve(raw, .getlk, id) { request, node throws(Errno) in
        try request.testLock(lock.pointee, owner: info.pointee.lock_owner, of: node)
      }
    }
    operations.setlk = { raw, id, info, lock, waits in
      guard let info, let lock else { return }
      Request.serve(raw, .setlk, id) { request, node throws(Errno) in
        try request.setLock(
          lock.pointee, owner: info.pointee.lock_owner, on: try FileHandle.required(info), waits: waits != 0)
      }
    }
    operations.flock = { raw, id, info, operation in
      guard let info else { return }
      Request.serve(raw, .flock, id) { request, node throws(Errno) in
        try request.setFlock(operation, owner: info.pointee.lock_owner, on: try FileHandle.required(info))
      }
    }
  }
}
