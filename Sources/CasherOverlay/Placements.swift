import CasherSystem
import Synchronization

/// The placed files of one tree, by the directory of lower that they stand in and their name there: renaming a directory
/// changes nothing here.
///
/// Whoever changes something holds `names` of the directories concerned; a look may be taken at any time. A name that is
/// placed hides what lower has there, which is nothing but for moments, and after changes made behind the mount's back.
public final class Placements: Sendable {
  let names = NameLocks()
  let blobs: (any BlobSource)?
  let journal: PlacementJournal?
  /// Numbers of files that a thread is making ordinary; others that want the same wait for it.
  let materialising = Monitor<Set<UInt64>>([])
  private let fileCount = Atomic<Int>(0)
  private let byteCount = Atomic<Int64>(0)
  private let closed = Atomic<Bool>(false)
  private let changes = Atomic<UInt64>(0)
  private let aliasCount = Atomic<Int>(0)
  private let state = Mutex(State())
  private let aliases = Mutex<[InodeKey: Alias]>([:])

  private struct Directory {
    /// Pinned in the table while there are files.
    let inode: Inode
    var files: [FilePath: PlacedFile] = [:]
  }

  private struct State {
    var directories: [DirectoryKey: Directory] = [:]
    var places: [UInt64: (directory: DirectoryKey, name: FilePath)] = [:]
    var runs: [Digest: Int] = [:]
    /// How often each name is placed, whatever its directory.
    var names: [FilePath: Int] = [:]
    var lost: [LostFile] = []
    /// Directories that are known to be on lower's disk.
    var durable: Set<DirectoryKey> = []
    /// Files that have become ordinary and may not be on lower's disk yet.
    var unsynced: [JournalEntry] = []
  }

  private struct Alias {
    var birth: UInt32
    var number: UInt64
  }

  init(blobs: (any BlobSource)?, journal: PlacementJournal?) {
    self.blobs = blobs
    self.journal = journal
  }

  /// Of a directory that no daemon serves.
  public static let none = Placements(blobs: nil, journal: nil)

  // MARK: looking

  /// Grows when a file comes to be placed.
  public var generation: UInt64 { changes.load(ordering: .sequentiallyConsistent) }

  /// Whether a name is that of a file in the making, which is never shown.
  public static func isTemporary(_ name: FilePath) -> Bool { name.bytes.starts(with: NamelessFile.prefix) }

  /// A name for a file in the making.
  public static func temporaryName() -> FilePath { NamelessFile.temporaryName() }

  var isClosed: Bool { closed.load(ordering: .sequentiallyConsistent) }
  func close() { closed.store(true, ordering: .sequentiallyConsistent) }

  /// Whether nothing is placed.
  public var isEmpty: Bool { fileCount.load(ordering: .relaxed) == 0 }
  public var count: Int { fileCount.load(ordering: .relaxed) }
  /// Bytes of content.
  public var bytes: Int64 { byteCount.load(ordering: .relaxed) }

  public func file(_ name: FilePath, in directory: DirectoryKey) -> PlacedFile? {
    if isEmpty { return nil }
    return state.withLock { $0.directories[directory]?.files[name] }
  }

  /// Whether a file of this name is placed in some directory.
  public func mayHave(_ name: FilePath) -> Bool { !isEmpty && state.withLock { $0.names[name] != nil } }

  /// A descriptor of the content, which the caller closes.
  public func open(_ file: PlacedFile) throws(Errno) -> FileDescriptor {
    guard let blobs else { throw .noSuchFile }
    return try blobs.open(file.blob)
  }

  /// The file of this number, while it is placed.
  public func file(_ number: UInt64) -> PlacedFile? {
    if isEmpty { return nil }
    return state.withLock { state in
      state.places[number].flatMap { state.directories[$0.directory]?.files[$0.name] }
    }
  }

  public func files(in directory: DirectoryKey) -> [FilePath: PlacedFile] {
    if isEmpty { return [:] }
    return state.withLock { $0.directories[directory]?.files ?? [:] }
  }

  public func hasFiles(in directory: DirectoryKey) -> Bool {
    !isEmpty && state.withLock { $0.directories[directory] != nil }
  }

  func place(of number: UInt64) -> (directory: Inode, name: FilePath, file: PlacedFile)? {
    state.withLock { state in
      guard let place = state.places[number], let directory = state.directories[place.directory],
        let file = directory.files[place.name]
      else { return nil }
      return (directory.inode, place.name, file)
    }
  }

  /// Every placed file.
  public var all: [PlacedFile] { state.withLock { $0.directories.values.flatMap { $0.files.values } } }

  /// Directories that have placed files now.
  var directories: [Inode] { state.withLock { $0.directories.values.map(\.inode) } }

  /// What the journal names and could not be had.
  public var lost: [LostFile] { state.withLock { $0.lost } }

  func setLost(_ files: [LostFile]) { state.withLock { $0.lost = files } }

  /// Whether there are files that have become ordinary and that lower has not synced yet.
  public var hasUnsynced: Bool { state.withLock { !$0.unsynced.isEmpty } }

  func addUnsynced(_ entry: JournalEntry) { state.withLock { $0.unsynced.append(entry) } }

  /// Lower has synced them all. Ends what their runs' blobs were kept for.
  func forgetUnsynced() {
    let runs = state.withLock { state in
      let runs = Set(state.unsynced.map(\.file.run))
      state.unsynced = []
      return runs
    }
    release(Array(runs))
  }

  func isDurable(_ directory: DirectoryKey) -> Bool { state.withLock { $0.durable.contains(directory) } }

  func didMakeDurable(_ directory: DirectoryKey) { state.withLock { _ = $0.durable.insert(directory) } }

  // MARK: changing, under `names`

  /// Puts files into a directory, whose inode the caller has pinned, in place of those that are placed there.
  func add(_ files: [(name: FilePath, file: PlacedFile)], to directory: Inode) {
    if files.isEmpty { return }
    let key = directory.directoryKey
    let ended = state.withLock { state -> [Digest] in
      var ended: [Digest] = []
      if state.directories[key] == nil {
        directory.table.pin(directory)
        state.directories[key] = Directory(inode: directory)
      }
      for (name, file) in files {
        if let old = state.directories[key]?.files.updateValue(file, forKey: name) {
          account(for: old, name, isAdded: false, &state, &ended)
          if old.number != file.number { state.places[old.number] = nil }
        }
        state.places[file.number] = (key, name)
        account(for: file, name, isAdded: true, &state, &ended)
      }
      return ended.filter { state.runs[$0] == nil }
    }
    changes.add(1, ordering: .sequentiallyConsistent)
    release(ended)
  }

  /// Gives a file another name, in place of what is placed there.
  func move(_ file: PlacedFile, to name: FilePath, in directory: Inode) {
    drop(file.number, releasing: false)
    add([(name, file)], to: directory)
  }

  /// Takes a file out; false when it is no longer placed.
  @discardableResult
  func drop(_ number: UInt64) -> Bool { drop(number, releasing: true) }

  @discardableResult
  private func drop(_ number: UInt64, releasing: Bool) -> Bool {
    let (isDropped, left, ended) = state.withLock { state -> (Bool, Inode?, [Digest]) in
      var ended: [Digest] = []
      guard let place = state.places.removeValue(forKey: number),
        let file = state.directories[place.directory]?.files.removeValue(forKey: place.name)
      else { return (false, nil, []) }
      account(for: file, place.name, isAdded: false, &state, &ended)
      guard let directory = state.directories[place.directory], directory.files.isEmpty else {
        return (true, nil, ended)
      }
      state.directories[place.directory] = nil
      return (true, directory.inode, ended)
    }
    if let left { left.table.unpin(left) }
    if releasing { release(ended) }
    return isDropped
  }

  private func account(
    for file: PlacedFile, _ name: FilePath, isAdded: Bool, _ state: inout State, _ ended: inout [Digest]
  ) {
    let step = isAdded ? 1 : -1
    let names = (state.names[name] ?? 0) + step
    state.names[name] = names > 0 ? names : nil
    fileCount.add(step, ordering: .sequentiallyConsistent)
    byteCount.add(isAdded ? file.size : 0 &- file.size, ordering: .relaxed)
    let count = (state.runs[file.run] ?? 0) + step
    state.runs[file.run] = count > 0 ? count : nil
    if count <= 0 { ended.append(file.run) }
  }

  private func release(_ runs: [Digest]) {
    for run in runs { blobs?.didRelease(run: run) }
  }

  /// Whether a file of the run is placed, or only just ordinary.
  public func hasFiles(of run: Digest) -> Bool {
    state.withLock { state in state.runs[run] != nil || state.unsynced.contains { $0.file.run == run } }
  }

  // MARK: files that were placed

  /// Gives a file of lower the number that it was seen under while it was placed.
  func addAlias(_ lower: InodeKey, birth: UInt32, number: UInt64) {
    aliases.withLock { aliases in
      if aliases.updateValue(Alias(birth: birth, number: number), forKey: lower) == nil {
        aliasCount.add(1, ordering: .sequentiallyConsistent)
      }
    }
  }

  func removeAlias(_ lower: InodeKey) {
    if aliasCount.load(ordering: .relaxed) == 0 { return }
    aliases.withLock { aliases in
      if aliases.removeValue(forKey: lower) != nil { aliasCount.subtract(1, ordering: .sequentiallyConsistent) }
    }
  }

  /// The number that a file of lower is seen under, when it was placed before. The same inode number with another birth
  /// time is another file.
  func alias(of lower: InodeKey, birth: UInt32) -> UInt64? {
    if aliasCount.load(ordering: .relaxed) == 0 { return nil }
    return aliases.withLock { aliases in aliases[lower].flatMap { $0.birth == birth ? $0.number : nil } }
  }

  /// As `alias(of:birth:)`, for who knows no birth time.
  func alias(of lower: InodeKey) -> UInt64? {
    if aliasCount.load(ordering: .relaxed) == 0 { return nil }
    return aliases.withLock { $0[lower]?.number }
  }

  /// What stat(2) in the mount tells of a file of lower.
  public func identified(_ status: FileStatus, birth: Int64) -> FileStatus {
    guard let number = alias(of: status.key, birth: Inode.birthBits(birth)) else { return status }
    var status = status
    status.identify(as: PlacedFile.key(of: number))
    return status
  }

  /// Whether a file of lower has another number than lower says.
  public var hasAliases: Bool { aliasCount.load(ordering: .relaxed) > 0 }

  /// As `identified(_:birth:)`, of what a descriptor of lower is open on.
  public func identifiedStatus(of descriptor: FileDescriptor) throws(Errno) -> FileStatus {
    if aliasCount.load(ordering: .relaxed) == 0 { return try descriptor.status() }
    let found = try descriptor.statusAndBirth(of: "")
    return identified(found.status, birth: found.birth)
  }

  /// Everything that is placed, for the journal; to be called while no names change.
  func snapshot() -> [JournalEntry] {
    // Those that are ordinary come first, as others may be placed by now where they stood.
    let (directories, ordinary) = state.withLock { ($0.directories, $0.unsynced) }
    var result = ordinary
    for (key, directory) in directories {
      let place = JournalEntry.Directory(
        inode: key.key.inode, birth: key.birth, path: directory.inode.table.path(of: directory.inode))
      for (name, file) in directory.files {
        result.append(JournalEntry(directory: place, name: name, file: file, covers: nil))
      }
    }
    return result + lost.map(\.entry)
  }
}
