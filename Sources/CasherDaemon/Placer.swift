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
  let blobs: PlacedBlobs
  let runs: RunTable
  let rootView: RootView

  /// What could not be put in place; the command has to run.
  struct Failure: Error {
    let path: FilePath
    let cause: String
  }

  /// Places the outputs in their order, those that `policy` wants, as those of `run`. `parent`: the run that the call was
  /// made in.
  func place(
    _ record: RunRecord, of run: Digest, _ policy: CallOptions.Restore, for caller: Caller, within parent: Run?
  ) throws(Failure) {
    var directories = Directories(tree: tree)
    defer { directories.close() }
    var batch = PlacingBatch(record, run: run, overlay: overlay, caller: caller)
    var facets = OutputFacets(record)
    let time = Clock.now()
    if let parent { noteObservations(record, parent) }
    var permissionsLast: [(FilePath, UInt32)] = []
    var steps = PlacingSteps()
    func openParent(of output: Output) throws(Errno) -> OpenDirectory? {
      guard Placer.isAcceptable(output.path) else { throw .invalid }
      do throws(Errno) {
        return try directories.open(output.path.parent, isOutside: output.path.isAbsolute)
      } catch {
        // What is to be gone is gone with its directory.
        if case .removed = output.content, error == .noSuchFile || error == .notDirectory { return nil }
        throw error
      }
    }
    func put(_ step: PlacingSteps.Step) throws(Failure) {
      let (output, directory) = (step.output, step.directory)
      do throws(Errno) {
        try changeName(of: output, in: directory) { () throws(Errno) in
          try self.put(
            output, output.path.lastComponent, in: directory.descriptor, caller, time, &permissionsLast)
        }
        settle(output, output.path.lastComponent, directory, parent)
        // It has a link less, which its other names show.
        if let former = step.former, !output.path.isAbsolute { overlay.invalidateInode(former.key) }
      } catch {
        throw Failure(path: output.path, cause: error.description)
      }
    }
    func begin(_ output: Output) throws(Failure) {
      let step: PlacingSteps.Step
      do throws(Errno) {
        guard let directory = try openParent(of: output) else { return }
        let name = output.path.lastComponent
        announce(output, name, directory, &facets, parent)
        if try take(output, name, directory, caller, time, &batch) { return }
        let former = try tree.lowerStatus(of: name, in: directory.descriptor)
        var isPlaced = false
        if tree.placements.mayHave(name) {
          isPlaced = tree.placements.file(name, in: directory.identity) != nil
        }
        step = PlacingSteps.Step(
          output: output, directory: directory, former: former, isNew: former == nil && !isPlaced)
      } catch {
        throw Failure(path: output.path, cause: error.description)
      }
      if steps.take(step) { try put(step) }
    }
    let order = PlacingSteps.order(record.outputs)
    do throws(Failure) {
      for output in order.first where try isWanted(output, policy) { try begin(output) }
      try place(batch, within: parent)
    } catch {
      // The command has to find the names missing that it is about to make.
      for step in steps.undoing { try? put(step) }
      throw error
    }
    for output in order.middle where try isWanted(output, policy) { try begin(output) }
    for step in steps.late { try put(step) }
    for output in order.last where try isWanted(output, policy) { try begin(output) }
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
    var (length, dots) = (0, 0)
    for byte in path.bytes + [UInt8(ascii: "/")] {
      if byte == UInt8(ascii: "/") {
        if length > 255 || 1...2 ~= length && dots == length { return false }
        (length, dots) = (0, 0)
        continue
      }
      if byte == 0 { return false }
      length += 1
      if byte == UInt8(ascii: ".") { dots += 1 }
    }
    return true
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
    _ output: Output, _ name: FilePath, _ directory: OpenDirectory, _ known: inout OutputFacets, _ parent: Run?
  ) {
    guard !runs.isIdle, !output.path.isAbsolute else { return }
    let facets = known.facets(of: output.path)
    let reference = DirectoryReference.located(directory.key, directory.path)
    runs.change(
      by: parent, .name(name, reference), own: { $0.willReplace(name, in: reference, facets) })
  }

  private func settle(_ output: Output, _ name: FilePath, _ directory: OpenDirectory, _ parent: Run?) {
    guard !output.path.isAbsolute else {
      rootView.present?.invalidate(FilePath(output.path.bytes.dropFirst()))
      return
    }
    let status = (try? tree.lowerStatus(of: name, in: directory.descriptor)) ?? nil
    if let parent {
      let reference = DirectoryReference.located(directory.key, directory.path)
      for run in parent.lineage {
        run.record { $0.didReplace(name, in: reference, status: status, modified: output.modified) }
      }
    }
    overlay.invalidateEntry(name, inDirectory: directory.key, status == nil ? .isGone : .isThere)
    overlay.invalidateInode(directory.key)
    if let status { overlay.invalidateInode(status.key) }
  }

  // MARK: placing

  /// Takes a file into the batch; false when it is to be put there as an ordinary file, or left as it is.
  private func take(
    _ output: Output, _ name: FilePath, _ directory: OpenDirectory, _ caller: Caller, _ time: Int64,
    _ batch: inout PlacingBatch
  ) throws(Errno) -> Bool {
    guard case .file(let digest, _, let inPlace) = output.content, overlay.canPlace, !output.path.isAbsolute else {
      return false
    }
    let placed = tree.placements.file(name, in: directory.identity)
    var present = placed?.status
    if present == nil, directory.names.mayHave(name) {
      present = try tree.lowerStatus(of: name, in: directory.descriptor)
    }
    if present?.type == .directory {
      // What was in it has been removed before this, or it is not the directory that was recorded.
      let pinned = try overlay.pinDirectory(directory.path)
      try overlay.changeName(name, in: pinned, keepsDirectory: false) { () throws(Errno) in
        try acting(caller) { () throws(Errno) in try directory.descriptor.remove(name, directory: true) }
      }
      present = nil
    }
    if let present {
      if inPlace, present.type == .regular, present.links > 1 { return false }
      if BytecodeCache.isName(output.path), BytecodeCache.isUsed(output.path, present, in: tree) { return false }
      if placed == nil, isThere(output, digest, present, caller) { return false }
    }
    var kept: [ExtendedAttribute] = []
    if output.keepsAttributes, let placed {
      kept = placed.attributes.map { ExtendedAttribute(name: $0.name, value: $0.value) }
    } else {
      kept = try keptAttributes(output, name, directory.descriptor, present)
    }
    return try batch.add(output, in: directory, present: present, keeping: kept, modified: output.modified ?? time)
  }

  private func place(_ batch: PlacingBatch, within parent: Run?) throws(Failure) {
    guard !batch.placings.isEmpty else { return }
    try blobs.placing(batch.run) { () throws(Failure) in
      do throws(PlacingFailure) { try overlay.place(batch.placings) } catch {
        throw Failure(path: batch.outputs[error.index].output.path, cause: error.cause.description)
      }
    } orElse: {
      Failure(path: batch.outputs[0].output.path, cause: "\($0)")
    }
    guard let parent else { return }
    for (placing, (output, directory)) in zip(batch.placings, batch.outputs) {
      let reference = DirectoryReference.located(directory.key, directory.path)
      let status = tree.placements.file(placing.name, in: placing.directory.identity)?.status
      for run in parent.lineage {
        run.record { $0.didReplace(placing.name, in: reference, status: status, modified: output.modified) }
      }
    }
  }

  /// Calls `body`, which puts an output to where others may look and place at the same time.
  private func changeName(
    of output: Output, in directory: OpenDirectory, _ body: () throws(Errno) -> Void
  ) throws(Errno) {
    if output.path.isAbsolute || !overlay.canPlace { return try body() }
    switch output.content {
    case .hardLink(let other):
      if let file = tree.placed(other) { try overlay.materialise(file.number) }
    case .file:
      // It may keep attributes of what stands there.
      if let file = tree.placed(output.path) { try overlay.materialise(file.number) }
    case .directory, .symlink, .fifo, .removed: break
    }
    let pinned = try overlay.pinDirectory(directory.path)
    guard pinned.key == directory.key else { throw .stale }
    try overlay.changeName(
      output.path.lastComponent, in: pinned, keepsDirectory: output.content == .directory, body)
  }

  /// Whether the file that stands there has the content already, so that only its time is to be another.
  private func isThere(_ output: Output, _ digest: Digest, _ present: FileStatus, _ caller: Caller) -> Bool {
    present.type == .regular && present.permissions == output.permissions && output.keepsAttributes
      && caller.owner(of: output, now: present) == nil && digester.remembered(present) == digest
      && !overlay.isBeingWritten(present.key)
  }

  // MARK: one output

  private func put(
    _ output: Output, _ name: FilePath, in parent: FileDescriptor, _ caller: Caller, _ time: Int64,
    _ permissionsLast: inout [(FilePath, UInt32)]
  ) throws(Errno) {
    let present = try tree.lowerStatus(of: name, in: parent)
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
      }
      if present?.type != .directory || !output.keepsAttributes { try setAttributes(of: name, in: parent, output) }
      let now = try own(output, name, parent, caller)
      if now != output.permissions { permissionsLast.append((output.path, output.permissions)) }
    case .symlink(let target):
      let now = present?.type == .symlink ? try parent.readLink(name) : nil
      if now != target {
        try replace(name, in: parent, present, caller) { temporary throws(Errno) in
          try parent.makeSymlink(temporary, to: target)
        }
      }
      try own(output, name, parent, caller)
      if let modified = output.modified { try parent.setModified(of: name, modified) }
    case .hardLink(let other):
      try tree.with(other) { base, rest throws(Errno) in
        guard let source = try tree.lowerStatus(of: rest, in: base) else { throw .noSuchFile }
        if let present, present.key == source.key { return }
        try replace(name, in: parent, present, caller) { temporary throws(Errno) in
          try base.link(rest, to: parent, as: temporary)
        }
      }
    case .fifo:
      if present?.type != .fifo {
        try replace(name, in: parent, present, caller) { temporary throws(Errno) in
          try parent.makeNode(temporary, mode: FileType.fifo.modeBits | output.permissions, device: 0)
        }
      }
      let now = try own(output, name, parent, caller)
      if now != output.permissions { try parent.setPermissions(of: name, output.permissions) }
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
    if let present, isThere(output, digest, present, caller) {
      // The content is there already; only the time is that of a run just made.
      try parent.setModified(of: name, modified)
      if let now = try tree.lowerStatus(of: name, in: parent), now.size == present.size, now.key == present.key,
        now.modified == modified
      {
        digester.keep(digest, for: now)
      }
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
    let mode = output.permissions & 0o777
    func complete(_ file: FileDescriptor) throws(Errno) {
      try fill(file, content)
      for attribute in kept { try file.setAttribute(attribute.name, attribute.value) }
      try finish(file, output, caller, modified)
    }
    let nameless = try? acting(caller) { () throws(Errno) in
      try parent.open(".", Int32(CASHER_O_TMPFILE) | O_WRONLY, mode: mode)
    }
    if let file = nameless {
      defer { file.close() }
      try acting(caller) { () throws(Errno) in try complete(file) }
      try replace(name, in: parent, present, caller) { name throws(Errno) in
        try name.withCString { name throws(Errno) in try file.linkSelf(to: parent, as: name) }
      }
    } else {
      // Not every filesystem makes files without a name.
      try replace(name, in: parent, present, caller, isWhole: false) { temporary throws(Errno) in
        let file = try parent.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: mode)
        defer { file.close() }
        try complete(file)
      }
    }
    if let now = try tree.lowerStatus(of: name, in: parent) { digester.keep(digest, for: now) }
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
    if output.keepsAttributes {
      for attribute in output.attributes { try file.setAttribute(attribute.name, attribute.value) }
    } else {
      try ExtendedAttributes.setUserAttributes(of: file, output.attributes)
    }
    try file.setModified(modified)
  }

  /// Gives a directory the recorded attributes and no others.
  private func setAttributes(of name: FilePath, in parent: FileDescriptor, _ output: Output) throws(Errno) {
    let directory = try parent.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    defer { directory.close() }
    try ExtendedAttributes.setUserAttributes(of: directory, output.attributes)
  }

  /// Gives the output the recorded owner, and says which permission bits it then has: a change of owner takes set-ids away.
  @discardableResult
  private func own(
    _ output: Output, _ name: FilePath, _ directory: FileDescriptor, _ caller: Caller
  ) throws(Errno) -> UInt32 {
    func status() throws(Errno) -> FileStatus {
      name.isEmpty ? try directory.status() : try directory.status(of: name)
    }
    let now = try status()
    guard let owner = caller.owner(of: output, now: now) else { return now.permissions }
    try directory.setOwner(of: name, user: owner.user, group: owner.group)
    return try status().permissions
  }

  /// Makes something new where nothing is; else under a temporary name, and then gives it its own in one step. `isWhole`:
  /// what `make` makes is there as a whole at once.
  private func replace(
    _ name: FilePath, in parent: FileDescriptor, _ present: FileStatus?, _ caller: Caller, isWhole: Bool = true,
    _ make: (FilePath) throws(Errno) -> Void
  ) throws(Errno) {
    if present == nil, isWhole { return try acting(caller) { () throws(Errno) in try make(name) } }
    let temporary = Placements.temporaryName()
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

/// What a recorded run knew of the paths that it made things at; found out when it is first asked for.
private struct OutputFacets {
  private let record: RunRecord
  private var known: [FilePath: Touched.Facets]?

  init(_ record: RunRecord) { self.record = record }

  mutating func facets(of path: FilePath) -> Touched.Facets {
    let all = known ?? OutputFacets.all(of: record)
    known = all
    return all[path] ?? .probed
  }

  private static func all(of record: RunRecord) -> [FilePath: Touched.Facets] {
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
}

/// A directory that outputs are put into.
struct OpenDirectory {
  let descriptor: FileDescriptor
  let identity: DirectoryKey
  let path: FilePath
  /// What stood beneath before anything was put there.
  let names: NamesBeneath

  var key: InodeKey { identity.key }

  fileprivate init(_ descriptor: FileDescriptor, path: FilePath) throws(Errno) {
    self.descriptor = descriptor
    self.path = path
    identity = try DirectoryKey(of: descriptor)
    names = NamesBeneath(descriptor)
  }
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
      directory = try OpenDirectory(descriptor, path: path)
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
