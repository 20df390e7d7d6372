import CLinux
import CasherSystem
import Glibc

/// A file that was shown and cannot be had.
public struct Missing: Sendable {
  /// Relative to the mount's root.
  public let path: FilePath
  public let reason: String

  public init(path: FilePath, reason: String) {
    self.path = path
    self.reason = reason
  }

  public static let goneDirectory = "its directory is gone"
  public static let goneContent = "its content is no longer in the cache"
}

/// What the journal tells of a file that cannot be had.
public struct LostFile: Sendable {
  let entry: JournalEntry
  /// Where it was, and why it cannot be had.
  public let missing: Missing
}

/// What came of reading the journal of a mount that did not end as it should.
public struct Recovery: Sendable {
  /// Files that are placed again.
  public var files = 0
  public var bytes: Int64 = 0
  public var lost: [Missing] = []
  /// Files that may have been shown, when nothing tells any more.
  public var suspected: [Missing] = []
  /// The journal ended in something that cannot be read: a step that was not completed, or damage.
  public var wasTorn = false
  public static let tornReason =
    "the list of files that were only in the cache is damaged: those that were placed last may be missing"

  public init() {}
}

extension JournalEntry {
  fileprivate func lost(at path: FilePath, _ reason: String) -> LostFile {
    LostFile(entry: self, missing: Missing(path: path, reason: reason))
  }
}

extension Overlay {
  /// Places what the journal says was placed when the last daemon ended. To be called once, before `mount`.
  public func recover() -> Recovery {
    var recovery = Recovery()
    recovery.wasTorn = journalled.isDamaged
    guard !journalled.entries.isEmpty, let blobs = placements.blobs else { return recovery }
    var kept: [LostFile] = []
    let groups = Dictionary(grouping: journalled.entries) { DirectoryIdentity($0.directory) }
    let found = findDirectories(groups)
    for (identity, entries) in groups {
      guard let directory = found[identity] else {
        for entry in entries where entry.ordinary?.boot != BootNumber.current && !isMadeAgain(entry) {
          kept.append(entry.lost(at: entry.path, Missing.goneDirectory))
        }
        continue
      }
      removeTemporaries(in: directory)
      var files: [(name: FilePath, file: PlacedFile)] = []
      for entry in entries {
        let path = table.path(of: directory.inode).appending(entry.name)
        do throws(Errno) {
          let hidden = try standing(entry, in: directory, blobs)
          // What stands in lower and was not to be replaced came after.
          if hidden == .newer { continue }
          guard blobs.has(entry.file.blob) else {
            kept.append(entry.lost(at: path, Missing.goneContent))
            continue
          }
          if hidden == .covered { try removeCovered(entry, in: directory) }
          files.append((entry.name, entry.file))
          recovery.files += 1
          recovery.bytes &+= entry.file.size
        } catch {
          kept.append(entry.lost(at: path, error.description))
        }
      }
      placements.add(files, to: directory.inode)
    }
    recovery.lost = kept.map(\.missing).sorted { $0.path < $1.path }
    placements.setLost(kept)
    try? compactJournal()
    return recovery
  }

  /// Looks again for what could not be had: places what can be by now, and forgets that in whose place something stands.
  /// Gives what it has placed.
  public func recoverLost() -> [PlacedFile] {
    guard let blobs = placements.blobs, !placements.lost.isEmpty else { return [] }
    var placed: [PlacedFile] = []
    var kept: [LostFile] = []
    let lost = placements.lost.map(\.entry)
    let found = findDirectories(Dictionary(grouping: lost) { DirectoryIdentity($0.directory) })
    for entry in lost {
      guard let directory = found[DirectoryIdentity(entry.directory)] else {
        if !isMadeAgain(entry) { kept.append(entry.lost(at: entry.path, Missing.goneDirectory)) }
        continue
      }
      // Why it is still not to be had; nil when it is, or need not be.
      let obstacle = placements.names.with(directory.identity) { () -> String? in
        if placements.file(entry.name, in: directory.identity) != nil { return nil }
        do throws(Errno) {
          let hidden = try standing(entry, in: directory, blobs)
          if hidden == .newer { return nil }
          guard blobs.has(entry.file.blob) else { return Missing.goneContent }
          if hidden == .covered { try removeCovered(entry, in: directory) }
        } catch { return error.description }
        placements.add([(entry.name, entry.file)], to: directory.inode)
        table.renames.add(1, ordering: .sequentiallyConsistent)
        placed.append(entry.file)
        return nil
      }
      if let obstacle {
        kept.append(entry.lost(at: table.path(of: directory.inode).appending(entry.name), obstacle))
      } else {
        invalidateEntry(entry.name, inDirectory: directory.key, .isThere)
      }
    }
    placements.setLost(kept)
    try? compactJournal()
    return placed
  }

  /// Gives up what could not be had when the journal was read.
  public func forgetLost() throws(Errno) {
    let lost = placements.lost
    placements.setLost([])
    do throws(Errno) { try compactJournal() } catch {
      placements.setLost(lost)
      throw error
    }
  }

  private struct DirectoryIdentity: Hashable {
    var inode: UInt64
    var birth: UInt32

    init(inode: UInt64, birth: UInt32) {
      self.inode = inode
      self.birth = birth
    }

    init(_ directory: PinnedDirectory) {
      self.init(inode: directory.key.inode, birth: directory.identity.birth)
    }

    init(_ directory: JournalEntry.Directory) { self.init(inode: directory.inode, birth: directory.birth) }
  }

  /// Each where the journal says that it was, else by a walk over all of lower.
  private func findDirectories(
    _ groups: [DirectoryIdentity: [JournalEntry]]
  ) -> [DirectoryIdentity: PinnedDirectory] {
    var found: [DirectoryIdentity: PinnedDirectory] = [:]
    for (identity, entries) in groups {
      guard let hint = entries.last?.directory.path, let directory = try? pinDirectory(hint) else { continue }
      if DirectoryIdentity(inode: directory.key.inode, birth: directory.identity.birth) == identity {
        found[identity] = directory
      }
    }
    guard found.count < groups.count else { return found }
    var open: [FilePath] = [FilePath([])]
    while let path = open.popLast(), found.count < groups.count {
      guard let directory = try? pinDirectory(path) else { continue }
      let identity = DirectoryIdentity(inode: directory.key.inode, birth: directory.identity.birth)
      if groups[identity] != nil { found[identity] = directory }
      let names = try? directory.withDescriptor { descriptor throws(Errno) in
        let listed = try descriptor.open(".", O_RDONLY | O_DIRECTORY)
        defer { listed.close() }
        return try listed.entries()
      }
      for entry in names ?? [] where entry.type == .directory || entry.type == .unknown {
        open.append(path.appending(entry.name))
      }
    }
    return found
  }

  /// Whether something stands at the path of a file whose directory is gone. Where inode numbers do not last, that may be
  /// what the file was put in place of, or what was left of it at a loss of power: then nothing is known.
  private func isMadeAgain(_ entry: JournalEntry) -> Bool {
    guard entry.covers == nil, entry.ordinary == nil, let directory = try? pinDirectory(entry.directory.path) else {
      return false
    }
    if placements.file(entry.name, in: directory.identity) != nil { return true }
    let status = try? directory.withDescriptor { descriptor throws(Errno) in
      try descriptor.statusIfPresent(of: entry.name)
    }
    return (status ?? nil) != nil
  }

  private enum Standing {
    case nothing
    /// What the placed file was put in place of.
    case covered
    case newer
  }

  private func standing(
    _ entry: JournalEntry, in directory: PinnedDirectory, _ blobs: any BlobSource
  ) throws(Errno) -> Standing {
    // Whatever stands there or not, the file was ordinary.
    if entry.ordinary?.boot == BootNumber.current { return .newer }
    do throws(Errno) {
      let found = try directory.withDescriptor { descriptor throws(Errno) in
        try entry.name.withCString { name throws(Errno) in try descriptor.statusAndBirth(of: name) }
      }
      if let ordinary = entry.ordinary {
        // The machine has stopped since, perhaps before all of it was on the disk. Another time than the one that it got
        // says that someone has written to it.
        guard covered(found) == ordinary.file, found.status.modified == entry.file.modified else { return .newer }
        return try isWhole(entry, in: directory, blobs) ? .newer : .covered
      }
      return covered(found) == entry.covers ? .covered : .newer
    } catch {
      if error == .noSuchFile { return .nothing }
      throw error
    }
  }

  /// Whether the file of lower has the content of the blob, as far as that can be told.
  private func isWhole(
    _ entry: JournalEntry, in directory: PinnedDirectory, _ blobs: any BlobSource
  ) throws(Errno) -> Bool {
    let file = try directory.withDescriptor { descriptor throws(Errno) in
      try descriptor.open(entry.name, O_RDONLY | O_NOFOLLOW)
    }
    defer { file.close() }
    if try file.status().size != entry.file.size { return false }
    let blob = try blobs.open(entry.file.blob)
    defer { blob.close() }
    let size = 1 << 16
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * size, alignment: 16)
    defer { buffer.deallocate() }
    let mine = UnsafeMutableRawBufferPointer(rebasing: buffer[..<size])
    var position: Int64 = 0
    while position < entry.file.size {
      let count = try file.read(into: mine, at: position)
      let other = UnsafeMutableRawBufferPointer(rebasing: buffer[size..<(size + count)])
      guard count > 0, try blob.read(into: other, at: position) == count,
        mine.prefix(count).elementsEqual(other)
      else { return false }
      position += Int64(count)
    }
    return true
  }

  private func removeCovered(_ entry: JournalEntry, in directory: PinnedDirectory) throws(Errno) {
    try directory.withDescriptor { descriptor throws(Errno) in
      let isDirectory = try descriptor.status(of: entry.name).type == .directory
      try descriptor.remove(entry.name, directory: isDirectory)
    }
  }

  /// What was being made an ordinary file when the daemon ended, where lower makes no files without a name.
  private func removeTemporaries(in directory: PinnedDirectory) {
    try? directory.withDescriptor { descriptor throws(Errno) in
      let listed = try descriptor.open(".", O_RDONLY | O_DIRECTORY)
      defer { listed.close() }
      for entry in try listed.entries() where entry.name.bytes.starts(with: NamelessFile.prefix) {
        try? descriptor.remove(entry.name)
      }
    }
  }
}
