import Glibc

/// The system calls that are traced, grouped by how their arguments stand. One list serves both ends: strace is started
/// with these names, and its lines are told apart by them.
enum TracedCall: UInt8 {
  case open, openat, openat2, create
  /// A path first; the last component is followed, or not.
  case lookUp, lookUpLink
  /// A directory and a path first, flags at the place that the name tells.
  case lookUpAt4, lookUpAt3, lookUpAt5, accessAt, accessAtFlags
  case readLink, readLinkAt
  case execute, executeAt
  case changeDirectory, changeDirectoryTo
  case list
  case makeDirectory, makeDirectoryAt, makeNode, makeNodeAt, symlink, symlinkAt, link, linkAt
  case rename, renameAt, renameAtFlags, remove, removeAt
  case truncate
  /// Attributes: of a path, a path not followed, a descriptor, a directory and a path.
  case setAttributes, setLinkAttributes, setDescriptorAttributes, setAttributesAt, setOwnerAt
  case setTimes, setTimesAt3, setTimesAt
  case clone, fork, unshare
  case connect, bind, send, sendMessage, accept
  case ioUring, openByHandle, trace
  case mount, mountTarget, changeRoot

  /// What strace calls them, on any machine and in any personality.
  static let names: [(StaticString, TracedCall)] = [
    ("open", .open), ("openat", .openat), ("openat2", .openat2), ("creat", .create),
    ("stat", .lookUp), ("stat64", .lookUp), ("oldstat", .lookUp), ("access", .lookUp), ("statfs", .lookUp),
    ("statfs64", .lookUp), ("getxattr", .lookUp), ("listxattr", .lookUp),
    ("lstat", .lookUpLink), ("lstat64", .lookUpLink), ("oldlstat", .lookUpLink), ("lgetxattr", .lookUpLink),
    ("llistxattr", .lookUpLink),
    ("newfstatat", .lookUpAt4), ("fstatat64", .lookUpAt4), ("statx", .lookUpAt3), ("name_to_handle_at", .lookUpAt5),
    ("faccessat", .accessAt), ("faccessat2", .accessAtFlags),
    ("readlink", .readLink), ("readlinkat", .readLinkAt),
    ("execve", .execute), ("execveat", .executeAt), ("chdir", .changeDirectory), ("fchdir", .changeDirectoryTo),
    ("getdents", .list), ("getdents64", .list),
    ("mkdir", .makeDirectory), ("mkdirat", .makeDirectoryAt), ("mknod", .makeNode), ("mknodat", .makeNodeAt),
    ("symlink", .symlink), ("symlinkat", .symlinkAt), ("link", .link), ("linkat", .linkAt),
    ("rename", .rename), ("renameat", .renameAt), ("renameat2", .renameAtFlags),
    ("unlink", .remove), ("rmdir", .remove), ("unlinkat", .removeAt), ("truncate", .truncate),
    ("truncate64", .truncate),
    ("chmod", .setAttributes), ("chown", .setAttributes), ("chown32", .setAttributes), ("setxattr", .setAttributes),
    ("removexattr", .setAttributes), ("lchown", .setLinkAttributes), ("lchown32", .setLinkAttributes),
    ("lsetxattr", .setLinkAttributes), ("lremovexattr", .setLinkAttributes), ("fchmod", .setDescriptorAttributes),
    ("fchown", .setDescriptorAttributes), ("fchown32", .setDescriptorAttributes),
    ("fsetxattr", .setDescriptorAttributes), ("fremovexattr", .setDescriptorAttributes),
    ("fchmodat", .setAttributesAt), ("fchownat", .setOwnerAt),
    ("utime", .setTimes), ("utimes", .setTimes), ("futimesat", .setTimesAt3), ("utimensat", .setTimesAt),
    ("utimensat_time64", .setTimesAt),
    ("clone", .clone), ("clone3", .clone), ("fork", .fork), ("vfork", .fork), ("unshare", .unshare),
    ("connect", .connect), ("bind", .bind), ("sendto", .send), ("sendmsg", .sendMessage), ("sendmmsg", .sendMessage),
    ("accept", .accept), ("accept4", .accept),
    ("io_uring_setup", .ioUring), ("open_by_handle_at", .openByHandle), ("ptrace", .trace),
    ("mount", .mount), ("umount", .mountTarget), ("umount2", .mountTarget), ("move_mount", .changeRoot),
    ("pivot_root", .changeRoot), ("chroot", .changeRoot), ("setns", .changeRoot),
  ]

  /// The calls whose structures are worth decoding; of all others strace prints the address alone, which is cheaper.
  static let decoded =
    "clone3,openat2,connect,bind,sendto,sendmsg,sendmmsg,accept,accept4,utime,utimes,futimesat,utimensat,"
    + "?utimensat_time64"
}

/// Finds a call by the bytes of its name.
struct CallNames: ~Copyable {
  private var slots = [UInt8](repeating: 0, count: 512)

  init() {
    for (index, entry) in TracedCall.names.enumerated() {
      var slot = CallNames.hash(UnsafeBufferPointer(start: entry.0.utf8Start, count: entry.0.utf8CodeUnitCount))
      while slots[slot] != 0 { slot = (slot + 1) & 511 }
      slots[slot] = UInt8(truncatingIfNeeded: index + 1)
    }
  }

  func call(_ name: UnsafeBufferPointer<UInt8>) -> TracedCall? {
    guard let base = name.baseAddress else { return nil }
    var slot = CallNames.hash(name)
    while slots[slot] != 0 {
      let entry = TracedCall.names[Int(slots[slot]) - 1]
      if entry.0.utf8CodeUnitCount == name.count, memcmp(entry.0.utf8Start, base, name.count) == 0 { return entry.1 }
      slot = (slot + 1) & 511
    }
    return nil
  }

  private static func hash(_ name: UnsafeBufferPointer<UInt8>) -> Int {
    var state: UInt32 = 2_166_136_261
    for byte in name { state = (state ^ UInt32(byte)) &* 16_777_619 }
    return Int((state ^ state >> 15) & 511)
  }
}
