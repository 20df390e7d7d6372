import CasherSystem
import Glibc

/// A directory of lower that files are placed in, held until the last reference goes.
public final class PinnedDirectory: Sendable {
  let inode: Inode

  /// Takes over a pin.
  fileprivate init(_ inode: Inode) { self.inode = inode }

  deinit { inode.table.unpin(inode) }

  public var key: InodeKey { inode.key }
  public var identity: DirectoryKey { inode.directoryKey }

  /// Calls `body` with an O_PATH descriptor of lower.
  public func withDescriptor<Result>(_ body: (FileDescriptor) throws(Errno) -> Result) throws(Errno) -> Result {
    try inode.withDescriptor(body)
  }
}

/// One file to be placed.
public struct Placing: Sendable {
  public let directory: PinnedDirectory
  public let name: FilePath
  public let file: PlacedFile

  public init(directory: PinnedDirectory, name: FilePath, file: PlacedFile) {
    self.directory = directory
    self.name = name
    self.file = file
  }
}

/// Which file could not be placed, and why.
public struct PlacingFailure: Error {
  public let index: Int
  public let cause: Errno
}

/// Placing files.
extension Overlay {
  /// The directory at a path relative to the root, no name of which is a symlink.
  public func pinDirectory(_ path: FilePath) throws(Errno) -> PinnedDirectory {
    PinnedDirectory(try table.pinDirectory(path, root: rootInode))
  }

  /// Whether files can be placed at all.
  public var canPlace: Bool { placements.blobs != nil && placements.journal != nil && !placements.isClosed }

  /// Nothing is placed any more, also not by who is about to.
  public func endPlacing() { placements.names.withEverything { placements.close() } }

  /// Shows files in place of what stands at their names; EISDIR where that is a directory. The blobs must be kept from
  /// then on. All of them are journalled in one step before the first is shown; when this throws, each file is either as
  /// it was or placed.
  public func place(_ placings: [Placing]) throws(PlacingFailure) {
    guard let journal = placements.journal, !placings.isEmpty else { return }
    let groups = Dictionary(grouping: placings.indices) { placings[$0].directory.identity }
    try placements.names.with(all: Array(groups.keys)) { () throws(PlacingFailure) in
      if placements.isClosed { throw PlacingFailure(index: 0, cause: .readOnlyFilesystem) }
      var plan: [Planned] = []
      plan.reserveCapacity(placings.count)
      for indices in groups.values { try self.plan(indices, placings, &plan) }
      do throws(Errno) {
        if journal.isSynchronous {
          try makeDurable(groups.values.compactMap(\.first).map { placings[$0].directory })
        }
        try journal.append(items(plan), placing: plan.count, besides: placements.count)
      } catch { throw PlacingFailure(index: plan.first?.index ?? 0, cause: error) }
      try show(plan)
    }
  }

  /// Has lower's disk hold the directories, which may be new, with all that lead to them: a placed file is had again only
  /// where its directory is.
  private func makeDurable(_ directories: [PinnedDirectory]) throws(Errno) {
    for directory in directories where !placements.isDurable(directory.identity) {
      var path = table.path(of: directory.inode)
      while true {
        let opened = try rootDescriptor.open(path.isEmpty ? "." : path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        defer { opened.close() }
        try opened.synchronize()
        if path.isEmpty { break }
        path = path.parent
      }
      placements.didMakeDurable(directory.identity)
    }
  }

  private struct Planned {
    var index: Int
    var placing: Placing
    var file: PlacedFile
    /// The placed file that is replaced.
    var former: PlacedFile?
    var covered: (status: FileStatus, birth: Int64)?
  }

  private func plan(_ indices: [Int], _ placings: [Placing], _ plan: inout [Planned]) throws(PlacingFailure) {
    guard let first = indices.first else { return }
    let directory = placings[first].directory.inode
    let present = placements.files(in: directory.directoryKey)
    var index = first
    do throws(Errno) {
      try directory.withDescriptor { descriptor throws(Errno) in
        guard try descriptor.status().links > 0 else { throw .noSuchFile }
        let names = NamesBeneath(descriptor)
        for next in indices {
          index = next
          let placing = placings[index]
          var planned = Planned(index: index, placing: placing, file: placing.file)
          if let former = present[placing.name] {
            // The same again: only the time is another.
            if former.isSame(as: placing.file), former.run == placing.file.run {
              planned.file = former.with(modified: placing.file.modified, changed: placing.file.changed)
            }
            planned.former = former
          } else if names.mayHave(placing.name) {
            planned.covered = try found(placing.name, in: descriptor)
            if planned.covered?.status.type == .directory { throw .isDirectory }
          }
          plan.append(planned)
        }
      }
    } catch { throw PlacingFailure(index: index, cause: error) }
  }

  /// What lower has at a name.
  private func found(
    _ name: FilePath, in directory: FileDescriptor
  ) throws(Errno) -> (status: FileStatus, birth: Int64)? {
    do throws(Errno) {
      return try name.withCString { name throws(Errno) in try directory.statusAndBirth(of: name) }
    } catch {
      if error == .noSuchFile { return nil }
      throw error
    }
  }

  private func items(_ plan: [Planned]) -> [JournalItem] {
    var items: [JournalItem] = []
    items.reserveCapacity(plan.count + 16)
    var directory: Inode?
    for planned in plan {
      let inode = planned.placing.directory.inode
      if let former = planned.former, former.number == planned.file.number {
        items.append(
          .times(former.number, modified: planned.file.modified, changed: planned.file.changed))
        continue
      }
      if inode !== directory {
        items.append(.directory(journalDirectory(inode)))
        directory = inode
      }
      items.append(.place(name: planned.placing.name, planned.file, covers: covered(planned.covered)))
    }
    return items
  }

  func journalDirectory(_ inode: Inode) -> JournalEntry.Directory {
    JournalEntry.Directory(inode: inode.key.inode, birth: inode.birth, path: table.path(of: inode))
  }

  func covered(_ found: (status: FileStatus, birth: Int64)?) -> JournalEntry.Covered? {
    found.map { JournalEntry.Covered(inode: $0.status.key.inode, birth: Inode.birthBits($0.birth)) }
  }

  private func show(_ plan: [Planned]) throws(PlacingFailure) {
    var begin = 0
    var failure: PlacingFailure?
    while begin < plan.count {
      let directory = plan[begin].placing.directory.inode
      let end = plan[begin...].firstIndex { $0.placing.directory.inode !== directory } ?? plan.count
      show(plan[begin..<end], in: directory, &failure)
      begin = end
    }
    if let failure { throw failure }
  }

  private func show(_ plan: ArraySlice<Planned>, in directory: Inode, _ failure: inout PlacingFailure?) {
    placements.add(plan.map { ($0.placing.name, $0.file) }, to: directory)
    let now = Clock.now()
    for planned in plan {
      guard let former = planned.former else { continue }
      table.update(former.number == planned.file.number ? planned.file : former.unlinked(at: now))
    }
    table.renames.add(1, ordering: .sequentiallyConsistent)
    do throws(Errno) {
      try directory.withDescriptor { descriptor throws(Errno) in
        for planned in plan {
          guard let covered = planned.covered else { continue }
          let held = hold(covered)
          do throws(Errno) {
            try descriptor.remove(planned.placing.name, directory: covered.status.type == .directory)
          } catch {
            if let held { table.pool.release(held) }
            // What stands in lower is seen again.
            placements.drop(planned.file.number)
            table.renames.add(1, ordering: .sequentiallyConsistent)
            try? placements.journal?.append([.drop(planned.file.number)])
            failure = PlacingFailure(index: planned.index, cause: error)
            continue
          }
          if let held { settle(held, covered.status.key, through: nil) }
        }
        if plan.contains(where: { $0.former?.number != $0.file.number }) { try? touch(descriptor) }
      }
    } catch {
      // Nothing is covered then, or the directory could not have been looked at before.
    }
    invalidate(plan, in: directory)
  }

  /// A name in the directory has changed that lower does not know of.
  func touch(_ directory: FileDescriptor) throws(Errno) {
    try directory.setTimesOfPath(
      accessed: timespec(tv_sec: 0, tv_nsec: TimeMarks.omit), modified: timespec(tv_sec: 0, tv_nsec: TimeMarks.now))
  }

  private func invalidate(_ plan: ArraySlice<Planned>, in directory: Inode) {
    let names = plan.filter { $0.former?.number != $0.file.number }.map(\.placing.name)
    if !names.isEmpty {
      directory.didChangeNames()
      notifier.send(table.nodes(of: directory, except: nil).map { .entries($0, names, .isThere) })
    }
    for planned in plan where planned.former != nil {
      guard let number = planned.former?.number, let inode = table.inode(for: PlacedFile.key(of: number)) else {
        continue
      }
      notifier.send(table.nodes(of: inode, except: nil).map { .attributes($0) })
    }
  }

  // MARK: what loses its name in lower

  /// An inode of lower that is about to lose a name, if the kernel knows it, kept open until `settle`.
  func hold(_ found: (status: FileStatus, birth: Int64)) -> Inode? {
    guard let inode = table.inode(for: placements.identified(found.status, birth: found.birth).key),
      (try? table.pool.acquire(inode)) != nil
    else { return nil }
    return inode
  }

  /// Without any name left, lower's inode can be reached through its descriptor alone. `view`: whose kernel knows of the
  /// change; nil where it came through none.
  func settle(_ inode: Inode, _ lower: InodeKey, through view: View?) {
    if let status = try? inode.status(), status.links == 0 || inode.isDirectory {
      table.pool.keepForever(inode)
      placements.removeAlias(lower)
    }
    table.pool.release(inode)
    didChangeAttributes(of: inode, through: view)
  }
}

extension Overlay {
  /// Calls `body`, which changes what lower has at a name, while nobody else changes names of the directory. A placed
  /// file that stands there is gone afterwards, also when `body` had nothing to do. `keepsDirectory`: a directory that
  /// stands there stays, so that placed files in it do not matter.
  public func changeName(
    _ name: FilePath, in directory: PinnedDirectory, keepsDirectory: Bool, _ body: () throws(Errno) -> Void
  ) throws(Errno) {
    try directory.withDescriptor { descriptor throws(Errno) in
      let present = try found(name, in: descriptor)
      var concerned = [directory.identity]
      if let present, present.status.type == .directory { concerned.append(DirectoryKey(present)) }
      try placements.names.with(all: concerned) { () throws(Errno) in
        let file = placements.file(name, in: directory.identity)
        if !keepsDirectory, let present, present.status.type == .directory,
          placements.hasFiles(in: DirectoryKey(present))
        {
          throw .directoryNotEmpty
        }
        try body()
        guard let file else { return }
        try placements.journal?.append([.drop(file.number)])
        unname(file, through: nil)
        try? touch(descriptor)
      }
    }
  }
}
