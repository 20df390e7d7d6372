import CLinux
import Glibc

/// Mounts that no path leads to; a descriptor of the root keeps one.
public enum DetachedMount {
  /// A FUSE filesystem served through `device`, an open /dev/fuse. The corresponding C functions are `fsopen`, `fsconfig`
  /// and `fsmount`.
  public static func fuse(device: FileDescriptor) throws(Errno) -> FileDescriptor {
    FileDescriptor(
      rawValue: try check("fsmount") { casher_mount_fuse_detached(device.rawValue, geteuid(), getegid()) })
  }
}

extension FileDescriptor {
  /// A mount of its own of the directory at a path below this one. The corresponding C function is `open_tree`.
  public func cloneTree(_ path: FilePath) throws(Errno) -> FileDescriptor {
    try path.withCString { path throws(Errno) in
      FileDescriptor(rawValue: try check("open_tree") { casher_clone_tree(rawValue, path, 0) })
    }
  }
}
