import CLinux
import CasherSystem
import Glibc

/// Placed files become ordinary ones of lower.
extension Overlay {
  /// The inode to change content or attributes of: a placed file has become an ordinary one before. With
  /// `keepingContent` false, its content is about to be dropped.
  func ordinary(_ inode: Inode, keepingContent: Bool = true) throws(Errno) -> Inode {
    while let file = inode.current.placedFile {
      if file.links == 0 {
        try materialiseNameless(inode.current, keepingContent: keepingContent)
      } else {
        try materialise(file.number, keepingContent: keepingContent)
      }
    }
    return inode.current
  }

  /// Returns when the file of this number is no longer placed: it is in lower, or its name is gone.
  /// `isSettled`: nobody is about to change it.
  public func materialise(
    _ number: UInt64, keepingContent: Bool = true, isSettled: Bool = false
  ) throws(Errno) {
    guard placements.file(number) != nil else { return }
    _ = placements.materialising.wait { $0.insert(number).inserted ? true : nil }
    defer { placements.materialising.update { _ = $0.remove(number) } }
    while let (directory, name, file) = placements.place(of: number) {
      let isDone = try directory.withDescriptor { descriptor throws(Errno) in
        let made = try NamelessFile(in: descriptor)
        defer { made.descriptor.close() }
        do throws(Errno) {
          try fill(made, with: file, keepingContent: keepingContent)
          return try placements.names.with(directory.directoryKey) { () throws(Errno) -> Bool in
            guard let now = placements.place(of: number), now.directory === directory, now.name == name else {
              made.discardName()
              return false
            }
            try publish(made, file, name, directory, descriptor, isSettled: isSettled)
            if isSettled, let status = try? made.descriptor.status() {
              placements.blobs?.didWrite(file.blob, as: status)
            }
            return true
          }
        } catch {
          made.discardName()
          throw error
        }
      }
      if isDone { return }
    }
  }

  private func fill(_ made: NamelessFile, with file: PlacedFile, keepingContent: Bool) throws(Errno) {
    var blob: FileDescriptor?
    if keepingContent { blob = try openContent(of: file) }
    defer { blob?.close() }
    try made.fill(with: file, from: blob)
    if placements.journal?.isSynchronous ?? false { try made.descriptor.synchronize() }
  }

  /// Whoever has a placed file open keeps its content, whatever became of the blob.
  private func openContent(of file: PlacedFile) throws(Errno) -> FileDescriptor {
    do throws(Errno) { return try table.open(file) } catch {
      guard let inode = table.inode(for: file.key), let kept = table.descriptorOfReader(inode) else { throw error }
      return kept
    }
  }

  /// Gives up placed files whose content can no longer be had. Returns their paths, relative to the mount's root.
  public func forgetMissing() -> [FilePath] {
    guard let blobs = placements.blobs else { return [] }
    var forgotten: [FilePath] = []
    for directory in placements.directories {
      for (name, file) in placements.files(in: directory.directoryKey) where !blobs.has(file.blob) {
        if let content = try? openContent(of: file) {
          content.close()
          continue
        }
        placements.names.with(directory.directoryKey) {
          guard placements.place(of: file.number)?.name == name,
            (try? placements.journal?.append([.drop(file.number)])) != nil
          else { return }
          forgetPlaced(file.number, name, directory)
          forgotten.append(table.path(of: directory).appending(name))
        }
      }
    }
    try? compactJournal()
    return forgotten
  }

  /// Under the lock of the directory's names: the file comes to stand in lower first, then the journal says so, then
  /// everyone is shown it.
  private func publish(
    _ made: NamelessFile, _ file: PlacedFile, _ name: FilePath, _ directory: Inode, _ descriptor: FileDescriptor,
    isSettled: Bool
  ) throws(Errno) {
    let number = file.number
    let found = try made.descriptor.statusAndBirth(of: "")
    let birth = Inode.birthBits(found.birth)
    let path = try made.descriptor.openAgain(Int32(CASHER_O_PATH))
    do throws(Errno) {
      placements.addAlias(found.status.key, birth: birth, number: number)
      do throws(Errno) {
        try descriptor.keepingTimes { () throws(Errno) in try made.link(as: name) }
      } catch {
        guard error == .exists else { throw error }
        // Someone has put a file there behind the mount's back. It is the newer one.
        try placements.journal?.append([.drop(number)])
        placements.removeAlias(found.status.key)
        made.discardName()
        path.close()
        forgetPlaced(number, name, directory)
        return
      }
      do throws(Errno) {
        if placements.journal?.isSynchronous ?? false {
          let opened = try descriptor.open(".", O_RDONLY | O_DIRECTORY)
          defer { opened.close() }
          try opened.synchronize()
        }
        try journalOrdinary(file, name, directory, as: (found.status, found.birth), isSettled: isSettled)
      } catch {
        try? descriptor.remove(name)
        throw error
      }
    } catch {
      placements.removeAlias(found.status.key)
      path.close()
      throw error
    }
    placements.drop(number)
    let isReplaced = table.didMaterialise(
      PlacedFile.key(of: number), as: found.status.key, birth: birth, keepsOpen: usesPassthrough, path)
    // The name leads to the old inode, as far as the kernel knows.
    if isReplaced { invalidateEntry(name, inDirectory: directory.key, .isThere) }
    if let inode = table.inode(for: PlacedFile.key(of: number)) {
      notifier.send(table.nodes(of: inode, except: nil).map { .attributes($0) })
    }
  }

  /// Many files at once are synced together, when all are there; until then the journal remembers them.
  private func journalOrdinary(
    _ file: PlacedFile, _ name: FilePath, _ directory: Inode, as found: (status: FileStatus, birth: Int64),
    isSettled: Bool
  ) throws(Errno) {
    guard let journal = placements.journal else { return }
    guard isSettled, !journal.isSynchronous, let lower = covered(found) else {
      return try journal.append([.drop(file.number)])
    }
    let ordinary = JournalEntry.Ordinary(file: lower, boot: BootNumber.current)
    try journal.append([.ordinary(file.number, ordinary)])
    placements.addUnsynced(
      JournalEntry(directory: journalDirectory(directory), name: name, file: file, covers: nil, ordinary: ordinary))
  }

  /// A placed file gave way to what stands in lower.
  private func forgetPlaced(_ number: UInt64, _ name: FilePath, _ directory: Inode) {
    if let file = placements.file(number) { table.update(file.unlinked(at: Clock.now())) }
    placements.drop(number)
    table.renames.add(1, ordering: .sequentiallyConsistent)
    invalidateEntry(name, inDirectory: directory.key, .isThere)
  }

  /// A placed file that is open and has no name any more gets a file of lower without one.
  private func materialiseNameless(_ inode: Inode, keepingContent: Bool) throws(Errno) {
    _ = placements.materialising.wait { $0.insert(inode.key.inode).inserted ? true : nil }
    defer { placements.materialising.update { _ = $0.remove(inode.key.inode) } }
    guard let file = inode.placedFile else { return }
    let made = try NamelessFile(in: rootDescriptor)
    made.discardName()
    defer { made.descriptor.close() }
    try fill(made, with: file, keepingContent: keepingContent)
    let found = try made.descriptor.statusAndBirth(of: "")
    let path = try made.descriptor.openAgain(Int32(CASHER_O_PATH))
    table.didMaterialise(
      inode.key, as: found.status.key, birth: Inode.birthBits(found.birth), keepsOpen: usesPassthrough, path)
    let current = inode.current
    if (try? table.pool.acquire(current)) != nil {
      table.pool.keepForever(current)
      table.pool.release(current)
    }
  }

  // MARK: everything

  /// What could not be made ordinary, and why.
  public struct Unmaterialised: Sendable {
    /// Relative to the mount's root.
    public let path: FilePath
    public let cause: Errno
  }

  /// Makes every placed file an ordinary one. The journal remembers them until `forgetOrdinary`. What comes to be placed
  /// meanwhile may be left.
  public func materialiseAll() -> [Unmaterialised] {
    var failures: [Unmaterialised] = []
    for directory in placements.directories {
      for (name, file) in placements.files(in: directory.directoryKey).sorted(by: { $0.key < $1.key }) {
        do throws(Errno) { try materialise(file.number, isSettled: true) } catch {
          failures.append(Unmaterialised(path: table.path(of: directory).appending(name), cause: error))
        }
      }
    }
    return failures
  }

  /// What has become ordinary is on the disk as far as it ever will be: lets the journal go when nothing is left that it
  /// has to remember.
  public func forgetOrdinary() {
    placements.forgetUnsynced()
    try? compactJournal()
  }

  /// Writes the journal anew with what is placed now.
  public func compactJournal() throws(Errno) {
    guard let journal = placements.journal else { return }
    try placements.names.withEverything { () throws(Errno) in try journal.replace(with: placements.snapshot()) }
  }

  /// Has the disk hold what the journal says.
  public func synchronizeJournal() throws(Errno) { try placements.journal?.synchronize() }
}

extension Overlay {
  /// A journal so long (bytes), and so much longer than what it has to say, is written anew.
  private static let longJournal: Int64 = 1 << 20
  private static let bytesForFile: Int64 = 1024

  /// Writes the journal anew when most of it is about files that are no longer placed.
  public func tidyJournal() {
    guard let journal = placements.journal else { return }
    let size = journal.size
    let isEmpty = placements.isEmpty && placements.lost.isEmpty && !placements.hasUnsynced
    if size == 0 || !isEmpty && size < max(Overlay.longJournal, Int64(placements.count) &* Overlay.bytesForFile) {
      return
    }
    try? compactJournal()
  }
}
