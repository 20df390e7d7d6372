import CasherSystem
import Glibc

/// One inode of lower, shared by all views.
///
/// Lower is reached through an O_PATH descriptor that the pool may close at any time while nobody uses it; then it is
/// opened again by a name at which the inode was last seen, and checked to be the same inode.
public final class Inode: @unchecked Sendable {  // mutable fields: under the table's shard lock, or the pool's (below)
  /// Lower's device and inode number; of a file that is or was placed, its own (`InodeKey.isPlaced`).
  public let key: InodeKey
  let table: InodeTable
  let type: FileType
  /// Root and the views' directory are never reached by name, and their descriptor is not the pool's.
  let role: Role

  enum Role: UInt8 { case ordinary, root, viewsDirectory }

  // Under the lock of the table's shard.
  /// Low bits of the birth time: tells an inode from a later one that was given the same number. Changes only when a
  /// placed file becomes an ordinary one.
  var birth: UInt32
  /// What holds the content, where `key.isPlaced`; nil for every other inode.
  var backing: Backing?
  /// How often the backing has changed under open files; of a directory, how often names in it have.
  var epoch: UInt32 = 0
  var next: Unmanaged<Inode>?
  var firstNode: Unmanaged<Node>?
  /// Of a directory alone, which has one name; other inodes' names are their nodes'.
  var place: Place?
  /// Nodes, open handles and places that need this inode to be found in the table.
  var pins: Int32 = 0
  var openHandles: Int32 = 0
  var openWriters: Int32 = 0
  /// Of a file that is or was placed, the handles that the daemon serves although the kernel could (`FileHandle.isServed`).
  /// While there is one, all that are opened are: the kernel allows no mixture.
  var openServed: Int32 = 0
  /// Handles through which the kernel alone may write by a mapping: nothing tells when size and times change.
  var openMappers: Int32 = 0
  var isListed = false

  // Under the pool's lock.
  var slot: Int32 = -1
  var ticket: UInt32 = 0
  /// How often `DescriptorPool.hold` keeps the descriptor open: open files, and an inode without a name.
  var isOrphan = false

  /// What holds the content of a file that is or was placed.
  enum Backing {
    case placed(PlacedFile)
    /// It has become an ordinary file.
    case lower(LowerFile)
    /// It became an ordinary file while this inode was open: what is open keeps the blob, and all else is about another
    /// inode, which has the same key.
    case successor(Successor)

    var isPlaced: Bool {
      if case .placed = self { return true }
      return false
    }
  }

  /// The inode that took another's place.
  final class Successor {
    let inode: Inode
    /// What is read through the old one still.
    let file: PlacedFile

    init(_ inode: Inode, of file: PlacedFile) {
      self.inode = inode
      self.file = file
    }
  }

  /// A file's identity in lower.
  final class LowerFile: Sendable {
    let key: InodeKey
    init(_ key: InodeKey) { self.key = key }
  }

  init(
    key: InodeKey, birth: UInt32, type: FileType, role: Role = .ordinary, backing: Backing? = nil, table: InodeTable
  ) {
    self.backing = backing
    self.key = key
    self.birth = birth
    self.type = type
    self.role = role
    self.table = table
  }

  deinit {
    if slot >= 0 { table.pool.discard(slot: slot, ticket: ticket) }
    place?.name.free()
  }

  public var isDirectory: Bool { type == .directory }

  /// How many handles are open for writing, in all views; each counts until its RELEASE, after the last close and
  /// munmap.
  public var writableHandles: Int {
    table.withLock(of: key) {
      if case .successor(let other)? = backing { return Int(openWriters + other.inode.openWriters) }
      return Int(openWriters)
    }
  }

  /// How often names in the directory have changed, by whomever; counts from when the inode was looked up first.
  var nameChanges: UInt32 { table.withLock(of: key) { epoch } }

  /// To be called after each change and before anyone is told that it has been made.
  func didChangeNames() { table.withLock(of: key) { epoch &+= 1 } }

  /// The directory's identity.
  var directoryKey: DirectoryKey { DirectoryKey(key: key, birth: birth) }

  /// The inode that requests are about: this one, or the one that took its place.
  var current: Inode {
    guard key.isPlaced else { return self }
    return table.withLock(of: key) {
      if case .successor(let other)? = backing { return other.inode }
      return self
    }
  }

  /// The placed file that is read through this inode while another has taken its place.
  private var formerFile: PlacedFile? {
    table.withLock(of: key) {
      if case .successor(let other)? = backing { return other.file }
      return nil
    }
  }

  /// The placed file that this still is.
  var placedFile: PlacedFile? {
    guard key.isPlaced else { return nil }
    return table.withLock(of: key) {
      if case .placed(let file)? = backing { return file }
      return nil
    }
  }

  /// Whether the kernel must not keep attributes, because they change without its knowledge: by a mapping of lower's own
  /// pages, or through another view.
  var hasUnsettledAttributes: Bool {
    guard !isDirectory else { return false }
    return table.withLock(of: key) {
      if case .successor? = backing { return true }
      return openMappers > 0 || openWriters > 0 && firstNode?.takeUnretainedValue().next != nil
    }
  }

  /// Calls `body` with an O_PATH descriptor of lower that is valid for the call. Throws ESTALE when the inode is no
  /// longer where it was last seen, and for a placed file, of which lower has nothing.
  public func withDescriptor<Result>(
    _ body: (FileDescriptor) throws(Errno) -> Result
  ) throws(Errno) -> Result {
    if placedFile != nil { throw .stale }
    let descriptor = try table.pool.acquire(self)
    defer { table.pool.release(self) }
    return try body(descriptor)
  }

  /// A descriptor of lower, or of a placed file's blob, open for reading, which the caller closes.
  public func openForReading() throws(Errno) -> FileDescriptor {
    let inode = current
    if let file = inode.placedFile { return try table.open(file) }
    return try inode.withDescriptor { descriptor throws(Errno) in try descriptor.openAgain(O_RDONLY | O_NONBLOCK) }
  }

  /// What lower, or a placed file, tells of the inode now.
  public func status() throws(Errno) -> FileStatus {
    guard key.isPlaced else {
      return try withDescriptor { descriptor throws(Errno) in try descriptor.status() }
    }
    while true {
      let inode = current
      if let file = inode.placedFile { return file.status }
      do throws(Errno) {
        var status = try inode.withDescriptor { descriptor throws(Errno) in try descriptor.status() }
        status.identify(as: key)
        // Who reads the blob still is told its size, or would look for what it does not have.
        if inode !== self, let file = formerFile { status.takeContent(from: file.status) }
        return status
      } catch {
        // It may have been replaced between the two.
        guard error == .stale, inode !== current else { throw error }
      }
    }
  }

  static func birthBits(_ nanoseconds: Int64) -> UInt32 {
    UInt32(truncatingIfNeeded: nanoseconds) ^ UInt32(truncatingIfNeeded: nanoseconds >> 32)
  }
}
