import CasherSystem
import Glibc

/// The journal as the last daemon left it, or the copy where that tells more.
extension PlacementJournal {
  /// Opens or makes the journal. `content`: what it holds. Where there is none, or it has lost what the copy still has,
  /// it is made from the copy.
  static func open(
    at path: FilePath, copy: JournalCopy?, isSynchronous: Bool
  ) throws(Errno) -> (journal: PlacementJournal, content: Content) {
    let copied = copy?.bytes
    if let copied, try isNeeded(copied, inPlaceOf: path) {
      // In one step: a journal that is there and empty would say that nothing was placed.
      try write(copied, inPlaceOf: path).close()
    }
    let file = try FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
    do throws(Errno) {
      if isSynchronous {
        // The names of the journal and of its directory may be new.
        try synchronizeDirectory(of: path)
        try synchronizeDirectory(of: path.parent)
      }
      let bytes = try file.readAll()
      var content = parse(bytes)
      if content.size < bytes.count {
        // Where the copy ends there too, what follows was no step that was completed.
        if let copied, copied == Array(bytes.prefix(Int(clamping: content.size))) { content.isDamaged = false }
        if content.isDamaged { try? keep(bytes, of: path) }
        try file.truncate(to: content.size)
      }
      let journal = PlacementJournal(
        path: path, file: file, size: content.size, copy: copy, isSynchronous: isSynchronous)
      return (journal, content)
    } catch {
      file.close()
      throw error
    }
  }

  /// Whether the copy tells more than the journal, which is written first and emptied last: only one that was cut short
  /// or written over has less.
  private static func isNeeded(_ copy: [UInt8], inPlaceOf path: FilePath) throws(Errno) -> Bool {
    guard try FileDescriptor.workingDirectory.statusIfPresent(of: path) != nil else { return true }
    let file = try FileDescriptor.open(path, O_RDONLY)
    defer { file.close() }
    let bytes = try file.readAll()
    let whole = parse(bytes).size
    return parse(copy).size > whole && copy.starts(with: bytes.prefix(Int(clamping: whole)))
  }

  /// Leaves what cannot be read for people to look at.
  private static func keep(_ bytes: [UInt8], of path: FilePath) throws(Errno) {
    try write(bytes, inPlaceOf: FilePath(path.bytes + Array(".damaged".utf8))).close()
  }

  static func synchronizeDirectory(of path: FilePath) throws(Errno) {
    let directory = try FileDescriptor.open(path.parent, O_RDONLY | O_DIRECTORY)
    defer { directory.close() }
    try directory.synchronize()
  }
}

/// What is in a store's care alone, for when that store cannot be opened.
public enum UnopenedJournal {
  /// The files that the journal at `path`, or its copy, has and that are not in `directory`, relative to it.
  public static func missing(_ path: FilePath?, copy: JournalCopy?, from directory: FilePath) -> [FilePath] {
    guard
      let content = [path.flatMap(read), copy?.bytes].compactMap({ $0.map(PlacementJournal.parse) }).max(by: {
        $0.size < $1.size
      })
    else { return [] }
    let names = content.entries.filter { entry in
      let status = try? FileDescriptor.workingDirectory.statusIfPresent(of: directory.appending(entry.path))
      guard let present = status ?? nil else { return true }
      // What is to be replaced is another file.
      return entry.ordinary == nil && present.key.inode == entry.covers?.inode
    }
    return names.map(\.path).sorted()
  }

  private static func read(_ path: FilePath) -> [UInt8]? {
    guard let file = try? FileDescriptor.open(path, O_RDONLY) else { return nil }
    defer { file.close() }
    return try? file.readAll()
  }
}
