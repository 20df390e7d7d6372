import CasherSystem
import Synchronization

/// Every inode that the kernel knows through some view, by device and number, and through it every node.
///
/// The table does not own inodes. An inode is listed while it is pinned: by a node that the kernel has not forgotten,
/// by an open handle, or as the directory that a listed inode was seen in. Whoever pins it holds a reference, and gives
/// the pin back before the reference. No two shards are ever locked at once.
final class InodeTable: Sendable {
  /// O_PATH on lower's root.
  let root: FileDescriptor
  let pool: DescriptorPool
  /// Where the content of placed files is.
  let blobs: (any BlobSource)?
  /// How inodes of lower are told apart.
  let identities: Identities
  /// Grows after each rename, before the places are changed: a lookup that began before has to be made again.
  let renames = Atomic<UInt64>(0)
  private let shards: [Shard]
  private let nodeCount = Atomic<Int>(0)
  private let inodeCount = Atomic<Int>(0)
  private let writerCount = Atomic<Int>(0)
  /// Handles that read a placed file through the daemon, each with the blob open, by the file's number.
  private let blobReaders = Mutex<[UInt64: [FileHandle]]>([:])
  /// Nodes forgotten since memory was last given back.
  private let forgottenCount = Atomic<Int>(0)
  private static let shardCount = 64
  /// Nodes that are forgotten before memory is given back; together they take some 5 MB.
  private static let manyForgotten = 20_000

  private final class Shard: @unchecked Sendable {  // `buckets` is only touched under `lock`
    let lock = Lock()
    var buckets = Buckets()
  }

  init(
    root: FileDescriptor, pool: DescriptorPool, blobs: (any BlobSource)? = nil, identities: Identities = Identities()
  ) {
    self.identities = identities
    self.root = root
    self.pool = pool
    self.blobs = blobs
    shards = (0..<InodeTable.shardCount).map { _ in Shard() }
  }

  var liveNodes: Int { nodeCount.load(ordering: .relaxed) }
  var liveInodes: Int { inodeCount.load(ordering: .relaxed) }
  /// Handles that are open for writing, of all inodes.
  var openWriters: Int { writerCount.load(ordering: .sequentiallyConsistent) }

  // MARK: locking

  private func shard(of key: InodeKey) -> Shard {
    shards[Int(truncatingIfNeeded: (key.inode ^ key.device &* 31) & UInt64(InodeTable.shardCount - 1))]
  }

  /// Calls `body` under the lock of the key's shard.
  func withLock<Result>(of key: InodeKey, _ body: () -> Result) -> Result {
    withBuckets(of: key) { _ in body() }
  }

  func withBuckets<Result>(of key: InodeKey, _ body: (inout Buckets) -> Result) -> Result {
    let shard = shard(of: key)
    shard.lock.lock()
    defer { shard.lock.unlock() }
    return body(&shard.buckets)
  }

  /// Puts an inode on the list, under the lock.
  func list(_ inode: Inode, _ buckets: inout Buckets) {
    buckets.insert(inode)
    inodeCount.add(1, ordering: .relaxed)
  }

  /// Takes an inode off the list, under the lock; whoever has it keeps it.
  func unlist(_ inode: Inode, _ buckets: inout Buckets) {
    buckets.remove(inode)
    inodeCount.subtract(1, ordering: .relaxed)
  }

  // MARK: finding

  /// The listed inode of this key.
  func inode(for key: InodeKey) -> Inode? { withBuckets(of: key) { $0.find(key) } }

  /// The nodes that the kernel has for the inode, of all views but one.
  func nodes(of inode: Inode, except view: View?) -> [Node] {
    withLock(of: inode.key) {
      var result: [Node] = []
      var next = inode.firstNode
      while let node = next?.takeUnretainedValue() {
        if node.view !== view { result.append(node) }
        next = node.next
      }
      return result
    }
  }

  private func node(of inode: Inode, in view: View) -> Node? {
    var next = inode.firstNode
    while let node = next?.takeUnretainedValue() {
      if node.view === view { return node }
      next = node.next
    }
    return nil
  }

  /// Lists an inode that stays for ever.
  func addPermanent(_ inode: Inode) {
    withBuckets(of: inode.key) { buckets in
      inode.pins += 1
      buckets.insert(inode)
    }
    inodeCount.add(1, ordering: .relaxed)
  }

  // MARK: looking up and forgetting

  /// The node for what was found at a name, with one lookup more; nil when the name must be looked up again because
  /// something was renamed since `renames` was read as `generation`.
  func intern(
    _ found: FoundFile, view: View, at name: UnsafePointer<CChar>, in directory: Inode, generation: UInt64
  ) -> Node? {
    let key = found.status.key
    let found = Found(
      key: key, birth: Inode.birthBits(found.birth), type: found.status.type, backing: found.backing, view: view,
      name: name, directory: directory)
    if let node = withBuckets(of: key, { revisit(found, &$0) }) { return node }
    // A new node or a new place: the directory is pinned first, in a shard of its own.
    pin(directory)
    let place = Place(directory: directory, name: EntryName(copying: name))
    var replaced: Place?
    var unused: Place? = place
    let node: Node? = withBuckets(of: key) { buckets in
      if let node = revisit(found, &buckets) { return node }
      if renames.load(ordering: .sequentiallyConsistent) != generation { return nil }
      return visit(found, place, &buckets, replaced: &replaced, unused: &unused)
    }
    if let replaced { drop(replaced) }
    if let unused { drop(unused) }
    return node
  }

  private struct Found {
    let key: InodeKey
    let birth: UInt32
    let type: FileType
    let backing: Inode.Backing?
    let view: View
    let name: UnsafePointer<CChar>
    let directory: Inode

    func isSame(as inode: Inode) -> Bool {
      inode.birth == birth && inode.type == type
        && (backing == nil || inode.backing?.isPlaced == backing?.isPlaced)
    }
  }

  /// The view's node when it is there already and at the same place.
  private func revisit(_ found: Found, _ buckets: inout Buckets) -> Node? {
    guard let inode = buckets.find(found.key), found.isSame(as: inode), let node = node(of: inode, in: found.view)
    else { return nil }
    let place = inode.isDirectory ? inode.place : node.place
    if inode.role == .ordinary {
      guard let place, place.isAt(found.name, in: found.directory) else { return nil }
    }
    node.lookups &+= 1
    return node
  }

  private func visit(
    _ found: Found, _ place: Place, _ buckets: inout Buckets, replaced: inout Place?, unused: inout Place?
  ) -> Node {
    var listed = buckets.find(found.key)
    if let stranger = listed, !found.isSame(as: stranger) {
      // The number was given to another inode while the old one's descriptor was closed: its nodes stay, unlisted.
      unlist(stranger, &buckets)
      listed = nil
    }
    let inode: Inode
    if let listed {
      inode = listed
    } else {
      inode = Inode(key: found.key, birth: found.birth, type: found.type, backing: found.backing, table: self)
      list(inode, &buckets)
    }
    let node: Node
    if let present = self.node(of: inode, in: found.view) {
      node = present
    } else {
      node = Node(view: found.view, inode: inode)
      node.next = inode.firstNode
      inode.firstNode = Unmanaged.passRetained(node)  // released by `forget`
      inode.pins += 1
      nodeCount.add(1, ordering: .relaxed)
    }
    node.lookups &+= 1
    if inode.role == .ordinary {
      if inode.isDirectory {
        if inode.place?.isAt(found.name, in: found.directory) != true {
          replaced = inode.place
          inode.place = place
          unused = nil
        }
      } else {
        replaced = node.place
        node.place = place
        unused = nil
      }
    }
    return node
  }

  /// The node of a special inode (root, the views' directory) in a view, with one lookup more.
  func special(_ inode: Inode, in view: View) -> Node {
    withLock(of: inode.key) {
      if let node = node(of: inode, in: view) {
        node.lookups &+= 1
        return node
      }
      let node = Node(view: view, inode: inode)
      node.lookups = 1
      node.next = inode.firstNode
      inode.firstNode = Unmanaged.passRetained(node)  // released by `forget`
      inode.pins += 1
      nodeCount.add(1, ordering: .relaxed)
      return node
    }
  }

  /// The kernel has dropped `count` of its references to the node.
  func forget(_ node: Node, _ count: UInt64) {
    let inode = node.inode
    var ended: Unmanaged<Node>?
    var left: Place?
    var placeOfNode: Place?
    withBuckets(of: inode.key) { buckets in
      node.lookups -= min(count, node.lookups)
      guard node.lookups == 0, let held = unlink(node, from: inode) else { return }
      ended = held
      placeOfNode = node.place
      nodeCount.subtract(1, ordering: .relaxed)
      left = unpinned(inode, &buckets)
    }
    guard let ended else { return }
    // The node keeps its place, for whoever still holds it, but no pin.
    if let placeOfNode { unpin(placeOfNode.directory) }
    if let left { unpin(left.directory) }
    ended.release()
    giveBackMemory()
  }

  /// When half of what there was has been forgotten: so the work is in proportion to what was forgotten, whatever stays.
  private func giveBackMemory() {
    let forgotten = forgottenCount.add(1, ordering: .relaxed).newValue
    guard forgotten >= InodeTable.manyForgotten, forgotten >= liveNodes else { return }
    if forgottenCount.exchange(0, ordering: .relaxed) >= InodeTable.manyForgotten { ProcessMemory.giveBack() }
  }

  private func unlink(_ node: Node, from inode: Inode) -> Unmanaged<Node>? {
    guard let first = inode.firstNode else { return nil }
    if first.takeUnretainedValue() === node {
      inode.firstNode = node.next
      return first
    }
    var previous = first.takeUnretainedValue()
    while let next = previous.next {
      let candidate = next.takeUnretainedValue()
      if candidate === node {
        previous.next = node.next
        return next
      }
      previous = candidate
    }
    return nil
  }

  /// Everything the kernel still knew is forgotten: it has unmounted.
  func forgetAll() {
    forEachShard { nodes in for node in nodes { forget(node, .max) } }
  }

  /// The nodes that the kernel has right below these, and all that it has in `views`.
  func children(of directories: [Node], orIn views: Set<ObjectIdentifier>) -> [Node] {
    let parents = Set(directories.map(ObjectIdentifier.init))
    var result: [Node] = []
    forEachShard { nodes in
      for node in nodes {
        if views.contains(ObjectIdentifier(node.view)) {
          result.append(node)
        } else if let parent = node.parent, parents.contains(ObjectIdentifier(parent)) {
          result.append(node)
        }
      }
    }
    return result
  }

  /// Calls `body` with the nodes of one part of the table after the other, without its lock.
  private func forEachShard(_ body: ([Node]) -> Void) {
    for shard in shards {
      var nodes: [Node] = []
      shard.lock.lock()
      shard.buckets.forEach { inode in
        var next = inode.firstNode
        while let node = next?.takeUnretainedValue() {
          nodes.append(node)
          next = node.next
        }
      }
      shard.lock.unlock()
      body(nodes)
    }
  }

  // MARK: pins

  func pin(_ inode: Inode) { withLock(of: inode.key) { inode.pins += 1 } }

  /// Gives pins back, upwards as long as directories are left without any.
  func unpin(_ inode: Inode) {
    var current: Inode? = inode
    while let inode = current {
      let left = withBuckets(of: inode.key) { unpinned(inode, &$0) }
      current = left?.directory
    }
  }

  /// Under the lock. The inode's place when its directory has to be unpinned now.
  private func unpinned(_ inode: Inode, _ buckets: inout Buckets) -> Place? {
    inode.pins -= 1
    guard inode.pins == 0 else { return nil }
    if inode.isListed { unlist(inode, &buckets) }
    // The successor has the same key, and so the same lock; it is no directory.
    if case .successor(let other)? = inode.backing { _ = unpinned(other.inode, &buckets) }
    return inode.place
  }

  private func drop(_ place: Place) {
    unpin(place.directory)
    place.name.free()
  }

  /// A descriptor of a placed file's blob that somebody has open, at its begin; nil when nobody has. The caller closes
  /// it.
  func descriptorOfReader(_ inode: Inode) -> FileDescriptor? {
    if let kept = pool.acquireOpen(inode) {
      defer { pool.release(inode) }
      return try? kept.duplicateAtStart()
    }
    let readers = blobReaders.withLock { $0[inode.key.inode] ?? [] }
    return readers.lazy.compactMap { try? $0.openDescriptor?.duplicateAtStart() }.first
  }

  // MARK: open handles

  func didOpen(_ handle: FileHandle) {
    let inode = handle.node.inode
    if inode.key.isPlaced, !handle.holdsDescriptor {
      blobReaders.withLock { $0[inode.key.inode, default: []].append(handle) }
    }
    if handle.isWritable { writerCount.add(1, ordering: .sequentiallyConsistent) }
    withLock(of: inode.key) {
      inode.pins += 1
      inode.openHandles += 1
      if handle.isWritable { inode.openWriters += 1 }
      if handle.mapsLower { inode.openMappers += 1 }
      if handle.isServed { inode.openServed += 1 }
    }
  }

  func didRelease(_ handle: FileHandle) {
    let inode = handle.node.inode
    if inode.key.isPlaced, !handle.holdsDescriptor {
      blobReaders.withLock { readers in
        readers[inode.key.inode]?.removeAll { $0 === handle }
        if readers[inode.key.inode]?.isEmpty ?? false { readers[inode.key.inode] = nil }
      }
    }
    withLock(of: inode.key) {
      inode.openHandles -= 1
      if handle.isWritable { inode.openWriters -= 1 }
      if handle.mapsLower { inode.openMappers -= 1 }
      if handle.isServed { inode.openServed -= 1 }
    }
    if handle.isWritable { writerCount.subtract(1, ordering: .sequentiallyConsistent) }
    unpin(inode)
  }

  // MARK: places

  /// The inode of `key` is now at this name and, unless it is a directory, no longer at the old one.
  func didRename(
    _ key: InodeKey, from name: UnsafePointer<CChar>, in directory: Inode, to newName: UnsafePointer<CChar>,
    in newDirectory: Inode
  ) {
    var replaced: [Place] = []
    withBuckets(of: key) { buckets in
      guard let inode = buckets.find(key) else { return }
      if inode.isDirectory {
        guard inode.role == .ordinary, let old = inode.place else { return }
        replaced.append(old)
        inode.place = Place(directory: newDirectory, name: EntryName(copying: newName))
        return
      }
      var next = inode.firstNode
      while let node = next?.takeUnretainedValue() {
        next = node.next
        guard let old = node.place, old.isAt(name, in: directory) else { continue }
        replaced.append(old)
        node.place = Place(directory: newDirectory, name: EntryName(copying: newName))
      }
    }
    // Each new place pins its directory as the old one did; nothing reads the new pin before this.
    for _ in replaced { pin(newDirectory) }
    for place in replaced { drop(place) }
  }

  private struct Step {
    var directory: Inode
    var name: FilePath
  }

  private func step(from inode: Inode) -> Step? {
    withLock(of: inode.key) { inode.place.map { Step(directory: $0.directory, name: $0.name.path) } }
  }

  private func step(from node: Node) -> Step? {
    withLock(of: node.inode.key) {
      let place = node.isDirectory ? node.inode.place : node.place
      return place.map { Step(directory: $0.directory, name: $0.name.path) }
    }
  }

  func name(of node: Node) -> FilePath { step(from: node)?.name ?? FilePath([]) }

  func parent(of node: Node) -> Node? {
    guard let directory = step(from: node)?.directory else { return nil }
    let live = withLock(of: directory.key) { self.node(of: directory, in: node.view) }
    // The kernel may have forgotten the directory of a further name: then a node without an id stands for it.
    return live ?? Node(view: node.view, inode: directory)
  }

  /// The path below the root, as it is at one moment between two renames.
  func path(of node: Node) -> FilePath {
    while true {
      let generation = renames.load(ordering: .sequentiallyConsistent)
      var names: [FilePath] = []
      var next = step(from: node)
      while let current = next {
        names.append(current.name)
        next = step(from: current.directory)
      }
      guard renames.load(ordering: .sequentiallyConsistent) == generation else { continue }
      var bytes: [UInt8] = []
      for name in names.reversed() {
        if !bytes.isEmpty { bytes.append(UInt8(ascii: "/")) }
        bytes += name.bytes
      }
      return FilePath(bytes)
    }
  }

  /// The path below the root of a directory, as `path(of:)`.
  func path(of directory: Inode) -> FilePath { path(of: Node(view: View.none, inode: directory)) }

  /// A descriptor of a placed file's blob.
  func open(_ file: PlacedFile) throws(Errno) -> FileDescriptor {
    guard let blobs else { throw .stale }
    return try blobs.open(file.blob)
  }

  /// An O_PATH descriptor of the inode by one of the names it was last seen at; of a placed file, its blob.
  func reopen(_ inode: Inode) throws(Errno) -> FileDescriptor {
    if let file = inode.placedFile { return try open(file) }
    let (lower, birth) = withLock(of: inode.key) { () -> (InodeKey, UInt32) in
      if case .lower(let file)? = inode.backing { return (file.key, inode.birth) }
      return (inode.key, inode.birth)
    }
    let places = withLock(of: inode.key) { () -> [Step] in
      if let place = inode.place { return [Step(directory: place.directory, name: place.name.path)] }
      var result: [Step] = []
      var next = inode.firstNode
      while let node = next?.takeUnretainedValue() {
        if let place = node.place { result.append(Step(directory: place.directory, name: place.name.path)) }
        next = node.next
      }
      return result
    }
    for place in places {
      do throws(Errno) {
        let opened = try place.directory.withDescriptor { directory throws(Errno) in
          try directory.open(place.name, OpenFlags.path | OpenFlags.noFollow)
        }
        if let found = try? identities.look("", in: opened), found.status.key == identities.real(lower),
          Inode.birthBits(found.birth) == birth
        {
          return opened
        }
        opened.close()
      } catch {
        guard error == .noSuchFile || error == .notDirectory || error == .stale || error == .accessDenied else {
          throw error
        }
      }
    }
    throw .stale
  }
}

/// Flags of open(2) that Swift's Glibc does not show.
enum OpenFlags {
  static let path: Int32 = 0o10000000
  static let noFollow: Int32 = 0o400000
}
