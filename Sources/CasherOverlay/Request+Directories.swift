import CFuse
import CasherSystem
import Glibc

/// Listing directories.
extension Request {
  func openDirectory(_ node: Node, _ info: Info) throws(Errno) {
    // Where runs are observed in the main view, each listing has to be seen.
    let mayCache = node.view.isMain && !overlay.recorder.observesMainView && !overlay.configuration.isDetached
    let handle = DirectoryHandle(node: node, overlay: overlay, mayCache: mayCache)
    info.pointee.fh = handle.identifier
    info.pointee.cache_readdir = handle.permission.caches ? 1 : 0
    info.pointee.keep_cache = handle.permission.keeps ? 1 : 0
    if fuse_reply_open(raw, info) != 0 { DirectoryHandle.end(info) }
  }

  /// READDIR, or with `plus` READDIRPLUS: what follows `offset`, as much as `size` bytes hold.
  ///
  /// In a recorded view READDIRPLUS tells no more than READDIR: an entry that the kernel got with it would be used later
  /// without a LOOKUP.
  func list(_ handle: DirectoryHandle, size: Int, offset: Int64, plus: Bool) throws(Errno) {
    let node = handle.node
    if handle.isFirstReading() { lookRecorder(node.view)?.didList(node, by: actor(node.view)) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
    defer { buffer.deallocate() }
    guard let base = buffer.baseAddress?.assumingMemoryBound(to: CChar.self) else { return succeed() }
    var used = 0
    var next = offset
    try handle.read(from: offset) { entry in
      if node.isRoot && overlay.isViewsName(entry.name) || NamelessFile.isTemporary(entry.name) { return true }
      guard let count = add(entry, of: node, to: base + used, room: size - used, plus: plus) else { return false }
      used += count
      next = entry.next
      return true
    }
    handle.didGive(from: offset, to: next, isEmpty: used == 0, plus: plus)
    fuse_reply_buf(raw, base, used)
  }

  /// Adds one entry; the bytes it took, nil when there is no room for it.
  private func add(
    _ entry: DirectoryHandle.Entry, of node: Node, to buffer: UnsafeMutablePointer<CChar>, room: Int, plus: Bool
  ) -> Int? {
    var status = stat()
    status.st_ino = ino_t(overlay.shownNumber(entry.inode, in: node.inode))
    status.st_mode = entry.type.modeBits
    guard plus else {
      let needed = fuse_add_direntry(raw, buffer, room, entry.name, &status, off_t(entry.next))
      return needed > room ? nil : needed
    }
    guard fuse_add_direntry_plus(raw, nil, 0, entry.name, nil, 0) <= room else { return nil }
    var found: Node?
    var parameters = fuse_entry_param()
    parameters.attr = status
    if !overlay.isRecorded(node.view), !entry.isDot, let child = try? find(entry.name, in: node) {
      parameters = overlay.entry(child.node, child.status)
      found = child.node
    }
    let needed = fuse_add_direntry_plus(raw, buffer, room, entry.name, &parameters, off_t(entry.next))
    if needed > room {
      if let found { overlay.forget(found, 1) }
      return nil
    }
    return needed
  }
}

/// An open directory: from OPENDIR to RELEASEDIR.
final class DirectoryHandle: @unchecked Sendable {  // everything mutable is under `lock`
  struct Entry {
    var name: UnsafePointer<CChar>
    var inode: UInt64
    var type: FileType
    /// Where the directory goes on after it.
    var next: Int64

    var isDot: Bool { name[0] == 46 && (name[1] == 0 || name[1] == 46 && name[2] == 0) }
  }

  let node: Node
  /// What it was opened with.
  let permission: DirectoryListings.Permission
  private var reading: DirectoryListings.Reading
  /// Where the kernel's reading goes on, if it leaves nothing out.
  private var given: Int64 = 0
  /// Opened at the first need: many a directory is opened to be stood in, or to name what is in it.
  private var lower: FileDescriptor?
  private let lock = Lock()
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 32768, alignment: 8)
  private var filled = 0
  private var position = 0
  /// The offset of what stands at `position`.
  private var offset: Int64 = 0
  private var wasRead = false
  private let overlay: Overlay
  /// What was placed in the directory when it was last read from its begin: shown after lower's entries, of which
  /// those of the same names are left out. So what becomes an ordinary file meanwhile is shown once.
  private var placed: [FilePath] = []
  private var placedNames: Set<FilePath> = []
  /// While something is placed the kernel is given offsets that count entries; this is where lower goes on after each.
  private var lowerOffsets: [Int64] = []

  init(node: Node, overlay: Overlay, mayCache: Bool) {
    self.node = node
    self.overlay = overlay
    let changes = node.inode.nameChanges
    reading = DirectoryListings.Reading(changes: changes)
    // The offsets of a listing with placed files are the handle's own, so no other handle can go on from one.
    let isPlain = DirectoryHandle.placedNames(in: node, overlay).isEmpty
    permission = mayCache && isPlain ? overlay.listings.open(node.inode.directoryKey, changes: changes) : .none
  }

  private static func placedNames(in node: Node, _ overlay: Overlay) -> [FilePath] {
    overlay.placements.isEmpty ? [] : overlay.placements.files(in: node.inode.directoryKey).keys.sorted()
  }

  private func takeSnapshot() {
    placed = DirectoryHandle.placedNames(in: node, overlay)
    placedNames = Set(placed)
    lowerOffsets = []
  }

  deinit {
    if permission.caches { overlay.listings.close(node.inode.directoryKey) }
    lower?.close()
    buffer.deallocate()
  }

  func isFirstReading() -> Bool {
    lock.lock()
    defer { lock.unlock() }
    defer { wasRead = true }
    return !wasRead
  }

  /// Calls `body` with the entries that follow `start`, until it returns false: that entry comes again.
  func read(from start: Int64, _ body: (Entry) -> Bool) throws(Errno) {
    lock.lock()
    defer { lock.unlock() }
    guard let lower = try opened() else { return }
    if start == 0 { takeSnapshot() }
    if placed.isEmpty {
      try readLower(lower, from: start, body)
    } else {
      try readMerged(lower, from: start, body)
    }
  }

  private func readMerged(_ lower: FileDescriptor, from start: Int64, _ body: (Entry) -> Bool) throws(Errno) {
    guard var index = Int(exactly: start), index >= 0 else { throw .invalid }
    if index <= lowerOffsets.count {
      var isFull = false
      try readLower(lower, from: index == 0 ? 0 : lowerOffsets[index - 1]) { entry in
        // Where lower goes on is known by the number of what was shown last, so what is left out moves that on.
        if placedNames.contains(FilePath(cString: entry.name)) || NamelessFile.isTemporary(entry.name) {
          if index > 0 { lowerOffsets[index - 1] = entry.next }
          return true
        }
        var shown = entry
        shown.next = Int64(index + 1)
        guard body(shown) else {
          isFull = true
          return false
        }
        lowerOffsets.removeLast(lowerOffsets.count - index)
        lowerOffsets.append(entry.next)
        index += 1
        return true
      }
      if isFull { return }
    }
    var next = index - lowerOffsets.count
    while next < placed.count {
      let name = placed[next]
      next += 1
      index += 1
      guard let found = overlay.number(of: name, in: node.inode) else { continue }
      let goesOn = name.withCString {
        body(Entry(name: $0, inode: found.inode, type: found.type, next: Int64(index)))
      }
      if !goesOn { return }
    }
  }

  private func readLower(_ lower: FileDescriptor, from start: Int64, _ body: (Entry) -> Bool) throws(Errno) {
    if start != offset {
      try lower.seek(to: start)
      filled = 0
      position = 0
      offset = start
    }
    while true {
      if position >= filled {
        filled = 0
        position = 0
        filled = try lower.readEntries(into: buffer)
        if filled == 0 { return }
      }
      // struct linux_dirent64: u64 inode, s64 offset, u16 record length, u8 type, then the name.
      guard position + 19 < filled, let base = buffer.baseAddress else {
        position = filled
        continue
      }
      let length = Int(buffer.loadUnaligned(fromByteOffset: position + 16, as: UInt16.self))
      guard length > 19, position + length <= filled else {
        position = filled
        continue
      }
      let entry = Entry(
        name: UnsafePointer(base.advanced(by: position + 19).assumingMemoryBound(to: CChar.self)),
        inode: buffer.loadUnaligned(fromByteOffset: position, as: UInt64.self),
        type: FileType(directoryEntryType: buffer.loadUnaligned(fromByteOffset: position + 18, as: UInt8.self)),
        next: buffer.loadUnaligned(fromByteOffset: position + 8, as: Int64.self))
      guard body(entry) else { return }
      position += length
      offset = entry.next
    }
  }

  /// The entries between two offsets are about to be given to the kernel; none, when the directory ends there.
  func didGive(from start: Int64, to next: Int64, isEmpty: Bool, plus: Bool) {
    guard permission.caches else { return }
    lock.lock()
    defer { lock.unlock() }
    if start != given || !placed.isEmpty || !(plus || isEmpty) { reading.isWhole = false }
    given = next
    if isEmpty {
      overlay.listings.didRead(node.inode.directoryKey, reading, changes: node.inode.nameChanges)
    } else if reading.began == nil {
      reading.began = Clock.monotonic()
    }
  }

  func synchronize(dataOnly: Bool) throws(Errno) {
    lock.lock()
    defer { lock.unlock() }
    try opened()?.synchronize(dataOnly: dataOnly)
  }

  /// Lower's directory; nil for the views' directory. Under the lock.
  private func opened() throws(Errno) -> FileDescriptor? {
    if lower != nil || node.inode.role == .viewsDirectory { return lower }
    let opened = try node.inode.withDescriptor { descriptor throws(Errno) in
      // Not by the name ".", for which the directory would have to be searchable too.
      try overlay.table.pool.givingWay { () throws(Errno) in try descriptor.openAgain(O_RDONLY | O_DIRECTORY) }
    }
    lower = opened
    return opened
  }

  // MARK: the kernel's reference

  /// What the kernel knows the handle by: its address, kept alive until `end`.
  var identifier: UInt64 { UInt64(UInt(bitPattern: Unmanaged.passRetained(self).toOpaque())) }

  static func required(_ info: UnsafeMutablePointer<fuse_file_info>?) throws(Errno) -> DirectoryHandle {
    guard let info, let address = UnsafeRawPointer(bitPattern: UInt(truncatingIfNeeded: info.pointee.fh)) else {
      throw Errno(rawValue: EBADF)
    }
    return Unmanaged<DirectoryHandle>.fromOpaque(address).takeUnretainedValue()
  }

  static func end(_ info: UnsafeMutablePointer<fuse_file_info>) {
    guard let address = UnsafeRawPointer(bitPattern: UInt(truncatingIfNeeded: info.pointee.fh)) else { return }
    Unmanaged<DirectoryHandle>.fromOpaque(address).release()
  }
}

extension Overlay {
  /// What stat(2) shows as the number of an entry of lower.
  func shownNumber(_ inode: UInt64, in directory: Inode) -> UInt64 {
    let key = InodeKey(device: directory.key.device, inode: inode)
    return placements.alias(of: key) ?? table.identities.shownNumber(of: key)
  }

  /// The number and type of what stands at a name now, placed or not; nil when nothing does.
  func number(of name: FilePath, in directory: Inode) -> (inode: UInt64, type: FileType)? {
    while true {
      let generation = table.renames.load(ordering: .sequentiallyConsistent)
      if let file = placements.file(name, in: directory.directoryKey) { return (file.number, .regular) }
      let found = try? directory.withDescriptor { descriptor throws(Errno) in
        try name.withCString { name throws(Errno) in identified(try table.identities.look(name, in: descriptor)) }
      }
      if let found { return (found.status.key.inode, found.status.type) }
      if table.renames.load(ordering: .sequentiallyConsistent) == generation { return nil }
    }
  }
}
