import CasherSystem
import Glibc
import Synchronization

/// How inodes of lower are told apart, and which numbers they show.
///
/// A mounted directory is of one filesystem mostly, and mounts below it are passed through unseen. The whole root is of
/// many: a directory may be mounted at two places, which must be two inodes to the kernel, as a directory has one place;
/// and files of two filesystems may have one number, while a FUSE filesystem shows one device.
public final class Identities: Sendable {
  /// Whether the mount is part of an inode's identity.
  private let tellsMounts: Bool
  private let home: UInt64
  /// Numbers of the filesystems other than that of the root.
  private let filesystems = Mutex<[UInt64: UInt64]>([:])

  /// Inode numbers below this are shown as they are, with the filesystem's number above.
  private static let filesystemShift: UInt64 = 48

  /// Of one filesystem.
  init() {
    tellsMounts = false
    home = 0
  }

  /// Of many, the device of the root's being `home`.
  init(home: UInt64) {
    tellsMounts = true
    self.home = home
  }

  /// What lower has at a name, or with an empty name what the descriptor is open on, by its identity.
  func look(_ name: Request.CName, in directory: FileDescriptor) throws(Errno) -> (status: FileStatus, birth: Int64) {
    tellsMounts ? try directory.statusAndMount(of: name) : try directory.statusAndBirth(of: name)
  }

  // MARK: FIFOs

  /// Set in the inode number of a FIFO that is shown as a symlink to the real one.
  ///
  /// The kernel opens a FIFO by its inode without asking, and in a view that is another than on the machine: who writes
  /// there would never meet who reads here.
  public static let linkMark: UInt64 = 1 << 63

  /// A FIFO of the machine as the link that stands for it.
  func disguised(_ status: FileStatus) -> FileStatus {
    guard tellsMounts, status.type == .fifo else { return status }
    var status = status
    status.raw.st_mode = FileType.symlink.modeBits | 0o777
    status.raw.st_ino |= ino_t(Identities.linkMark)
    return status
  }

  /// Whether the inode is such a link.
  func isDisguised(_ key: InodeKey) -> Bool { tellsMounts && key.inode & Identities.linkMark != 0 }

  /// The FIFO's own identity.
  func real(_ key: InodeKey) -> InodeKey {
    isDisguised(key) ? InodeKey(device: key.device, inode: key.inode & ~Identities.linkMark) : key
  }

  // MARK: numbers

  /// The number that stat(2) shows of an inode.
  func shownNumber(of key: InodeKey) -> UInt64 {
    let key = real(key)
    let device = key.device & 0xffff_ffff
    guard tellsMounts, device != home else { return key.inode }
    let filesystem = filesystems.withLock { filesystems -> UInt64 in
      if let number = filesystems[device] { return number }
      let number = UInt64(filesystems.count + 1)
      filesystems[device] = number
      return number
    }
    return key.inode & (1 << Identities.filesystemShift - 1) | filesystem << Identities.filesystemShift
  }
}
