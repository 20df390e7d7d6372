import CLinux
import CasherSystem
import Glibc

/// A file of lower that is made and has no name yet, or only a temporary one.
struct NamelessFile {
  let descriptor: FileDescriptor
  private let directory: FileDescriptor
  /// Where the filesystem makes no files without a name.
  private let temporary: FilePath?

  /// What names of such files begin with; they are never shown, and removed when they are found after a crash.
  static let prefix = Array(".casher-placed-".utf8)

  static func temporaryName() -> FilePath {
    FilePath(prefix + Array(String(UInt64.random(in: .min ... .max), radix: 36).utf8))
  }

  static func isTemporary(_ name: UnsafePointer<CChar>) -> Bool {
    // Most names begin otherwise.
    name[0] == 46 && name[1] == 99 && FilePath(cString: name).bytes.starts(with: prefix)
  }

  /// An empty file in the directory, which may be O_PATH and has to stay open.
  init(in directory: FileDescriptor) throws(Errno) {
    self.directory = directory
    do throws(Errno) {
      descriptor = try directory.open(".", Int32(CASHER_O_TMPFILE) | O_RDWR, mode: 0o600)
      temporary = nil
    } catch {
      guard [EOPNOTSUPP, EISDIR, EINVAL, ENOENT].contains(error.rawValue) else { throw error }
      let name = NamelessFile.temporaryName()
      descriptor = try directory.open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600)
      temporary = name
    }
  }

  /// Makes it what a placed file is, with the content of `blob`, or empty without one.
  func fill(with file: PlacedFile, from blob: FileDescriptor?) throws(Errno) {
    if let blob {
      try descriptor.fill(from: blob)
      guard try descriptor.status().size == file.size else { throw .ioError }
    }
    let made = try descriptor.status()
    if made.owner != file.user || made.group != file.group {
      try descriptor.setOwnerOfPath(user: file.user, group: file.group)
    }
    try descriptor.setPermissions(file.permissions)
    for attribute in file.attributes { try descriptor.setAttribute(attribute.name, attribute.value) }
    let time = PlacedFile.time(file.modified)
    try descriptor.setTimesOfPath(accessed: time, modified: time)
  }

  /// Gives it its name; EEXIST when something has that already.
  func link(as name: FilePath) throws(Errno) {
    if let temporary {
      try directory.rename(temporary, to: directory, as: name, flags: UInt32(CASHER_RENAME_NOREPLACE))
    } else {
      try name.withCString { name throws(Errno) in try descriptor.linkSelf(to: directory, as: name) }
    }
  }

  /// Leaves it without a name.
  func discardName() {
    if let temporary { try? directory.remove(temporary) }
  }
}

extension FileDescriptor {
  /// Changes what is in the directory, which may be O_PATH, so that its times stay. The status change time moves.
  func keepingTimes(_ body: () throws(Errno) -> Void) throws(Errno) {
    let before = try status()
    try body()
    try setTimesOfPath(accessed: before.raw.st_atim, modified: before.raw.st_mtim)
  }
}
