import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem

/// What a run depended on and what it left, when it has ended: its part of a `RunRecord`.
struct Recording {
  var observations: [Observation: Value] = [:]
  var conditions: [Condition] = []
  var outputs: [Output] = []

  /// What a run left, taken when it has no writable handle left and its recorder is frozen: then nothing of the recorder
  /// changes but the digests that are taken later, and the obstacles.
  ///
  /// Reads no content. Throws what forbids storing the run.
  static func begin(
    from recorder: RunRecorder, store: Store, withTimes: Bool, ignores: @escaping (FilePath) -> Bool,
    isOutputOnly: @escaping (FilePath) -> Bool
  ) throws(Uncacheable) -> PendingRecording {
    var builder = RecordingBuilder(
      recorder: recorder, store: store, withTimes: withTimes, ignores: ignores, isOutputOnly: isOutputOnly)
    builder.gather()
    try check(recorder, builder.isFree)
    try builder.takeStatuses()
    try builder.checkLinks()
    return PendingRecording(builder: builder, captures: CaptureQueue(builder.captures))
  }

  /// Nothing of the state before of these paths counts.
  mutating func leaveOutInputs(where isOutputOnly: (FilePath) -> Bool) {
    observations = observations.filter { !isOutputOnly($0.key.path) }
    conditions.removeAll { isOutputOnly($0.observation.path) }
  }

  /// `isFree`: whether another hand may do with a path what it likes.
  fileprivate static func check(_ recorder: RunRecorder, _ isFree: (FilePath) -> Bool) throws(Uncacheable) {
    let obstacle = recorder.obstacles.first { obstacle in
      if case .inputChanged(let path) = obstacle { return !isFree(path) }
      if case .inputUnreadable(let path, _) = obstacle { return !isFree(path) }
      return true
    }
    if let obstacle { throw obstacle }
  }
}

/// A run's recording whose content is still to be digested and stored.
struct PendingRecording {
  fileprivate var builder: RecordingBuilder
  /// What is to be read, in which order; others that want to change one of the files wait here.
  let captures: CaptureQueue

  /// Takes all content into the store, and with it the values of all observations. `captures` is not over after that:
  /// whoever stores the record ends it.
  mutating func complete() throws(Uncacheable) -> Recording {
    while let capture = captures.next() {
      defer { captures.didTake(capture) }
      for touched in capture.inputs { builder.recorder.pin(touched) }
      for path in capture.outputs { try builder.capture(path) }
    }
    try Recording.check(builder.recorder, builder.isFree)
    try builder.build()
    // Another hand may have changed an input or an output while these were read.
    try Recording.check(builder.recorder, builder.isFree)
    return builder.recording
  }
}

/// Everything known of one path: several directories may have stood at the same path during a run.
private struct PathState {
  var before: Before
  var facets: Touched.Facets
  var isProduced: Bool
  var isRewritten: Bool
  var modified: Int64?
  /// What was there before the run; nil for what a moved directory brought.
  var touched: Touched?
  var attributes: Value?
  var isCheckedBytecode: Bool
  var mayExtend = false
  var changesAttributes = false
  var isNewInode = false
  /// The run changed the file through another of its names.
  var isChangedElsewhere = false

  /// The content before the run, as soon as it has been taken.
  var digest: Digest? { touched?.digest }
}

private struct RecordingBuilder {
  let recorder: RunRecorder
  let store: Store
  /// Whether modification times are inputs (`--mtime`); those of the run's own outputs never are.
  let withTimes: Bool
  let ignores: (FilePath) -> Bool
  /// Whether a path is no input: then it does not matter that it is as it was before the run, it is an output.
  let isOutputOnly: (FilePath) -> Bool
  var recording = Recording()
  private var paths: [FilePath: PathState] = [:]
  /// Content digests of the files that were captured.
  private var captured: [FilePath: (Digest, FileStatus)] = [:]
  /// What stood where the run produced something, when it had ended.
  private var statuses: [FilePath: FileStatus?] = [:]
  /// Of the outputs that are files, those whose content the run changed.
  private var contents: [FilePath: Output.Content] = [:]

  init(
    recorder: RunRecorder, store: Store, withTimes: Bool, ignores: @escaping (FilePath) -> Bool,
    isOutputOnly: @escaping (FilePath) -> Bool
  ) {
    self.isOutputOnly = isOutputOnly
    self.recorder = recorder
    self.store = store
    self.withTimes = withTimes
    self.ignores = ignores
  }

  /// What another hand does to a name that is no input matters only where the run has produced it.
  func isFree(_ path: FilePath) -> Bool {
    ignores(path) || (isOutputOnly(path) && !(paths[path]?.isProduced ?? false))
  }

  // MARK: by path

  mutating func gather() {
    for touched in recorder.entries.values where touched.isObserved && !isIgnored(touched) {
      let present = recorder.presentPath(of: touched.key)
      if let original = touched.path {
        defer { if recorder.isChangedElsewhere(touched) { paths[original]?.isChangedElsewhere = true } }
        merge(original, touched, wasThere: true)
        if touched.isProduced, let present, present != original {
          merge(present, arrivalOf: touched)
        }
      } else if let present {
        merge(present, touched, wasThere: false)
      }
    }
  }

  private func isIgnored(_ touched: Touched) -> Bool {
    (touched.path ?? recorder.presentPath(of: touched.key)).map(ignores) ?? false
  }

  private mutating func merge(_ path: FilePath, _ touched: Touched, wasThere: Bool) {
    var state = PathState(
      before: touched.before, facets: touched.facets, isProduced: touched.isProduced,
      isRewritten: touched.isRewritten, modified: touched.modified, touched: touched,
      attributes: touched.attributes, isCheckedBytecode: touched.isCheckedBytecode, mayExtend: touched.mayExtend,
      changesAttributes: touched.changesAttributes, isNewInode: touched.isNewInode)
    if let other = paths[path] {
      let (older, newer) = wasThere ? (state, other) : (other, state)
      // What the run learned in a directory that it made or moved there itself tells nothing of what had been there.
      state = older
      state.isProduced = older.isProduced || newer.isProduced
      state.isRewritten = older.isRewritten || newer.isRewritten
      state.modified = newer.modified ?? older.modified
      state.attributes = older.attributes ?? newer.attributes
      state.changesAttributes = older.changesAttributes || newer.changesAttributes
      state.isNewInode = older.isNewInode || newer.isNewInode
    }
    paths[path] = state
  }

  /// What a moved directory brought to a path where nothing of this kind had been.
  private mutating func merge(_ path: FilePath, arrivalOf touched: Touched) {
    let state = PathState(
      before: .absent, facets: [.probed], isProduced: true, isRewritten: true, modified: touched.modified, touched: nil,
      attributes: nil, isCheckedBytecode: BytecodeCache.isName(path), isNewInode: true)
    if var other = paths[path] {
      other.isProduced = true
      other.isRewritten = true
      other.isNewInode = true
      other.modified = touched.modified
      paths[path] = other
    } else {
      paths[path] = state
    }
  }

  // MARK: observations, conditions, outputs

  mutating func build() throws(Uncacheable) {
    recording.observations = recorder.outside
    recording.conditions = recorder.outsideConditions
    for path in paths.keys.sorted() {
      guard let state = paths[path], state.isProduced else { continue }
      try produce(path, state)
      // Who appends to a file, or writes into one that may have been there, would have done so to any content.
      let isEmpty = (statuses[path] ?? nil).map { $0.size == 0 } ?? true
      if state.mayExtend { paths[path]?.facets.formUnion(isEmpty ? .probed : .content) }
    }
    for (path, state) in paths {
      if state.isProduced || state.isChangedElsewhere { try condition(path, state) } else { try observe(path, state) }
    }
    addListings()
    addIdentities()
    linkOutputs()
    recording.outputs.append(contentsOf: recorder.outsideOutputs)
    recording.outputs.sort(by: Recording.placingOrder)
    recording.conditions.sort {
      ($0.observation.path, $0.observation.facet.rawValue) < ($1.observation.path, $1.observation.facet.rawValue)
    }
  }

  /// The facet under which a path's whole state is observed, and that state before the run.
  private func wholeState(_ path: FilePath, _ state: PathState) throws(Uncacheable) -> (Facet, Value) {
    if BytecodeCache.isName(path), state.isCheckedBytecode { return (.bytecode, .derived) }
    switch state.before {
    case .absent: return (.entry, .absent)
    case .present(let status, let target):
      switch status.type {
      case .regular:
        if let digest = state.digest { return (.entry, .file(digest, Protection(status, countingLinks: true))) }
        if !state.facets.contains(.content), status.size > RunRecorder.stampThreshold {
          return (
            .stamp, .stamp(size: status.size, modified: status.modified, permissions: status.permissions)
          )
        }
        throw .inputUnreadable(path, 5)
      case .symlink:
        return (.entry, .symlink(target: target ?? FilePath([]), user: status.owner, group: status.group))
      case .directory: return (.entry, .directory(Protection(status)))
      default: return (.entry, .special(status.type, Protection(status), device: UInt64(status.raw.st_rdev)))
      }
    }
  }

  private mutating func observe(_ path: FilePath, _ state: PathState) throws(Uncacheable) {
    if let attributes = state.attributes {
      recording.observations[Observation(path: path, facet: .attributes)] = attributes
    }
    if !state.facets.isDisjoint(with: [.probed, .content]) {
      let (facet, value) = try wholeState(path, state)
      if let status = state.before.status, recorder.linksAdded[status.key] ?? 0 != 0 {
        // The run gave the file more or fewer names, and so its own doing is part of what it looked at.
        add(path, facet, before: value, role: .decisive)
        return
      }
      recording.observations[Observation(path: path, facet: facet)] = value
      if withTimes, let status = state.before.status, status.type == .regular {
        recording.observations[Observation(path: path, facet: .stamp)] =
          .stamp(size: status.size, modified: status.modified, permissions: status.permissions)
      }
      return
    }
    // An operation that was tried and failed.
    if state.facets.contains(.ownership) {
      recording.observations[Observation(path: path, facet: .ownership)] = ownershipBefore(state)
    }
    if state.facets.contains(.kind) || state.facets.contains(.replaceable) {
      recording.observations[Observation(path: path, facet: .kind)] = kindBefore(state)
    }
  }

  private mutating func condition(_ path: FilePath, _ state: PathState) throws(Uncacheable) {
    if let attributes = state.attributes {
      add(path, .attributes, before: attributes, role: .decisive)
    }
    if state.facets.contains(.content) {
      let (facet, value) = try wholeState(path, state)
      recording.observations[Observation(path: path, facet: facet)] = value
      return
    }
    if state.facets.contains(.probed) {
      let (facet, value) = try wholeState(path, state)
      add(path, facet, before: value, role: .decisive)
      return
    }
    if state.facets.contains(.made) {
      let (facet, value) = try wholeState(path, state)
      add(path, facet, before: value, role: .free)
    }
    if state.facets.contains(.ownership) {
      add(path, .ownership, before: ownershipBefore(state), role: .free)
    }
    if state.facets.contains(.kind) { add(path, .kind, before: kindBefore(state), role: .free) }
    add(path, BytecodeCache.isName(path) && state.isCheckedBytecode ? .bytecode : .entry, before: .absent, role: .left)
    if state.facets.contains(.replaceable) {
      add(
        path, .replaceable, before: state.before.status?.type == .directory ? .kind(.directory) : .notDirectory,
        role: .free)
    }
  }

  private func ownershipBefore(_ state: PathState) -> Value {
    state.before.status.map { Evaluator.ownership($0) } ?? .absent
  }

  private func kindBefore(_ state: PathState) -> Value { state.before.status.map { .kind($0.type) } ?? .absent }

  private mutating func add(_ path: FilePath, _ facet: Facet, before: Value, role: Condition.Role) {
    let observation = Observation(path: path, facet: facet)
    recording.conditions.append(
      Condition(observation, before: before, after: valueNow(observation), role: role))
  }

  /// The value as the run left it; files that were captured are not read a second time.
  private func valueNow(_ observation: Observation) -> Value {
    if observation.facet == .entry, let (digest, status) = captured[observation.path] {
      return .file(digest, Protection(status, countingLinks: true))
    }
    return Evaluator.evaluate(observation, recorder.tree, recorder.digester)
  }

  private mutating func addListings() {
    var produced: [FilePath: [FilePath]] = [:]
    for (path, state) in paths where state.isProduced { produced[path.parent, default: []].append(path.lastComponent) }
    let all =
      recorder.pastListings.map { ($0, nil as FilePath?) }
      + recorder.listings.map { ($0.value, recorder.presentPath(of: $0.key)) }
    let former = Set(all.compactMap(\.0.path))
    for (listing, present) in all {
      guard let path = listing.path ?? present else { continue }
      // The names in a directory that the run made where it had listed another one, which is no more.
      if listing.path == nil, former.contains(path) { continue }
      let isOwn = listing.path == nil || (paths[path]?.isProduced ?? false)
      if isOwn {
        let before: Value =
          listing.path == nil ? .absent : .listing(Evaluator.listingDigest(listing.entries, except: []))
        add(path, .listing, before: before, role: .decisive)
      } else {
        let hidden = listing.entries.map(\.0).filter { ignores(path.appending($0)) }
        let except = Set((produced[path] ?? []) + hidden).sorted()
        recording.observations[Observation(path: path, facet: .listing, except: except)] =
          .listing(Evaluator.listingDigest(listing.entries, except: except))
        for name in except {
          guard let state = paths[path.appending(name)], state.facets.isDisjoint(with: [.probed, .content])
          else { continue }
          // What is no module made no difference to who looked for modules.
          let wasSeen =
            !listing.isOfImport || PythonModule.mayBe(name, state.before.status, statuses[path.appending(name)] ?? nil)
          add(path.appending(name), .kind, before: kindBefore(state), role: wasSeen ? .decisive : .free)
        }
      }
    }
  }

  /// Which of the files with several names that the run looked at were one.
  private mutating func addIdentities() {
    var linked: [FilePath: InodeKey] = [:]
    for (path, state) in paths {
      if let status = state.before.status, status.type == .regular, status.links > 1 { linked[path] = status.key }
    }
    let names = linked.keys.sorted()
    guard names.count > 1 else { return }
    for (path, inode) in linked {
      let others = names.filter { $0 != path }
      let same = others.filter { linked[$0] == inode }.map { ($0, FileType.regular) }
      let observation = Observation(path: path, facet: .identity, except: others)
      let before = Value.listing(Evaluator.listingDigest(same, except: []))
      if (paths[path]?.isProduced ?? false) || others.contains(where: { paths[$0]?.isProduced ?? false }) {
        recording.conditions.append(
          Condition(observation, before: before, after: valueNow(observation), role: .decisive))
      } else {
        recording.observations[observation] = before
      }
    }
  }

  // MARK: outputs

  /// The state in which the run left what it produced: whatever comes after is another's doing.
  mutating func takeStatuses() throws(Uncacheable) {
    for (path, state) in paths where state.isProduced {
      do throws(Errno) { statuses[path] = .some(try recorder.tree.status(of: path)) } catch {
        throw .inputUnreadable(path, error.rawValue)
      }
    }
  }

  /// A record speaks of names. What the run did to a file with several names can be told by a name that the file had before
  /// and has still, by a link to one, or when all names are known.
  func checkLinks() throws(Uncacheable) {
    var names: [InodeKey: [FilePath]] = [:]
    for (path, status) in statuses {
      if let status, status.type != .directory { names[status.key, default: []].append(path) }
    }
    var inodes = recorder.changedInPlace
    for case let status? in statuses.values where status.type == .regular && status.links > 1 {
      if !recorder.producedInodes.contains(status.key) { inodes.insert(status.key) }
    }
    for inode in inodes {
      let now = names[inode] ?? []
      if now.contains(where: { paths[$0]?.before.status?.key == inode }) { continue }
      let all = recorder.byInode[inode] ?? []
      // What happens to a file under an ignored name, its only one, is nobody's business.
      if now.isEmpty, all.contains(where: { isIgnored($0) && $0.before.status?.links == 1 }) { continue }
      let known = all.filter { !$0.isProduced }
      if !recorder.changedInPlace.contains(inode), !known.isEmpty { continue }
      if let first = now.first, let status = statuses[first] ?? nil, status.links == now.count { continue }
      throw .linkedElsewhere(now.first ?? all.first?.path ?? FilePath([]))
    }
  }

  /// What has to be read: the inputs that are not digested yet and the files among the outputs, by inode.
  var captures: [Capture] {
    var captures: [InodeKey: Capture] = [:]
    for touched in recorder.entries.values where !touched.isProduced || touched.facets.contains(.content) {
      guard touched.needsContent, touched.digest == nil, let status = touched.before.status else { continue }
      captures[status.key, default: Capture(inode: status.key, size: status.size)].inputs.append(touched)
    }
    for (path, state) in paths where state.isProduced {
      guard let status = statuses[path] ?? nil, status.type == .regular else { continue }
      captures[status.key, default: Capture(inode: status.key, size: status.size)].outputs.append(path)
    }
    return Array(captures.values)
  }

  private mutating func produce(_ path: FilePath, _ state: PathState) throws(Uncacheable) {
    let status = statuses[path] ?? nil
    guard let status else {
      if let before = state.before.status {
        recording.outputs.append(
          Output(path: path, content: .removed(wasDirectory: before.type == .directory), permissions: 0))
      }
      return
    }
    var output = Output(
      path: path, content: .directory, permissions: status.permissions,
      owner: Owner(user: status.owner, group: status.group), modified: state.modified)
    switch status.type {
    case .directory:
      output.content = .directory
      output.keepsAttributes = !state.changesAttributes
      if state.isNewInode || state.changesAttributes { output.attributes = try attributes(path) }
    case .symlink:
      do throws(Errno) { output.content = .symlink(target: try recorder.tree.readLink(path)) } catch {
        throw .inputUnreadable(path, error.rawValue)
      }
    case .fifo: output.content = .fifo
    case .regular:
      guard let content = contents[path] else { return }
      output.content = content
      output.keepsAttributes = !state.isNewInode && !state.changesAttributes
      if !output.keepsAttributes { output.attributes = try attributes(path) }
    case .socket, .characterDevice, .blockDevice, .unknown: throw .specialFile(path)
    }
    recording.outputs.append(output)
  }

  /// Takes the content of a file that the run produced.
  mutating func capture(_ path: FilePath) throws(Uncacheable) {
    guard let state = paths[path], let status = statuses[path] ?? nil else { return }
    contents[path] = try content(of: path, status, state)
  }

  /// Nil when the file was opened for writing and is as it was.
  private mutating func content(
    of path: FilePath, _ status: FileStatus, _ state: PathState
  ) throws(Uncacheable) -> Output.Content? {
    do {
      if let file = recorder.tree.placed(path) { return try content(of: path, file, status, state) }
      let file = try recorder.tree.open(path)
      defer { file.close() }
      let now = try recorder.tree.status(of: file)
      guard now.isSameGeneration(as: status) else { throw Uncacheable.stillWriting(path) }
      if !state.isRewritten, !state.changesAttributes, !isOutputOnly(path), let before = state.before.status,
        let digest = state.digest,
        Protection(before) == Protection(now), before.key == now.key
      {
        let (present, _) = try recorder.digester.digest(now, open: { () throws(Errno) in try file.duplicateAtStart() })
        if present == digest {
          captured[path] = (present, now)
          return nil
        }
      }
      let (digest, size) = try store.putBlob(from: file)
      let after = try recorder.tree.status(of: file)
      guard after.isSameGeneration(as: now) else { throw Uncacheable.stillWriting(path) }
      captured[path] = (digest, after)
      recorder.digester.remember(digest, for: after)
      let isSameInode = state.before.status.map { $0.key == after.key } ?? false
      return .file(digest, size: size, inPlace: isSameInode)
    } catch let error as Uncacheable {
      throw error
    } catch let error as StoreError {
      throw .storeFailed("\(error)")
    } catch {
      throw .inputUnreadable(path, (error as? Errno)?.rawValue ?? 5)
    }
  }

  /// A placed file, as a nested hit or a rename left it: its content is in the store.
  private mutating func content(
    of path: FilePath, _ file: PlacedFile, _ status: FileStatus, _ state: PathState
  ) throws -> Output.Content? {
    let now = file.status
    guard now.isSameGeneration(as: status) else { throw Uncacheable.stillWriting(path) }
    captured[path] = (file.blob, now)
    if !state.isRewritten, !state.changesAttributes, let before = state.before.status, state.digest == file.blob,
      Protection(before) == Protection(now), before.key == now.key
    {
      return nil
    }
    try store.keepBlob(file.blob)
    return .file(file.blob, size: file.size, inPlace: state.before.status.map { $0.key == now.key } ?? false)
  }

  private func attributes(_ path: FilePath) throws(Uncacheable) -> [ExtendedAttribute] {
    if let file = recorder.tree.placed(path) {
      return file.attributes.map { ExtendedAttribute(name: $0.name, value: $0.value) }
    }
    do throws(Errno) {
      let file = try recorder.tree.open(path)
      defer { file.close() }
      return try ExtendedAttributes.userAttributes(of: file)
    } catch {
      throw .inputUnreadable(path, error.rawValue)
    }
  }

  /// Outputs that are names of one inode are links of the first of them; one that is also the name of a file that was
  /// read and not produced is a link of that.
  private mutating func linkOutputs() {
    var first: [InodeKey: FilePath] = [:]
    for (path, state) in paths.sorted(by: { $0.key < $1.key }) where !state.isProduced {
      if let status = state.before.status, status.type != .directory, first[status.key] == nil {
        first[status.key] = path
      }
    }
    for index in recording.outputs.indices {
      let output = recording.outputs[index]
      switch output.content {
      case .file(_, _, inPlace: false), .symlink, .fifo: break
      case .file, .directory, .hardLink, .removed: continue
      }
      guard let status = statuses[output.path] ?? nil, status.links > 1 else { continue }
      if let other = first[status.key], other != output.path {
        recording.outputs[index].content = .hardLink(of: other)
      } else {
        first[status.key] = output.path
      }
    }
  }
}

extension Recording {
  /// The order in which outputs are put back: removals from the leaves up, then directories from the root down, then
  /// files, then further names of them.
  static func placingOrder(_ left: Output, _ right: Output) -> Bool {
    let (leftRank, rightRank) = (rank(left), rank(right))
    if leftRank != rightRank { return leftRank < rightRank }
    if case .removed = left.content { return right.path < left.path }
    return left.path < right.path
  }

  private static func rank(_ output: Output) -> Int {
    switch output.content {
    case .removed: 0
    case .directory: 1
    case .file, .symlink, .fifo: 2
    case .hardLink: 3
    }
  }
}
