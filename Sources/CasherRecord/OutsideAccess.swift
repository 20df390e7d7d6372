import CasherSystem

/// What was done with one path outside the mount, as a tracer of system calls tells.
public struct OutsideAccess: Hashable, Sendable {
  public struct Kinds: OptionSet, Hashable, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Opened for reading.
    public static let read = Kinds(rawValue: 1 << 0)
    public static let executed = Kinds(rawValue: 1 << 1)
    /// Its names were read (getdents64).
    public static let listed = Kinds(rawValue: 1 << 2)
    /// Its status was asked for and it was there (stat, access, chdir, or an open that failed for another reason).
    public static let lookedUp = Kinds(rawValue: 1 << 3)
    /// It was asked for and was not there (ENOENT, ENOTDIR).
    public static let missing = Kinds(rawValue: 1 << 4)
    public static let linkRead = Kinds(rawValue: 1 << 5)
    /// Opened for writing without truncating it, or truncated to a length (truncate).
    public static let updated = Kinds(rawValue: 1 << 6)
    /// Opened with O_TRUNC; `created` beside it when O_CREAT was given.
    public static let truncated = Kinds(rawValue: 1 << 7)
    /// Opened with O_CREAT, O_EXCL beside it or not.
    public static let created = Kinds(rawValue: 1 << 8)
    /// Made so that it must not have been there: O_EXCL, mkdir, symlink, link, mknod.
    public static let madeNew = Kinds(rawValue: 1 << 9)
    public static let removed = Kinds(rawValue: 1 << 10)
    public static let renamedAway = Kinds(rawValue: 1 << 11)
    /// Something was renamed onto it.
    public static let replaced = Kinds(rawValue: 1 << 12)
    /// Mode, owner, times or extended attributes were set.
    public static let attributesSet = Kinds(rawValue: 1 << 13)
    /// The last component was not followed when it is a symlink (O_NOFOLLOW, lstat, AT_SYMLINK_NOFOLLOW, unlink, ...).
    public static let notFollowed = Kinds(rawValue: 1 << 14)
    /// The command set the modification time to a given time, and wrote no more after that.
    public static let timeSet = Kinds(rawValue: 1 << 15)
  }

  /// What stood at the path whenever the command looked there, before it changed it: the entry itself, not what it leads to.
  public enum Identity: Hashable, Sendable {
    /// Nothing, or it is not known what: a tracer tells names only.
    case unknown
    case one(Inode)
    /// One inode at first, and another later.
    case several

    /// What does not change while it stands where it is, but by a change that counts.
    public struct Inode: Hashable, Sendable {
      let key: InodeKey
      let permissions: UInt32
      let owner: Owner

      /// `status` as a view of the whole root shows it: mounts, and FIFOs, are told apart there by bits of the key.
      public init(_ status: FileStatus, markedBy mark: UInt64) {
        key = InodeKey(device: status.key.device & 0xffff_ffff, inode: status.key.inode & ~mark)
        // A FIFO is shown as a symlink, and of a symlink the time tells.
        let isPlain = status.type != .symlink && status.type != .fifo
        permissions = isPlain ? status.permissions : 0
        owner = isPlain ? Owner(user: status.owner, group: status.group) : Owner(user: 0, group: 0)
      }
    }

    public func joined(with other: Identity) -> Identity {
      switch (self, other) {
      case (.unknown, let known), (let known, .unknown): known
      default: self == other ? self : .several
      }
    }
  }

  /// Absolute; `.` and empty components left out, `..` and symlinks still in it.
  public var path: FilePath
  /// What was done before the command first changed this path itself.
  public var observed: Kinds
  /// What the command itself changed.
  public var produced: Kinds
  /// Known to the daemon only: it is not encoded.
  public var identity = Identity.unknown

  public init(path: FilePath, observed: Kinds = [], produced: Kinds = []) {
    self.path = path
    self.observed = observed
    self.produced = produced
  }
}

extension OutsideAccess: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(path)
    encoder.put(observed.rawValue)
    encoder.put(produced.rawValue)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init(
      path: try decoder.path(), observed: Kinds(rawValue: try decoder.uint32()),
      produced: Kinds(rawValue: try decoder.uint32()))
  }
}
