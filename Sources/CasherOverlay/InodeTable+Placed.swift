import CasherSystem

/// What was found at a name.
struct FoundFile {
  var status: FileStatus
  /// Nanoseconds since 1970.
  var birth: Int64 = 0
  /// Where the content is, of a file that is or was placed.
  var backing: Inode.Backing?

  init(status: FileStatus, birth: Int64, backing: Inode.Backing? = nil) {
    self.status = status
    self.birth = birth
    self.backing = backing
  }

  init(_ file: PlacedFile) {
    status = file.status
    backing = .placed(file)
  }
}

/// Placed files in the table: directories that are held because files are placed in them, and the change from a blob to
/// a file of lower.
extension InodeTable {
  /// The directory at a path below the root, which is walked one name at a time and never through a symlink, with one
  /// pin more. ENOTDIR where something else stands.
  func pinDirectory(_ path: FilePath, root: Inode) throws(Errno) -> Inode {
    pin(root)
    var directory = root
    for name in path.components {
      do throws(Errno) {
        let next = try pinDirectory(name, in: directory)
        unpin(directory)
        directory = next
      } catch {
        unpin(directory)
        throw error
      }
    }
    return directory
  }

  private func pinDirectory(_ name: FilePath, in parent: Inode) throws(Errno) -> Inode {
    while true {
      let generation = renames.load(ordering: .sequentiallyConsistent)
      let found = try parent.withDescriptor { descriptor throws(Errno) in
        try name.withCString { name throws(Errno) in try descriptor.statusAndBirth(of: name) }
      }
      guard found.status.type == .directory else { throw .notDirectory }
      if let inode = pinned(found, at: name, in: parent, generation) { return inode }
    }
  }

  private func pinned(
    _ found: (status: FileStatus, birth: Int64), at name: FilePath, in parent: Inode, _ generation: UInt64
  ) -> Inode? {
    pin(parent)
    let place = name.withCString { Place(directory: parent, name: EntryName(copying: $0)) }
    var unused: Place? = place
    let birth = Inode.birthBits(found.birth)
    let inode = withBuckets(of: found.status.key) { buckets -> Inode? in
      if renames.load(ordering: .sequentiallyConsistent) != generation { return nil }
      var listed = buckets.find(found.status.key)
      if let stranger = listed, stranger.birth != birth || stranger.type != .directory {
        unlist(stranger, &buckets)
        listed = nil
      }
      let inode =
        listed ?? Inode(key: found.status.key, birth: birth, type: .directory, table: self)
      if listed == nil { list(inode, &buckets) }
      inode.pins += 1
      if inode.role == .ordinary {
        if inode.place == nil {
          inode.place = place
          unused = nil
        } else if inode.place?.directory === parent, inode.place?.name.path == name {
          // Where it was seen last.
        } else {
          swap(&inode.place, &unused)
        }
      }
      return inode
    }
    if let unused {
      unpin(unused.directory)
      unused.name.free()
    }
    return inode
  }

  // MARK: what a placed file is

  /// Another value of a placed file: its times have changed, or its name is gone.
  func update(_ file: PlacedFile) {
    withBuckets(of: file.key) { buckets in
      guard let inode = buckets.find(file.key), inode.backing?.isPlaced == true else { return }
      inode.backing = .placed(file)
    }
  }

  /// Placed files of so many bytes at most are read through the daemon, even where the kernel could read the blob: so who
  /// has one open sees what is written to it, or that it is truncated, as everywhere.
  static let largestServed: Int64 = 1 << 20

  /// What an open of the inode is to use, which stays the same until `endOpen`; and whether it is to be served
  /// (`FileHandle.isServed`).
  func beginOpen(_ inode: Inode, passthrough: Bool) -> (backing: Inode.Backing?, isServed: Bool) {
    withBuckets(of: inode.key) { _ in
      var isServed = inode.openServed > 0
      switch inode.backing {
      case .successor?: return (inode.backing, false)
      case .placed(let file)?:
        if passthrough, inode.openHandles == 0, file.status.size <= InodeTable.largestServed { isServed = true }
      case .lower?, nil: break
      }
      inode.openHandles += 1
      if isServed { inode.openServed += 1 }
      return (inode.backing, isServed)
    }
  }

  func endOpen(_ inode: Inode, isServed: Bool) {
    withBuckets(of: inode.key) { _ in
      inode.openHandles -= 1
      if isServed { inode.openServed -= 1 }
    }
  }

  /// The placed file has become one of lower, which `descriptor` (O_PATH, taken over) is open on.
  ///
  /// Where files that are open on it and not served go on with the blob (`keepsOpen`), another inode with the same key takes its place:
  /// the kernel lets no two backing files be open for one node. Else the inode itself is lower's from now on. Gives
  /// whether another has taken its place.
  @discardableResult
  func didMaterialise(
    _ key: InodeKey, as lower: InodeKey, birth: UInt32, keepsOpen: Bool, _ descriptor: FileDescriptor
  ) -> Bool {
    enum Outcome {
      case switched(Inode)
      case replaced(by: Inode)
    }
    let outcome = withBuckets(of: key) { buckets -> Outcome? in
      defer { renames.add(1, ordering: .sequentiallyConsistent) }
      guard let inode = buckets.find(key), case .placed(let file)? = inode.backing else { return nil }
      let backing = Inode.Backing.lower(Inode.LowerFile(lower))
      guard keepsOpen, inode.openHandles > inode.openServed else {
        pool.forget(inode)
        inode.birth = birth
        inode.backing = backing
        inode.epoch &+= 1
        return .switched(inode)
      }
      let successor = Inode(key: key, birth: birth, type: .regular, backing: backing, table: self)
      unlist(inode, &buckets)
      list(successor, &buckets)
      successor.pins += 1  // given back when the old inode has gone
      inode.backing = .successor(Inode.Successor(successor, of: file))
      return .replaced(by: successor)
    }
    switch outcome {
    case nil: descriptor.close()
    case .switched(let inode):
      _ = pool.install(descriptor, for: inode)
      pool.release(inode)
    case .replaced(let successor):
      _ = pool.install(descriptor, for: successor)
      // It has no place of its own until it is looked up.
      pool.keepForever(successor)
      pool.release(successor)
      return true
    }
    return false
  }
}
