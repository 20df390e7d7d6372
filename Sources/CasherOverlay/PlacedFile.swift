import CasherSystem
import Glibc

/// Where the content of placed files comes from. The overlay knows a blob by its digest alone.
public protocol BlobSource: Sendable {
  /// A descriptor to read the content from, which the caller closes; it stays readable whatever happens to the blob.
  func open(_ blob: Digest) throws(Errno) -> FileDescriptor

  /// Whether the blob is there, as far as looking at it tells.
  func has(_ blob: Digest) -> Bool

  /// A file of lower that nobody was about to change holds the blob's content; its status as lower tells it.
  func didWrite(_ blob: Digest, as status: FileStatus)

  /// Nothing of this run is placed any more; its blobs need not be kept for the mount's sake.
  func didRelease(run: Digest)
}

/// A file that stands in the tree and is only a blob so far: nothing of it is in lower. Never changes; a file whose time
/// or name changes is another value with the same number.
public final class PlacedFile: Sendable {
  /// The inode number that stat(2) shows, also when the file has become an ordinary one.
  public let number: UInt64
  public let blob: Digest
  /// Bytes.
  public let size: Int64
  /// Permission and set-id bits.
  public let permissions: UInt32
  public let user: UInt32
  public let group: UInt32
  /// Nanoseconds since 1970, of the content and of the status.
  public let modified: Int64
  public let changed: Int64
  /// Extended attributes of the user namespace.
  public let attributes: [Attribute]
  /// The run that made it.
  public let run: Digest
  /// 0 once its name has been taken away.
  let links: UInt

  public struct Attribute: Sendable, Hashable {
    public let name: FilePath
    public let value: [UInt8]

    public init(name: FilePath, value: [UInt8]) {
      self.name = name
      self.value = value
    }
  }

  public init(
    number: UInt64 = PlacedFile.newNumber(), blob: Digest, size: Int64, permissions: UInt32, user: UInt32,
    group: UInt32, modified: Int64, changed: Int64, attributes: [Attribute], run: Digest
  ) {
    self.number = number
    self.blob = blob
    self.size = size
    self.permissions = permissions & 0o7777
    self.user = user
    self.group = group
    self.modified = modified
    self.changed = changed
    self.attributes = attributes
    self.run = run
    links = 1
  }

  private init(_ other: PlacedFile, modified: Int64, changed: Int64, links: UInt) {
    number = other.number
    blob = other.blob
    size = other.size
    permissions = other.permissions
    user = other.user
    group = other.group
    self.modified = modified
    self.changed = changed
    attributes = other.attributes
    run = other.run
    self.links = links
  }

  /// The same file with other times.
  public func with(modified: Int64? = nil, changed: Int64) -> PlacedFile {
    PlacedFile(self, modified: modified ?? self.modified, changed: changed, links: links)
  }

  /// The same file without a name.
  func unlinked(at time: Int64) -> PlacedFile { PlacedFile(self, modified: modified, changed: time, links: 0) }

  /// Whether everything but number, run and times is the same.
  public func isSame(as other: PlacedFile) -> Bool {
    blob == other.blob && size == other.size && permissions == other.permissions && user == other.user
      && group == other.group && attributes == other.attributes
  }

  public var key: InodeKey { PlacedFile.key(of: number) }

  /// What stat(2) tells. Blocks are counted as those of a file without holes: tar(1) and cp(1) take a file with too few
  /// for a sparse one.
  public var status: FileStatus {
    var status = FileStatus()
    status.raw.st_mode = FileType.regular.modeBits | permissions
    status.raw.st_nlink = nlink_t(links)
    status.raw.st_uid = user
    status.raw.st_gid = group
    status.raw.st_size = off_t(size)
    status.raw.st_blksize = 4096
    status.raw.st_blocks = blkcnt_t((size &+ 4095) / 4096 &* 8)
    status.raw.st_mtim = PlacedFile.time(modified)
    status.raw.st_atim = status.raw.st_mtim
    status.raw.st_ctim = PlacedFile.time(changed)
    status.identify(as: key)
    return status
  }

  static func time(_ nanoseconds: Int64) -> timespec {
    var (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    if rest < 0 { (seconds, rest) = (seconds - 1, rest + 1_000_000_000) }
    return timespec(tv_sec: Int(seconds), tv_nsec: Int(rest))
  }

  // MARK: numbers

  /// Stands for lower's device in the keys of files that are or were placed.
  static let device = UInt64.max - 1

  public static func key(of number: UInt64) -> InodeKey { InodeKey(device: device, inode: number) }

  private static let numbers = NumberSource()

  /// A number that no file of lower has, nor any placed file of this or another process: those of one process begin at
  /// a place chosen by chance.
  public static func newNumber() -> UInt64 { numbers.next() }
}

extension InodeKey {
  /// Whether the file is or was placed: then its number is not lower's.
  public var isPlaced: Bool { device == PlacedFile.device }
}

extension FileStatus {
  /// Gives the status another identity.
  mutating func identify(as key: InodeKey) {
    raw.st_dev = dev_t(key.device)
    raw.st_ino = ino_t(key.inode)
  }

  /// Takes over what is told of the content.
  mutating func takeContent(from other: FileStatus) {
    raw.st_size = other.raw.st_size
    raw.st_blocks = other.raw.st_blocks
    raw.st_mtim = other.raw.st_mtim
  }
}

/// A directory of lower, whatever its name is.
public struct DirectoryKey: Hashable, Sendable {
  public let key: InodeKey
  /// Low bits of the birth time, as `Inode` has them.
  let birth: UInt32

  init(key: InodeKey, birth: UInt32) {
    self.key = key
    self.birth = birth
  }

  /// Of what a descriptor is open on, which may be O_PATH.
  public init(of descriptor: FileDescriptor) throws(Errno) {
    let found = try descriptor.statusAndBirth(of: "")
    self.init(key: found.status.key, birth: Inode.birthBits(found.birth))
  }
}
