import CLinux
import CasherRecord
import CasherStore
import CasherSystem
import Glibc

/// Turns what a tracer saw outside the mount into observations, conditions and outputs.
///
/// The tracer tells what was used, not what it was: values are taken when the run has ended, and a run whose inputs
/// changed since it began, by their times, is not stored. So outputs are taken as soon as it has ended, and inputs may be
/// looked at later. What stood at a path that the run wrote cannot be had any more; where it mattered, the run is not
/// stored either.
struct OutsideRecording {
  let tree: Tree
  private let reader: TreeReader
  let digester: FileDigester
  let store: Store
  /// When the run began, nanoseconds since 1970.
  let started: Int64
  /// The device number that files inside the mount show.
  let mountDevice: UInt64?
  let policy: CallOptions.OutsideWrites
  /// Whether modification times are inputs (`--mtime`).
  let withTimes: Bool
  /// Paths that are neither inputs nor outputs.
  let ignores: (FilePath) -> Bool

  private(set) var observations: [Observation: Value] = [:]
  private(set) var conditions: [Condition] = []
  private(set) var outputs: [Output] = []
  private var way: WayThere
  /// What the run only looked at.
  private var inputs: [OutsideAccess] = []
  private var ownNames: [FilePath: [FilePath]] = [:]

  /// How many paths outside are inputs, about.
  var inputCount: Int { observations.count + inputs.count }

  init(
    tree: Tree, digester: FileDigester, store: Store, started: Int64, mountDevice: UInt64?,
    policy: CallOptions.OutsideWrites, withTimes: Bool, ignores: @escaping (FilePath) -> Bool
  ) {
    self.tree = tree
    reader = TreeReader(tree)
    self.digester = digester
    self.store = store
    self.started = started
    self.mountDevice = mountDevice
    self.policy = policy
    self.withTimes = withTimes
    self.ignores = ignores
    way = WayThere(reader: reader, started: started)
  }

  /// Takes what the run has made; what it looked at waits for `addInputs`.
  mutating func addOutputs(_ accesses: [OutsideAccess]) throws(Uncacheable) {
    let accesses = accesses.map(withoutUnusedWriting)
    for access in accesses where !access.produced.isEmpty {
      ownNames[access.path.parent, default: []].append(access.path.lastComponent)
      way.leaveOut(access.path)
    }
    for access in accesses where !ignores(access.path) {
      if access.produced.isEmpty {
        inputs.append(access)
      } else if policy == .ignore {
        try leaveOut(access)
      } else {
        try produce(access)
      }
    }
  }

  /// Looks at what the run looked at, once.
  mutating func addInputs() throws(Uncacheable) {
    defer { reader.close() }
    for access in inputs { try observe(access, ownNames: ownNames[access.path] ?? []) }
    inputs = []
  }

  /// A file that was opened for writing, as a database is by who only asks it, and not written to was read.
  private func withoutUnusedWriting(_ access: OutsideAccess) -> OutsideAccess {
    guard access.produced.contains(.updated), access.produced.isSubset(of: [.updated, .created, .notFollowed]),
      let now = (try? tree.targetStatus(of: access.path)) ?? nil, now.type == .regular
    else { return access }
    // Some filesystems keep whole seconds only, and even ones among them.
    let second: Int64 = 1_000_000_000
    let granularity = now.changed % second == 0 ? 2 * second : FileDigester.granularity
    guard max(now.modified, now.changed) < started - granularity else { return access }
    return OutsideAccess(path: access.path, observed: access.observed.union(.read))
  }

  // MARK: inputs

  private mutating func observe(_ access: OutsideAccess, ownNames: [FilePath]) throws(Uncacheable) {
    let path = access.path
    let kinds = access.observed
    let target: FileStatus?
    do throws(Errno) { target = try reader.status(of: path, following: true) } catch {
      observations[Observation(path: path, facet: .target)] = .unreadable(error.rawValue)
      return
    }
    if let target, let mountDevice, target.key.device == mountDevice { return }
    let wasUsed = !kinds.isDisjoint(with: [.read, .executed, .lookedUp, .listed])
    try checkIdentity(access, target)
    if kinds.contains(.missing) {
      // Names can be missing for lstat and there for stat and the other way round only by a dangling symlink.
      if target != nil, !wasUsed { throw .inputChanged(path) }
      if wasUsed {
        guard target == nil, isDangling(access) else { throw .inputChanged(path) }
        note(Observation(path: path, facet: .entry))
      }
    }
    // Of a symlink that was only looked at, what it leads to is no input, and may be what the run has made there.
    let isFollowed = !kinds.contains(.notFollowed) || !kinds.isDisjoint(with: [.read, .executed, .missing])
    try checkUnchanged(path, isFollowed ? target : (try? reader.status(of: path)) ?? nil)
    if !kinds.isDisjoint(with: [.read, .executed]) || (wasUsed && !kinds.contains(.listed)) || kinds.contains(.missing)
    {
      if isFollowed {
        let isLarge = target.map { $0.type == .regular && $0.size > RunRecorder.stampThreshold } ?? false
        let onlyLooked = kinds.isDisjoint(with: [.read, .executed])
        if isLarge && onlyLooked {
          note(Observation(path: path, facet: .stamp))
        } else {
          observations[Observation(path: path, facet: .target)] = Evaluator.target(path, target, tree, digester)
        }
        if withTimes, target?.type == .regular { note(Observation(path: path, facet: .stamp)) }
      }
    }
    if !kinds.isDisjoint(with: [.linkRead, .notFollowed]) {
      let link = (try? reader.status(of: path)) ?? nil
      if let link, link.type == .symlink, link.changed >= started { throw .inputChanged(path) }
      note(Observation(path: path, facet: .entry))
    }
    if kinds.contains(.listed) {
      if let target { try checkUnchangedListing(path, target, ownNames: ownNames) }
      note(Observation(path: path, facet: .listing, except: ownNames.sorted()))
    }
  }

  /// What the command saw must be what stands there now; else it was moved or removed by another meanwhile.
  private mutating func checkIdentity(_ access: OutsideAccess, _ target: FileStatus?) throws(Uncacheable) {
    let kinds = access.observed
    switch access.identity {
    case .several: throw .inputChanged(access.path)
    case .one(let seen):
      let now = kinds.contains(.notFollowed) ? (try? reader.status(of: access.path)) ?? nil : target
      guard let now, OutsideLog.identity(of: now) == seen else { throw .inputChanged(access.path) }
    case .unknown:
      guard !kinds.isDisjoint(with: [.read, .executed, .lookedUp, .listed]) else { return }
      if target == nil, kinds.isDisjoint(with: [.missing, .notFollowed]) { throw .inputChanged(access.path) }
      try way.check(access.path)
    }
  }

  /// Whether the name is that of a symlink to nothing, of which the run saw that it is there and that it leads nowhere; and
  /// nothing came or went during the run where it leads.
  private func isDangling(_ access: OutsideAccess) -> Bool {
    guard access.observed.isDisjoint(with: [.read, .executed, .listed]),
      let link = (try? tree.status(of: access.path)) ?? nil, link.type == .symlink, link.changed < started,
      let target = try? tree.readLink(access.path)
    else { return false }
    var end = target.isAbsolute ? target : access.path.parent.appending(target)
    guard ((try? tree.status(of: end)) ?? nil) == nil else { return false }
    while !end.isEmpty, end != "/" {
      end = end.parent
      if let present = (try? tree.targetStatus(of: end)) ?? nil { return present.modified < started }
    }
    return false
  }

  /// A directory changes with each name that comes or goes. Where the run itself changed it, others' names tell, by
  /// the time of their inode's last change, whether they came during the run.
  private func checkUnchangedListing(
    _ path: FilePath, _ directory: FileStatus, ownNames: [FilePath]
  ) throws(Uncacheable) {
    guard directory.type == .directory, directory.modified >= started else { return }
    if ownNames.isEmpty { throw .inputChanged(path) }
    let own = Set(ownNames)
    for entry in (try? tree.entries(of: path, following: true)) ?? [] where !own.contains(entry.name) {
      let status = try? tree.status(of: path.appending(entry.name))
      if status?.changed ?? started >= started { throw .inputChanged(path) }
    }
  }

  private mutating func note(_ observation: Observation) {
    observations[observation] = Evaluator.evaluate(observation, reader, digester)
  }

  /// What was read before it changed has another value now than the run saw.
  private func checkUnchanged(_ path: FilePath, _ status: FileStatus?) throws(Uncacheable) {
    guard let status else { return }
    switch status.type {
    case .regular: if max(status.modified, status.changed) >= started { throw .inputChanged(path) }
    case .directory, .symlink, .fifo, .socket, .characterDevice, .blockDevice, .unknown: break
    }
  }

  // MARK: outputs

  private mutating func produce(_ access: OutsideAccess) throws(Uncacheable) {
    let (observed, produced) = (access.observed, access.produced)
    let madeByRun: OutsideAccess.Kinds = [.created, .madeNew, .replaced]
    let path = OutsideRecording.canonical(access.path)
    let now: FileStatus?
    do throws(Errno) { now = try tree.status(of: path) } catch { throw .inputUnreadable(path, error.rawValue) }
    if let now, let mountDevice, now.key.device == mountDevice { return }
    guard let now else {
      // The run's own temporary files do not count.
      if !produced.isDisjoint(with: madeByRun) || observed.contains(.missing) { return }
      throw .outsideUpdate(path)
    }
    if policy == .refuse { throw .outsideWriteRefused(path) }
    let wasMissing = wasMissing(access, path)
    let isReplaced = produced.contains(.replaced)
    if !wasMissing {
      if !observed.isDisjoint(with: [.read, .executed, .lookedUp, .linkRead]) { throw .outsideUpdate(path) }
      if !produced.isDisjoint(with: [.updated, .attributesSet, .renamedAway, .removed]), !isReplaced {
        throw .outsideUpdate(path)
      }
    }
    let content = try capture(path, now)
    var output = Output(
      path: path, content: content, permissions: now.permissions, owner: Owner(user: now.owner, group: now.group),
      modified: produced.contains(.timeSet) ? now.modified : nil)
    output.keepsAttributes = content == .directory || !(wasMissing || isReplaced)
    if !output.keepsAttributes, now.type == .regular { output.attributes = try attributes(path) }
    outputs.append(output)
    add(path, .entry, before: .absent, role: .left)
    let wasProbed = observed.contains(.missing) || produced.contains(.madeNew) || now.type != .regular
    if wasMissing, now.type == .regular, now.size > 0, produced.isDisjoint(with: [.truncated, .madeNew, .replaced]) {
      // Who appends to a file would have appended to what was there.
      observations[Observation(path: path, facet: .entry)] = .absent
    } else if wasMissing {
      add(path, wasProbed ? .entry : .ownership, before: .absent, role: observed.contains(.missing) ? .decisive : .free)
    } else if isReplaced {
      add(path, .replaceable, before: .notDirectory, role: .free)
    } else {
      add(path, .ownership, before: Evaluator.ownership(now), role: .free)
    }
  }

  /// What the run wrote is no output; what it had learned of it before is an input all the same.
  private mutating func leaveOut(_ access: OutsideAccess) throws(Uncacheable) {
    let path = OutsideRecording.canonical(access.path)
    if access.observed.contains(.missing) { add(path, .entry, before: .absent, role: .decisive) }
    if wasMissing(access, path) { return }
    if !access.observed.isDisjoint(with: [.read, .executed, .lookedUp, .linkRead]) { throw .outsideUpdate(path) }
  }

  private mutating func add(_ path: FilePath, _ facet: Facet, before: Value, role: Condition.Role) {
    let observation = Observation(path: path, facet: facet)
    conditions.append(
      Condition(
        observation, before: before, after: Evaluator.evaluate(observation, tree, digester), role: role))
  }

  /// Whether nothing stood at the path before the run. What the run saw there before it changed it was there; and of a file
  /// that was renamed onto the path its birth tells nothing of what it replaced.
  private func wasMissing(_ access: OutsideAccess, _ path: FilePath) -> Bool {
    if !access.observed.isDisjoint(with: [.read, .executed, .lookedUp, .linkRead]) { return false }
    if access.observed.contains(.missing) || access.produced.contains(.madeNew) { return true }
    return !access.produced.contains(.replaced) && wasBornInRun(path)
  }

  /// Where the filesystem knows when a file came to be (statx(2), STATX_BTIME).
  private func wasBornInRun(_ path: FilePath) -> Bool {
    guard let birth = FileDescriptor.workingDirectory.birthTime(of: path) else { return false }
    return birth >= started
  }

  private func capture(_ path: FilePath, _ status: FileStatus) throws(Uncacheable) -> Output.Content {
    do {
      switch status.type {
      case .regular:
        let file = try tree.open(path)
        defer { file.close() }
        let (digest, size) = try store.putBlob(from: file)
        let after = try file.status()
        guard after.isSameGeneration(as: status) else { throw Uncacheable.stillWriting(path) }
        digester.remember(digest, for: after)
        return .file(digest, size: size, inPlace: status.links > 1)
      case .directory: return .directory
      case .symlink: return .symlink(target: try tree.readLink(path))
      case .fifo: return .fifo
      case .socket, .characterDevice, .blockDevice, .unknown: throw Uncacheable.specialFile(path)
      }
    } catch let error as Uncacheable {
      throw error
    } catch let error as StoreError {
      throw .storeFailed("\(error)")
    } catch {
      throw .inputUnreadable(path, (error as? Errno)?.rawValue ?? EIO)
    }
  }

  private func attributes(_ path: FilePath) throws(Uncacheable) -> [ExtendedAttribute] {
    do throws(Errno) {
      let file = try tree.open(path)
      defer { file.close() }
      return try ExtendedAttributes.userAttributes(of: file)
    } catch { throw .inputUnreadable(path, error.rawValue) }
  }

  /// The path with symlinks and `..` of its directory resolved: one name for one output.
  static func canonical(_ path: FilePath) -> FilePath {
    guard let parent = try? FileDescriptor.open(path.parent, Int32(CASHER_O_PATH) | O_DIRECTORY) else { return path }
    defer { parent.close() }
    guard let resolved = try? FileDescriptor.workingDirectory.readLink(parent.procPath) else { return path }
    return resolved.appending(path.lastComponent)
  }
}
