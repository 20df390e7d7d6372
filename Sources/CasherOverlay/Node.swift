import CasherSystem

/// What the kernel knows under one FUSE node id: an inode as seen through one view.
public final class Node: @unchecked Sendable {  // mutable fields: under the lock of the table's shard of `inode`
  public let view: View
  public let inode: Inode

  /// Lookups that the kernel has not forgotten yet.
  var lookups: UInt64 = 0
  /// The inode's next node, of another view.
  var next: Unmanaged<Node>?
  /// Where it was last looked up; of a directory the inode itself knows.
  var place: Place?

  init(view: View, inode: Inode) {
    self.view = view
    self.inode = inode
  }

  deinit { place?.name.free() }

  public var isDirectory: Bool { inode.isDirectory }
  var isRoot: Bool { inode.role == .root }

  /// The directory it was last looked up in, in the same view; nil for the view's root.
  public var parent: Node? { inode.table.parent(of: self) }

  /// The name it was last looked up by; empty for the view's root.
  public var name: FilePath { inode.table.name(of: self) }

  /// The path below the mount's root; empty for the root. Of a file with several names, one of them.
  public var path: FilePath { inode.table.path(of: self) }
}
