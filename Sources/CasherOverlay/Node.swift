import CasherSystem
import Synchronization

/// An inode as one view shows it: what the kernel knows by a node id.
public final class Node: Sendable {
  private struct Place {
    var parent: Node?
    var name: FilePath
  }

  public let view: View
  public let inode: Inode
  let type: FileType
  /// Lookups that the kernel has not forgotten; changed under the lock of the view's table.
  nonisolated(unsafe) var lookups: UInt64 = 0
  private let place: Mutex<Place>
  private let table: InodeTable

  /// Takes over one hold of the inode in `table`.
  init(view: View, inode: Inode, type: FileType, parent: Node?, name: FilePath, table: InodeTable) {
    self.view = view
    self.inode = inode
    self.type = type
    self.table = table
    place = Mutex(Place(parent: parent, name: name))
  }

  deinit { table.release(inode) }

  public var isDirectory: Bool { type == .directory }

  /// The directory that the views' roots are in. Each view has one of its own: a directory has one place in the kernel,
  /// and views are entered from within views.
  var isViewsDirectory: Bool { self === view.viewsNode }

  /// The directory it was last looked up in; nil for a view's root.
  public var parent: Node? { place.withLock { $0.parent } }

  /// The name it was last looked up by.
  public var name: FilePath { place.withLock { $0.name } }

  /// The path relative to the mount's root; empty for the root.
  public var path: FilePath {
    var names: [FilePath] = []
    var count = 0
    var node: Node? = self
    while let current = node {
      let (parent, name) = current.place.withLock { ($0.parent, $0.name) }
      if parent != nil {
        names.append(name)
        count += name.bytes.count + 1
      }
      node = parent
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    for name in names.reversed() {
      if !bytes.isEmpty { bytes.append(UInt8(ascii: "/")) }
      bytes.append(contentsOf: name.bytes)
    }
    return FilePath(bytes)
  }

  func located(_ parent: Node, _ name: FilePath) {
    let former = place.withLock { place -> Node? in
      if place.parent === parent && place.name == name { return nil }
      defer { place = Place(parent: parent, name: name) }
      return place.parent
    }
    _ = former  // let go outside the lock: it may be the last to hold a chain of nodes
    inode.located(parent.inode, name)
  }

  /// The node id that the kernel knows it by: its address, or the fixed id of the main view's root.
  var id: UInt64 {
    if view.isMain, self === view.root { return 1 }
    return UInt64(UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque()))
  }
}

/// A root of the tree with node ids of its own.
public final class View: Sendable {
  private struct Table {
    var nodes: [InodeKey: Node] = [:]
    /// Nodes whose inode number may stand for another file now; the kernel may still use them.
    var replaced: [ObjectIdentifier: Node] = [:]
  }

  private struct Writers {
    var handles: [ObjectIdentifier: Node] = [:]
  }

  /// Its name below the views' directory; empty for the main view.
  public let token: FilePath
  /// What the owner of the view has attached to it.
  public let attachment: (any AnyObject & Sendable)?
  private let table = Mutex(Table())
  private let writers = Monitor(Writers())
  private struct Fixed {
    var root: Node?
    var viewsDirectory: Node?
  }
  private let fixed = Mutex(Fixed())

  init(token: FilePath, attachment: (any AnyObject & Sendable)?) {
    self.token = token
    self.attachment = attachment
  }

  public var isMain: Bool { token.isEmpty }
  public var isRecorded: Bool { attachment != nil }

  var root: Node? { fixed.withLock { $0.root } }
  var viewsNode: Node? { fixed.withLock { $0.viewsDirectory } }

  /// Makes the root and the views' directory in it. The root's inode is never released.
  func setUp(_ inode: Inode, _ viewsDirectory: FilePath, _ inodes: InodeTable) {
    let root = Node(view: self, inode: inode, type: .directory, parent: nil, name: FilePath([]), table: inodes)
    let views = Node(view: self, inode: inode, type: .directory, parent: nil, name: viewsDirectory, table: inodes)
    inode.state.withLock { $0.nodes += 2 }
    fixed.withLock { $0 = Fixed(root: root, viewsDirectory: views) }
  }

  /// Lets go of what refers back to the view. Only when it is forgotten.
  func tearDown() { fixed.withLock { $0 = Fixed() } }

  /// One lookup more of the root or of the views' directory.
  func lookedUp(_ node: Node) { table.withLock { _ in node.lookups += 1 } }

  /// Whether the kernel knows nothing of this view any more.
  var isForgotten: Bool {
    let (root, views) = fixed.withLock { ($0.root, $0.viewsDirectory) }
    return table.withLock { table in
      table.nodes.isEmpty && table.replaced.isEmpty && root?.lookups ?? 0 == 0 && views?.lookups ?? 0 == 0
    }
  }

  var nodeCount: Int { table.withLock { $0.nodes.count } }

  /// The node of a held inode, one lookup more; made when there is none. Takes the hold over.
  func enter(_ inode: Inode, type: FileType, parent: Node, name: FilePath, in inodes: InodeTable) -> Node {
    let (node, isNew) = table.withLock { table -> (Node, Bool) in
      if let node = table.nodes[inode.key], node.inode === inode, node.type == type {
        node.lookups += 1
        return (node, false)
      }
      let node = Node(view: self, inode: inode, type: type, parent: parent, name: name, table: inodes)
      node.lookups = 1
      // One that stood for a former file of this inode number lives on until the kernel forgets it.
      if let former = table.nodes.updateValue(node, forKey: inode.key) {
        table.replaced[ObjectIdentifier(former)] = former
      }
      return (node, true)
    }
    if isNew {
      inode.located(parent.inode, name)
    } else {
      node.located(parent, name)
      inodes.release(inode)
    }
    return node
  }

  /// The inode has no name any more; its node lives on until the kernel forgets it.
  func retire(_ inode: Inode) {
    table.withLock { table in
      guard let node = table.nodes[inode.key], node.inode === inode else { return }
      table.nodes[inode.key] = nil
      table.replaced[ObjectIdentifier(node)] = node
    }
  }

  /// The kernel forgets this many lookups of a node.
  func forget(_ node: Node, _ count: UInt64) {
    let dead = table.withLock { table -> Node? in
      node.lookups -= min(count, node.lookups)
      guard node.lookups == 0 else { return nil }
      if table.nodes[node.inode.key] === node { return table.nodes.removeValue(forKey: node.inode.key) }
      return table.replaced.removeValue(forKey: ObjectIdentifier(node))
    }
    _ = dead
  }

  func node(of key: InodeKey) -> Node? {
    if let root, root.inode.key == key { return root }
    return table.withLock { $0.nodes[key] }
  }

  // MARK: writable handles

  func opened(_ handle: ObjectIdentifier, writing node: Node) { writers.withLock { $0.handles[handle] = node } }

  func released(_ handle: ObjectIdentifier) { writers.update { $0.handles[handle] = nil } }

  func waitForWriters(timeout: Int64) -> Bool {
    writers.wait(timeout: timeout) { $0.handles.isEmpty ? true : nil } ?? false
  }

  var pathsOpenForWriting: [FilePath] { writers.withLock { $0.handles.values.map(\.path) }.sorted() }
}
