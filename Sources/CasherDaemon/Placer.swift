import CLinux
import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem
import Glibc

/// Puts the outputs of a recorded run back: in the lower directory for what is inside the mount, and shows them in
/// every view.
///
/// Everything about how a hit's files come to stand in the tree is behind this type.
struct Placer {
  let tree: Tree
  let store: Store
  let digester: FileDigester
  let overlay: Overlay
  let runs: RunTable

  /// What could not be put in place; the command has to run.
  struct Failure: Error {
    let path: FilePath
    let cause: String
  }

  /// Places the outputs in their order, those that `policy` wants. `parent`: the run that the call was made in.
  func place(
    _ record: RunRecord, _ policy: CallOptions.Restore, for caller: Caller, within parent: Run?
  ) throws(Failure) {
    var directories = Directories(tree: tree)
    defer { directories.close() }
    let facets = Placer.facets(of: record)
    let time = Clock.now()
    if let parent { noteObservations(record, parent) }
    var permissionsLast: [(FilePath, UInt32)] = []
    for output in record.outputs where try isWanted(output, policy) {
      do throws(Errno) {
        guard Placer.isAcceptable(output.path) else { throw .invalid }
        let directory: OpenDirectory
        do throws(Errno) {
          directory = try directories.open(output.path.parent, isOutside: output.path.isAbsolute)
        } catch {
          // What is to be gone is gone with its directory.
          if case .removed = output.content, error == .noSuchFile || error == .notDirectory { continue }
          throw error
        }
        let name = output.path.lastComponent
        announce(output, name, directory, facets[output.path] ?? .probed, parent)
        try put(output, name, in: directory, caller, time, &permissionsLast)
        settle(output, name, directory, parent)
      } catch {
        throw Failure(path: output.path, cause: error.description)
      }
    }
    // A directory may forbid what was to be put into it, so its permission bits come last.
    for (path, permissions) in permissionsLast.reversed() {
      try? tree.with(path) { base, rest throws(Errno) in try base.setPermissions(of: rest, permissions) }
    }
  }

  private func isWanted(_ output: Output, _ policy: CallOptions.Restore) throws(Failure) -> Bool {
    switch policy {
    case .always: return true
    case .never: return false
    case .ifMissing:
      if case .removed = output.content { return false }
      do throws(Errno) { return try tree.status(of: output.path) == nil } catch {
        throw Failure(path: output.path, cause: error.description)
      }
    }
  }

  /// A manifest is data from outside: nothing that climbs, nothing that is no name.
  private static func isAcceptable(_ path: FilePath) -> Bool {
    guard !path.isEmpty, path.bytes.last != UInt8(ascii: "/") else { return false }
    return path.components.allSatisfy { $0 != "." && $0 != ".." && !$0.bytes.contains(0) && $0.bytes.count <= 255 }
  }

  private static func facets(of record: RunRecord) -> [FilePath: Touched.Facets] {
    var result: [FilePath: Touched.Facets] = [:]
    for condition in record.conditions where condition.observation.isInside && condition.observation.facet != .listing {
      if condition.role == .left { continue }
      let facets =
        condition.observation.facet == .entry && condition.role == .free
        ? .made : RunRecorder.facets(condition.observation.facet)
      result[condition.observation.path, default: []].formUnion(facets)
    }
    for observation in record.observations where observation.facet == .entry || observation.facet == .bytecode {
      result[observation.path, default: []].formUnion(.content)
    }
    return result
  }

  // MARK: runs in flight

  private func noteObservations(_ record: RunRecord, _ parent: Run) {
    for run in parent.lineage {
      run.record { recorder in
        for (observation, value) in zip(record.observations, record.values) {
          recorder.replayObserves(observation, value: value)
        }
        for condition in record.conditions {
          if condition.observation.isInside, condition.role != .decisive { continue }
          if condition.observation.isInside {
            recorder.replayObserves(condition.observation, value: condition.before)
          } else {
            recorder.outsideConditions.append(condition)
          }
        }
        recorder.outsideOutputs.append(contentsOf: record.outputs.filter { $0.path.isAbsolute })
      }
    }
  }

  private func announce(
    _ output: Output, _ name: FilePath, _ directory: OpenDirectory, _ facets: Touched.Facets, _ parent: Run?
  ) {
    guard !runs.isIdle, !output.path.isAbsolute else { return }
    let reference = DirectoryReference.located(directory.key, directory.path)
    runs.change(
      by: parent, .name(name, reference), own: { $0.willReplace(name, in: reference, facets) })
  }

  private func settle(_ output: Output, _ name: FilePath, _ directory: OpenDirectory, _ parent: Run?) {
    guard !output.path.isAbsolute else { return }
    let status = (try? directory.descriptor.statusIfPresent(of: name)) ?? nil
    if let parent {
      let reference = DirectoryReference.located(directory.key, directory.path)
      for run in parent.lineage {
        run.record { $0.didReplace(name, in: reference, status: status, modified: output.modified) }
      }
    }
    overlay.invalidateEntry(name, inDirectory: directory.key)
    overlay.invalidateInode(directory.key)
    if let status { overlay.invalidateInode(status.key) }
  }

  // MARK: one output

  private func put(
    _ output: Output, _ name: FilePath, in directory: OpenDirectory, _ caller: Caller, _ time: Int64,
    _ permissionsLast: inout [(FilePath, UInt32)]
  ) throws(Errno) {
    let parent = directory.descriptor
    let present = try parent.statusIfPresent(of: name)
    switch output.content {
    case .removed(let wasDirectory):
      guard let present else { return }
      guard (present.type == .directory) == wasDirectory else { throw .invalid }
      try acting(caller) { () throws(Errno) in try parent.remove(name, directory: wasDirectory) }
    case .directory:
      if present?.type != .directory {
        try acting(caller) { () throws(Errno) in
          if present != nil { try parent.remove(name) }
          try parent.makeDirectory(name, mode: output.permissions | 0o700)
        }
        try own(output, name, parent, caller)
      }
      if present?.permissions != output.permissions { permissionsLast.append((output.path, output.permissions)) }
    case .symlink(let target):
      if present?.type == .symlink, try parent.readLink(name) == target { return }
      try replace(name, in: parent, present, caller) { temporary throws(Errno) in
        try parent.makeSymlink(temporary, to: target)
      }
      try own(output, name, parent, caller)
    case .hardLink(let other):
      try tree.with(other) { base, rest throws(Errno) in
        let source = try base.status(of: rest)
        if let present, present.key == source.key { return }
        try replace(name, in: parent, present, caller) { temporary throws(Errno) in
          try base.link(rest, to: parent, as: temporary)
        }
      }
    case .fifo:
      if present?.type == .fifo { return }
      try replace(name, in: parent, present, caller) { temporary throws(Errno) in
        try parent.makeNode(temporary, mode: FileType.fifo.modeBits | output.permissions, device: 0)
      }
      try parent.setPermissions(of: name, output.permissions)
      try own(output, name, parent, caller)
    case .file(let digest, _, let inPlace):
      try putFile(output, digest, inPlace: inPlace, name, parent, present, caller, time)
    }
  }

  private func putFile(
    _ output: Output, _ digest: Digest, inPlace: Bool, _ name: FilePath, _ parent: FileDescriptor,
    _ present: FileStatus?, _ caller: Caller, _ time: Int64
  ) throws(Errno) {
    // One that Python goes on using is no worse than the recorded one, which may be for another time of the source.
    if let present, BytecodeCache.isName(output.path), BytecodeCache.isUsed(output.path, present, in: tree) { return }
    let modified = output.modified ?? time
    if let present, present.type == .regular, present.permissions == output.permissions,
      digester.remembered(present) == digest, overlay.inode(for: present.key)?.writableHandles ?? 0 == 0,
      output.keepsAttributes
    {
      // The content is there already; only the time is that of a run just made.
      try parent.setModified(of: name, modified)
      let now = try parent.status(of: name)
      if now.size == present.size, now.key == present.key, now.modified == modified { digester.keep(digest, for: now) }
      return
    }
    let content: BlobContent
    do { content = try store.blobContent(digest) } catch { throw .noData }
    defer { content.close() }
    if let present, present.type == .regular, inPlace, present.links > 1 {
      let file = try acting(caller) { () throws(Errno) in try parent.open(name, O_WRONLY | O_TRUNC | O_NOFOLLOW) }
      defer { file.close() }
      try fill(file, content)
      try finish(file, output, caller, modified)
      return
    }
    let kept = try keptAttributes(output, name, parent, present)
    try replace(name, in: parent, present, caller) { temporary throws(Errno) in
      let file = try parent.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: output.permissions & 0o777)
      defer { file.close() }
      try fill(file, content)
      for attribute in kept { try file.setAttribute(attribute.name, attribute.value) }
      try finish(file, output, caller, modified)
    }
    digester.keep(digest, for: try parent.status(of: name))
  }

  /// Gives an empty file its content.
  private func fill(_ file: FileDescriptor, _ content: BlobContent) throws(Errno) {
    switch content {
    case .bytes(let bytes): try file.writeAll(bytes)
    case .file(let source): try file.fill(from: source)
    }
  }

  /// The attributes of the file that stands there, when the command would have written into it.
  private func keptAttributes(
    _ output: Output, _ name: FilePath, _ parent: FileDescriptor, _ present: FileStatus?
  ) throws(Errno) -> [ExtendedAttribute] {
    guard output.keepsAttributes, present?.type == .regular else { return [] }
    let file = try parent.open(name, O_RDONLY | O_NOFOLLOW)
    defer { file.close() }
    return try ExtendedAttributes.userAttributes(of: file)
  }

  /// Owner, permission bits, attributes and time, in the order in which one does not undo another.
  private func finish(_ file: FileDescriptor, _ output: Output, _ caller: Caller, _ modified: Int64) throws(Errno) {
    try own(output, FilePath([]), file, caller)
    try file.setPermissions(output.permissions)
    for attribute in output.attributes { try file.setAttribute(attribute.name, attribute.value) }
    try file.setModified(modified)
  }

  /// Gives the output the recorded owner; only root can have made it another's than the caller's.
  private func own(_ output: Output, _ name: FilePath, _ directory: FileDescriptor, _ caller: Caller) throws(Errno) {
    guard caller.user == 0, geteuid() == 0, let owner = output.owner else { return }
    let now = name.isEmpty ? try directory.status() : try directory.status(of: name)
    guard now.owner != owner.user || now.group != owner.group else { return }
    try directory.setOwner(of: name, user: owner.user, group: owner.group)
  }

  /// Makes something new under a temporary name, then gives it its own in one step.
  private func replace(
    _ name: FilePath, in parent: FileDescriptor, _ present: FileStatus?, _ caller: Caller,
    _ make: (FilePath) throws(Errno) -> Void
  ) throws(Errno) {
    let temporary = FilePath(".casher-\(String(UInt64.random(in: .min ... .max), radix: 36))")
    try acting(caller) { () throws(Errno) in
      do throws(Errno) {
        try make(temporary)
        // What was in the directory has been removed before this, or the directory is not the one that was recorded.
        if present?.type == .directory { try parent.remove(name, directory: true) }
        try parent.rename(temporary, to: parent, as: name)
      } catch {
        try? parent.remove(temporary)
        throw error
      }
    }
  }

  private func acting<Result>(_ caller: Caller, _ body: () throws(Errno) -> Result) throws(Errno) -> Result {
    try Credentials.actingAs(user: caller.user, group: caller.group, groups: caller.groups, body)
  }
}

/// A directory that outputs are put into.
struct OpenDirectory {
  let descriptor: FileDescriptor
  let key: InodeKey
  let path: FilePath
}

/// The directories of one placing, each opened once, one component at a time and never through a symlink.
private struct Directories {
  let tree: Tree
  private var open: [FilePath: OpenDirectory] = [:]

  init(tree: Tree) { self.tree = tree }

  mutating func open(_ path: FilePath, isOutside: Bool) throws(Errno) -> OpenDirectory {
    if let known = open[path] { return known }
    let descriptor: FileDescriptor
    let flags = Int32(CASHER_O_PATH) | O_DIRECTORY
    if path.isEmpty {
      descriptor = try tree.root.open(".", flags)
    } else if isOutside {
      // Outside the mount a path is used as the command used it, symlinks included.
      descriptor = try FileDescriptor.open(path, flags)
    } else {
      let parent = try open(path.parent, isOutside: false)
      descriptor = try parent.descriptor.open(path.lastComponent, flags | O_NOFOLLOW)
    }
    let directory: OpenDirectory
    do throws(Errno) {
      directory = OpenDirectory(descriptor: descriptor, key: try descriptor.status().key, path: path)
    } catch {
      descriptor.close()
      throw error
    }
    open[path] = directory
    return directory
  }

  mutating func close() {
    for directory in open.values { directory.descriptor.close() }
    open = [:]
  }
}
