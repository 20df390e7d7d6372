import CasherSystem
import Glibc
import Synchronization

/// The store's directory: what stands where, made and checked when a store is opened.
///
///     casher.sqlite    the database, with -wal and -shm beside it
///     blobs/ab/cd…     content by digest; with `.zst` when compressed
///     inflated/ab/cd…  plain copies of compressed blobs
///     tmp/<random>/    files in the making, one directory for each open store
///     mounts/<id>/     what belongs to one mount
///     lock             held while a store is being opened
///     reserve          space to be given up when the disk is full and rows are to be removed
final class StoreLayout: Sendable {
  let directory: FilePath
  /// The store's directory, for all calls relative to it.
  let root: FileDescriptor
  /// Holds a lock on `scratch` while this store is open: whoever gets the lock may clear the directory.
  private let scratchLock: FileDescriptor?
  /// `tmp/<random>`.
  private let scratch: FilePath
  private let next = Atomic<UInt64>(0)

  private static let names: [FilePath] = ["blobs", "inflated", "tmp", "mounts"]
  private static let known: [FilePath] =
    names + databaseFiles + ["lock", "reserve", "casher.sqlite.damaged", "lost+found"]
  /// The database and what SQLite may put beside it.
  static let databaseFiles: [FilePath] = [
    "casher.sqlite", "casher.sqlite-wal", "casher.sqlite-shm", "casher.sqlite-journal",
  ]

  /// Makes the directory if it is not there, and gives it to `body` while no other process is opening it.
  static func open<Result>(
    _ directory: FilePath, _ options: StoreOptions, _ body: (StoreLayout) throws(StoreError) -> Result
  ) throws(StoreError) -> Result {
    guard directory.isAbsolute else {
      throw StoreError(
        .invalidSetting, directory, detail: "the cache directory must be an absolute path, and \(directory) is none")
    }
    if !options.isReadOnly { try makePath(directory) }
    let root = try attempt(directory) { () throws(Errno) in try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY) }
    do throws(StoreError) {
      let status = try attempt(directory) { () throws(Errno) in try root.status() }
      guard status.owner == geteuid() else {
        throw StoreError(.notOwned, directory, detail: "user \(status.owner), and you are user \(geteuid())")
      }
      if options.isReadOnly {
        return try body(StoreLayout(directory, root, scratchLock: nil, scratch: FilePath([])))
      }
      try refuseRemote(root, directory, options)
      let lockPath = directory.appending("lock")
      let lock = try attempt(lockPath) { () throws(Errno) in try root.open("lock", O_RDWR | O_CREAT, mode: 0o600) }
      defer { lock.close() }
      try attempt(lockPath) { () throws(Errno) in try lock.holdLock(exclusive: true, waiting: true) }
      try makeEntries(root, directory, status)
      clearDeadScratch(root)
      let (scratch, scratchLock) = try makeScratch(root, directory)
      do throws(StoreError) {
        return try body(StoreLayout(directory, root, scratchLock: scratchLock, scratch: scratch))
      } catch {
        scratchLock.close()
        throw error
      }
    } catch {
      root.close()
      throw error
    }
  }

  private init(_ directory: FilePath, _ root: FileDescriptor, scratchLock: FileDescriptor?, scratch: FilePath) {
    self.directory = directory
    self.root = root
    self.scratchLock = scratchLock
    self.scratch = scratch
  }

  func close() {
    if scratchLock != nil {
      StoreLayout.clear(root, scratch)
      scratchLock?.close()
    }
    root.close()
  }

  // MARK: names

  /// `blobs/ab/cdef…`, or `inflated/…`; with `.zst` when compressed.
  static func path(_ area: String, _ digest: Digest, compressed: Bool = false) -> FilePath {
    let name = digest.hexadecimal
    return FilePath("\(area)/\(name.prefix(2))/\(name.dropFirst(2))\(compressed ? ".zst" : "")")
  }

  /// A name in this store's own part of `tmp`, never given twice.
  func scratchName() -> FilePath {
    scratch.appending("\(next.wrappingAdd(1, ordering: .relaxed).newValue)")
  }

  /// Moves a file of `tmp` to its place and makes the directory there when it is the first. `synchronizing`: has the disk
  /// hold that directory; the file's name in it is left to the caller.
  func place(_ name: FilePath, at path: FilePath, synchronizing: Bool = false) throws(StoreError) {
    try attempt(directory.appending(path)) { () throws(Errno) in
      do throws(Errno) { try root.rename(name, to: root, as: path) } catch {
        guard error == .noSuchFile else { throw error }
        do throws(Errno) { try root.makeDirectory(path.parent, mode: 0o700) } catch {
          guard error == .exists else { throw error }
        }
        if synchronizing { try synchronize(path.parent.parent) }
        try root.rename(name, to: root, as: path)
      }
    }
  }

  /// Has the disk hold a directory's names.
  func synchronize(_ directory: FilePath) throws(Errno) {
    let descriptor = try root.open(directory, O_RDONLY | O_DIRECTORY)
    defer { descriptor.close() }
    try descriptor.synchronize()
  }

  /// Removes a file that may be gone already; failing leaves an orphan, which `verify` finds.
  func discard(_ path: FilePath) { try? root.remove(path) }

  /// Bytes of log that removing some runs may take.
  private static let reserveSize: Int64 = 1 << 20

  /// Sets space aside, as far as there is some: removing rows takes log before it gives anything back.
  func makeReserve() {
    guard let file = try? root.open("reserve", O_WRONLY | O_CREAT | O_EXCL, mode: 0o600) else { return }
    defer { file.close() }
    if (try? file.allocate(size: StoreLayout.reserveSize)) == nil { discard("reserve") }
  }

  /// Gives the space up; false when there was none.
  func releaseReserve() -> Bool { (try? root.remove("reserve")) != nil }

  // MARK: making

  private static func makePath(_ path: FilePath) throws(StoreError) {
    do throws(Errno) { try FileDescriptor.workingDirectory.makeDirectory(path, mode: 0o700) } catch {
      switch error {
      case .exists: return
      case .noSuchFile where !path.parent.isEmpty && path.parent != path:
        try makePath(path.parent)
        do throws(Errno) { try FileDescriptor.workingDirectory.makeDirectory(path, mode: 0o700) } catch {
          if error != .exists { throw StoreError(error, path) }
        }
      default:
        // What is there on a read-only filesystem may still be read and give a better reason.
        guard error == .readOnlyFilesystem || error == .accessDenied,
          (try? FileDescriptor.workingDirectory.status(of: path)) != nil
        else { throw StoreError(error, path) }
      }
    }
  }

  /// The database's shared memory and locks are not to be trusted between machines.
  private static func refuseRemote(
    _ root: FileDescriptor, _ directory: FilePath, _ options: StoreOptions
  ) throws(StoreError) {
    guard options.journalMode == .wal else { return }
    let type = try attempt(directory) { () throws(Errno) in try root.filesystemType() }
    if let name = Store.remoteFilesystem(type) { throw StoreError(.noLocks, directory, detail: "it is \(name)") }
  }

  private static func makeEntries(
    _ root: FileDescriptor, _ directory: FilePath, _ status: FileStatus
  ) throws(StoreError) {
    let entries = try attempt(directory) { () throws(Errno) in try root.entries(of: ".") }
    // A directory that holds other things too, such as /tmp, keeps its mode; what is made in it is closed to others.
    if status.permissions != 0o700, entries.allSatisfy({ known.contains($0.name) }) {
      try attempt(directory) { () throws(Errno) in try root.setPermissions(0o700) }
    }
    for name in names where !entries.contains(where: { $0.name == name }) {
      try attempt(directory.appending(name)) { () throws(Errno) in try root.makeDirectory(name, mode: 0o700) }
    }
    // SQLite gives the files beside the database the database's mode.
    if !entries.contains(where: { $0.name == "casher.sqlite" }) {
      try attempt(directory.appending("casher.sqlite")) { () throws(Errno) in
        try root.open("casher.sqlite", O_RDWR | O_CREAT | O_EXCL, mode: 0o600).close()
      }
    }
  }

  private static func makeScratch(
    _ root: FileDescriptor, _ directory: FilePath
  ) throws(StoreError) -> (FilePath, FileDescriptor) {
    var generator = SystemRandomNumberGenerator()
    let name = FilePath("tmp/" + String(generator.next() as UInt64, radix: 16))
    return try attempt(directory.appending(name)) { () throws(Errno) in
      try root.makeDirectory(name, mode: 0o700)
      let descriptor = try root.open(name, O_RDONLY | O_DIRECTORY)
      do throws(Errno) { try descriptor.holdLock(exclusive: true, waiting: false) } catch {
        descriptor.close()
        throw error
      }
      return (name, descriptor)
    }
  }

  /// Clears what stores left that ended without closing. Only ever called under `lock`, as directories are made under
  /// it.
  private static func clearDeadScratch(_ root: FileDescriptor) {
    guard let entries = try? root.entries(of: "tmp") else { return }
    for entry in entries {
      let name = FilePath("tmp").appending(entry.name)
      guard let descriptor = try? root.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) else { continue }
      defer { descriptor.close() }
      guard (try? descriptor.holdLock(exclusive: true, waiting: false)) != nil else { continue }
      clear(root, name)
    }
  }

  private static func clear(_ root: FileDescriptor, _ name: FilePath) {
    guard let entries = try? root.entries(of: name) else { return }
    for entry in entries { try? root.remove(name.appending(entry.name)) }
    try? root.remove(name, directory: true)
  }
}

/// What tells that a file is the one that was put there, unchanged: any write, truncation or exchange moves one of
/// these.
struct FileStamp: Hashable, Sendable {
  var size: Int64
  var inode: Int64
  var modified: Int64
  var changed: Int64

  init(_ status: FileStatus) {
    size = status.size
    inode = Int64(bitPattern: status.key.inode)
    modified = status.modified
    changed = status.changed
  }

  init(size: Int64, inode: Int64, modified: Int64, changed: Int64) {
    self.size = size
    self.inode = inode
    self.modified = modified
    self.changed = changed
  }
}

/// Which boot of the machine this is: what was written in another one and not synced may have been lost.
enum Boot {
  static let current: Int64 = {
    guard let file = try? FileDescriptor.open("/proc/sys/kernel/random/boot_id", O_RDONLY) else { return 0 }
    defer { file.close() }
    guard let text = try? file.readAll(limit: 64) else { return 0 }
    return Int64(bitPattern: SHA256.digest(of: text).words.0)
  }()
}

extension Store {
  /// What a filesystem between machines is called, of which statfs(2) says `type`; nil for others.
  public static func remoteFilesystem(_ type: Int) -> String? {
    // linux/magic.h: NFS, SMB, CIFS, SMB2, 9P, Coda, AFS, Ceph.
    let remote: [Int: String] = [
      0x6969: "NFS", 0x517b: "SMB", 0xff53_4d42: "CIFS", 0xfe53_4d42: "SMB2", 0x0102_1997: "9P", 0x7375_7245: "Coda",
      0x6b41_4653: "AFS", 0x00c3_6400: "Ceph",
    ]
    return remote[type]
  }
}
