import CasherSystem

/// Who sends a request: the view it came through and the thread that waits for it.
public struct Actor: Sendable {
  public let view: View
  /// Thread id in the daemon's pid namespace; 0 when the kernel acts for itself (a release, writeback).
  public let thread: Int32
  public let user: UInt32
  public let group: UInt32

  public init(view: View, thread: Int32, user: UInt32, group: UInt32) {
    self.view = view
    self.thread = thread
    self.user = user
    self.group = group
  }
}

/// What comes to stand under a name.
public enum MadeKind: Sendable, Hashable {
  /// CREATE; `exclusive` with O_EXCL, `truncates` with O_TRUNC, `reads` unless write-only. `permissions` are those asked for, the umask already
  /// applied.
  case file(exclusive: Bool, truncates: Bool, reads: Bool, permissions: UInt32)
  case directory
  case symlink
  /// A further name of an inode that is already there.
  case link(of: InodeKey)
  /// A regular file made by mknod(2), a fifo, a socket or a device.
  case node(FileType)
}

/// How long the kernel may answer for a name by itself.
public enum NameLifetime: Int, Sendable, Comparable {
  /// Each use has to be seen; of a directory in a mount's view the first is enough.
  case use
  /// As long as names of the main view: further uses tell nothing new.
  case moment
  /// As long as the kernel likes.
  case ever

  public static func < (left: NameLifetime, right: NameLifetime) -> Bool { left.rawValue < right.rawValue }
}

/// What a rename does to the name that it renames to (rename(2)).
public enum RenameManner: Sendable, Hashable {
  /// Takes its place.
  case replacing
  /// Fails if there is one (RENAME_NOREPLACE).
  case new
  /// Gets its name (RENAME_EXCHANGE).
  case exchange
}

/// How a file is opened.
public struct OpenAccess: OptionSet, Sendable, Hashable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  public static let read = OpenAccess(rawValue: 1)
  public static let write = OpenAccess(rawValue: 2)
  public static let truncate = OpenAccess(rawValue: 4)
  public static let append = OpenAccess(rawValue: 8)
}

/// What setattr or the extended attributes' calls change.
public enum AttributeChange: Sendable, Hashable {
  case permissions
  case owner
  /// Length; 0 drops all content.
  case size(Int64)
  /// `modified`: an explicit modification time in nanoseconds, nil for "now" or for an access time alone.
  case times(modified: Int64?)
  case extended(name: FilePath)
}

/// What the overlay tells about every request, so that runs can be recorded. The overlay knows nothing of keys or runs.
///
/// Calls come from the threads that serve requests, concurrently. A `will…` is made before the operation takes effect
/// and may block (to digest what is about to change); its `did…` follows on success only. A call about a view that is
/// not recorded is made only for changes, because they may touch what a recorded view has seen.
public protocol Recorder: AnyObject, Sendable {
  /// Whether no run is in flight: then the overlay makes no calls at all.
  var isIdle: Bool { get }

  /// Whether runs without a view of their own are in flight: then the main view is recorded like one, and the kernel
  /// keeps no names of it.
  var observesMainView: Bool { get }

  /// LOOKUP. `found` is nil when there is nothing of that name. Returns how long the kernel may keep the name.
  func didLookUp(
    _ name: FilePath, in directory: Node, found: Node?, status: FileStatus?, by actor: Actor
  ) -> NameLifetime
  /// The first READDIR on an open directory.
  func didList(_ directory: Node, by actor: Actor)
  /// LISTXATTR, or GETXATTR of a name in the user namespace.
  func didReadAttributes(of node: Node, by actor: Actor)

  /// OPEN, with the flags as the kernel sent them. A failing open has a `will` only.
  func willOpen(_ node: Node, _ access: OpenAccess, by actor: Actor)
  func didOpen(_ node: Node, _ access: OpenAccess, by actor: Actor)

  func willMake(_ kind: MadeKind, _ name: FilePath, in directory: Node, by actor: Actor)
  func didMake(_ kind: MadeKind, _ name: FilePath, in directory: Node, node: Node, status: FileStatus, by actor: Actor)

  func willRemove(_ name: FilePath, in directory: Node, isDirectory: Bool, by actor: Actor)
  func didRemove(_ name: FilePath, in directory: Node, isDirectory: Bool, by actor: Actor)

  func willRename(
    _ name: FilePath, in directory: Node, to newName: FilePath, in newDirectory: Node, _ manner: RenameManner,
    by actor: Actor)
  func didRename(
    _ name: FilePath, in directory: Node, to newName: FilePath, in newDirectory: Node, _ manner: RenameManner,
    by actor: Actor)

  func willSetAttributes(of node: Node, _ change: AttributeChange, by actor: Actor)
  func didSetAttributes(of node: Node, _ change: AttributeChange, by actor: Actor)

  /// The value of the extended attribute `security.casher` of `directory` (see `ProtocolVersion.attribute`).
  func mountAnswer(for directory: Node) -> [UInt8]
}
