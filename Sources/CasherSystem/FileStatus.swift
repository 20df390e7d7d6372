import CLinux
import Glibc

/// What kind of thing a name stands for (inode(7), S_IFMT).
public enum FileType: UInt8, Sendable, Hashable {
  case regular = 1
  case directory, symlink, fifo, socket, characterDevice, blockDevice, unknown

  public init(mode: UInt32) {
    switch Int(mode) & Int(CASHER_S_IFMT) {
    case Int(CASHER_S_IFREG): self = .regular
    case Int(CASHER_S_IFDIR): self = .directory
    case Int(CASHER_S_IFLNK): self = .symlink
    case Int(CASHER_S_IFIFO): self = .fifo
    case Int(CASHER_S_IFSOCK): self = .socket
    case Int(CASHER_S_IFCHR): self = .characterDevice
    case Int(CASHER_S_IFBLK): self = .blockDevice
    default: self = .unknown
    }
  }

  /// From a directory entry's d_type (readdir(3)).
  public init(directoryEntryType: UInt8) { self.init(mode: UInt32(directoryEntryType) << 12) }

  /// The S_IFMT bits.
  public var modeBits: UInt32 {
    switch self {
    case .regular: UInt32(CASHER_S_IFREG)
    case .directory: UInt32(CASHER_S_IFDIR)
    case .symlink: UInt32(CASHER_S_IFLNK)
    case .fifo: UInt32(CASHER_S_IFIFO)
    case .socket: UInt32(CASHER_S_IFSOCK)
    case .characterDevice: UInt32(CASHER_S_IFCHR)
    case .blockDevice: UInt32(CASHER_S_IFBLK)
    case .unknown: 0
    }
  }
}

/// Which inode: unique on this machine while the inode lives.
public struct InodeKey: Hashable, Sendable {
  public let device: UInt64
  public let inode: UInt64

  @inlinable public init(device: UInt64, inode: UInt64) {
    self.device = device
    self.inode = inode
  }

  @inlinable public func hash(into hasher: inout Hasher) { hasher.combine(inode &+ device &<< 48) }
}

/// What stat(2) tells. Times are nanoseconds since 1970.
public struct FileStatus: Sendable {
  public var raw: stat

  public init(raw: stat) { self.raw = raw }
  public init() { raw = stat() }

  @inlinable public var key: InodeKey { InodeKey(device: UInt64(raw.st_dev), inode: UInt64(raw.st_ino)) }
  public var type: FileType { FileType(mode: raw.st_mode) }
  /// Permission, set-id and sticky bits: 07777.
  @inlinable public var permissions: UInt32 { raw.st_mode & 0o7777 }
  @inlinable public var owner: UInt32 { raw.st_uid }
  @inlinable public var group: UInt32 { raw.st_gid }
  @inlinable public var links: UInt64 { UInt64(raw.st_nlink) }
  /// Bytes.
  @inlinable public var size: Int64 { Int64(raw.st_size) }
  @inlinable public var modified: Int64 { FileStatus.nanoseconds(raw.st_mtim) }
  @inlinable public var changed: Int64 { FileStatus.nanoseconds(raw.st_ctim) }

  /// Whether it is a device that takes whatever is written and forgets it: /dev/null or /dev/zero (null(4)).
  public var forgetsAll: Bool {
    type == .characterDevice && raw.st_rdev >> 8 & 0xfff == 1 && (raw.st_rdev & 0xff == 3 || raw.st_rdev & 0xff == 5)
  }

  @inlinable public static func nanoseconds(_ time: timespec) -> Int64 {
    Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
  }

  /// Whether nothing that a change of content would move has moved.
  public func isSameGeneration(as other: FileStatus) -> Bool {
    key == other.key && size == other.size && modified == other.modified && changed == other.changed
  }
}
