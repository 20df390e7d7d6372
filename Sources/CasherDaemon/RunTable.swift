import CasherOverlay
import CasherRecord
import CasherSystem
import Synchronization

/// One command under way in its view.
final class Run: Sendable {
  let id: Digest
  let token: FilePath
  let parent: Run?
  let started: Int64
  let command: [[UInt8]]
  let user: UInt32
  let trace: TraceExchange
  private let recorder: Monitor<RunRecorder>
  /// The acache whose descendants are the run's processes, when the run has no view of its own; 0 when it has.
  private let root = Atomic<Int32>(0)
  private let end = Atomic<Int64>(.max)
  /// What it does outside the mount, where its view of the whole root tells; nil where nobody or a tracer does.
  private let outside: Mutex<OutsideLog?>
  private let mainProcess = Atomic<Int32>(0)

  init(
    id: Digest, token: FilePath, parent: Run?, command: [[UInt8]], user: UInt32, recorder: sending RunRecorder,
    outside: sending OutsideLog?, trace: TraceExchange
  ) {
    self.outside = Mutex(outside)
    self.id = id
    self.token = token
    self.parent = parent
    self.command = command
    self.user = user
    self.trace = trace
    started = Clock.now()
    self.recorder = Monitor(recorder)
  }

  /// When its result is no longer good, in nanoseconds since 1970; nil: it stays good.
  var expires: Int64? {
    let time = end.load(ordering: .sequentiallyConsistent)
    return time == .max ? nil : time
  }

  /// What the run, and those that it was started in, have used is good until then only.
  func expire(at time: Int64?) {
    guard let time else { return }
    for run in lineage { run.end.min(time, ordering: .sequentiallyConsistent) }
  }

  /// Another run was made or replayed within this one.
  func contains(_ inner: Digest) {
    for run in lineage { run.record { $0.innerRuns.append(inner) } }
  }

  /// False when it was known by its processes already.
  fileprivate func attribute(toDescendantsOf process: Int32) -> Bool {
    root.exchange(process, ordering: .sequentiallyConsistent) == 0
  }

  var rootProcess: Int32 { root.load(ordering: .relaxed) }

  /// Ends the recording: takes what the run left without reading it. From then on the recorder is read without a lock.
  func end(
    _ begin: (RunRecorder) throws(Uncacheable) -> PendingRecording
  ) throws(Uncacheable) -> PendingRecording {
    try recorder.withLock { recorder throws(Uncacheable) in
      recorder.freeze()
      let pending = try begin(recorder)
      recorder.captures = pending.captures
      return pending
    }
  }

  /// The files that are still being read, when the run has ended.
  var captures: CaptureQueue? { recorder.withLock { $0.captures } }

  /// The command's first process; 0 until acache has told it.
  var process: Int32 {
    get { mainProcess.load(ordering: .relaxed) }
    set { mainProcess.store(newValue, ordering: .relaxed) }
  }

  /// For what the run itself does in its view of the root.
  func recordOutside(_ body: (OutsideLog) -> Void) { outside.withLock { if let log = $0 { body(log) } } }

  /// The outermost run around this one that has a view of the root: its acache is told of the calls that no filesystem
  /// sees.
  var watcher: Run? { parent?.lineage.last { $0.outside.withLock { $0 != nil } } }

  /// What it has done outside the mount; nil where its view does not tell.
  var outsideAccesses: [OutsideAccess]? { outside.withLock { $0?.accesses() } }

  /// For the run's own requests; a run that has ended records nothing more.
  func record(_ body: (RunRecorder) -> Void) {
    recorder.withLock { recorder in if !recorder.isFrozen { body(recorder) } }
  }

  /// Another hand is about to change something. While the run is on that may spoil it; when it has ended, the change
  /// waits until what the run's record needs of it has been read.
  func changesElsewhere(_ change: ForeignChange) {
    let captures = recorder.withLock { recorder -> CaptureQueue? in
      if let captures = recorder.captures { return recorder.isConcerned(by: change) ? captures : nil }
      recorder.changesElsewhere(change)
      return nil
    }
    guard let captures else { return }
    if case .content(let inode) = change, captures.wait(for: inode) { return }
    captures.waitUntilOver()
  }

  func withRecorder<Result>(_ body: (RunRecorder) -> Result) -> Result {
    recorder.withLock { recorder in body(recorder) }
  }

  /// This run and those that it was started in, innermost first.
  var lineage: [Run] {
    var result = [self]
    while let next = result.last?.parent { result.append(next) }
    return result
  }

  func isWithin(_ other: Run) -> Bool { lineage.contains { $0 === other } }
}

/// The runs in flight. Hands each request to the run it belongs to, to the runs that this one was started in, and, when
/// it changes something, to all others as another hand's change.
final class RunTable: Recorder {
  private let runs = Mutex<[Run]>([])
  private let count = Atomic<Int>(0)
  private let attributed = Atomic<Int>(0)
  private let answer: @Sendable (Node) -> [UInt8]

  init(answer: @escaping @Sendable (Node) -> [UInt8]) { self.answer = answer }

  func add(_ run: Run) {
    runs.withLock { $0.append(run) }
    count.add(1, ordering: .sequentiallyConsistent)
  }

  func remove(_ run: Run) {
    let removed = runs.withLock { runs -> Bool in
      guard let index = runs.firstIndex(where: { $0 === run }) else { return false }
      runs.remove(at: index)
      return true
    }
    guard removed else { return }
    count.subtract(1, ordering: .sequentiallyConsistent)
    if run.rootProcess != 0 { attributed.subtract(1, ordering: .sequentiallyConsistent) }
  }

  var inFlight: [Run] { runs.withLock { $0 } }

  /// The run is known by its processes from now on: those that descend from this one.
  func attribute(_ run: Run, toDescendantsOf process: Int32) {
    if run.attribute(toDescendantsOf: process) { attributed.add(1, ordering: .sequentiallyConsistent) }
  }

  /// The innermost run without a view that the process or thread belongs to.
  func run(ofProcess process: Int32) -> Run? {
    guard observesMainView, process > 0 else { return nil }
    let runs = inFlight.filter { $0.rootProcess != 0 }
    var current = process
    for _ in 0..<RunTable.deepestAncestry {
      guard let entry = ProcessEntry(of: current) else { return nil }
      if let run = runs.last(where: { $0.rootProcess == entry.parent }) { return run }
      current = entry.parent
      if current <= 1 { return nil }
    }
    return nil
  }

  private static let deepestAncestry = 256

  var observesMainView: Bool { attributed.load(ordering: .relaxed) > 0 }

  func run(token: FilePath) -> Run? { runs.withLock { $0.first { $0.token == token } } }

  // MARK: dispatch

  private func own(_ actor: Actor) -> Run? {
    if actor.view.isMain, observesMainView { return run(ofProcess: actor.thread) }
    return actor.view.attachment as? Run
  }

  /// Calls `body` for the run that acts and every run around it.
  private func observe(_ actor: Actor, _ body: (RunRecorder) -> Void) {
    var run = own(actor)
    while let current = run {
      current.record(body)
      run = current.parent
    }
  }

  /// Calls `own` for the acting run and those around it, and tells all other runs in flight of the change; one that has
  /// ended and whose files are still being read is waited for.
  func change(by run: Run?, _ change: ForeignChange, own: (RunRecorder) -> Void) {
    let lineage = run?.lineage ?? []
    for other in inFlight where !lineage.contains(where: { $0 === other }) { other.changesElsewhere(change) }
    for run in lineage { run.record(own) }
  }

  // MARK: Recorder

  var isIdle: Bool { count.load(ordering: .relaxed) == 0 }

  func didLookUp(
    _ name: FilePath, in directory: Node, found: Node?, status: FileStatus?, by actor: Actor
  ) -> NameLifetime {
    observe(actor) { $0.lookedUp(name, in: .node(directory), status: status, by: actor.thread) }
    return .use
  }

  func didList(_ directory: Node, by actor: Actor) { observe(actor) { $0.listed(.node(directory), by: actor.thread) } }

  func didReadAttributes(of node: Node, by actor: Actor) {
    guard let parent = node.parent else { return }
    observe(actor) { $0.attributesRead(node.name, in: .node(parent)) }
  }

  func willOpen(_ node: Node, _ access: OpenAccess, by actor: Actor) {
    guard let parent = node.parent else { return }
    if access.isDisjoint(with: [.write, .truncate]) {
      observe(actor) { $0.willOpen(node.name, in: .node(parent), access, by: actor.thread) }
      return
    }
    change(
      by: own(actor), .content(node.inode.key),
      own: { recorder in
        recorder.willOpen(node.name, in: .node(parent), access, by: actor.thread)
        recorder.willChangeInPlace(node.inode.key)
      })
  }

  func didOpen(_ node: Node, _ access: OpenAccess, by actor: Actor) {
    guard let parent = node.parent, !access.isDisjoint(with: [.write, .truncate]) else { return }
    observe(actor) { $0.didOpen(node.name, in: .node(parent), access) }
  }

  func willMake(_ kind: MadeKind, _ name: FilePath, in directory: Node, by actor: Actor) {
    var source: InodeKey?
    if case .link(let inode) = kind { source = inode }
    change(
      by: own(actor), source.map { .link($0, name, .node(directory)) } ?? .name(name, .node(directory)),
      own: { $0.willMake(name, in: .node(directory), linkOf: source, by: actor.thread) })
  }

  func didMake(_ kind: MadeKind, _ name: FilePath, in directory: Node, node: Node, status: FileStatus, by actor: Actor)
  {
    observe(actor) { $0.didMake(kind, name, in: .node(directory), inode: node.inode.key, by: actor.thread) }
  }

  func willRemove(_ name: FilePath, in directory: Node, isDirectory: Bool, by actor: Actor) {
    change(
      by: own(actor), .name(name, .node(directory)),
      own: { $0.willRemove(name, in: .node(directory), isDirectory: isDirectory, by: actor.thread) })
  }

  func didRemove(_ name: FilePath, in directory: Node, isDirectory: Bool, by actor: Actor) {
    observe(actor) { $0.didRemove(name, in: .node(directory), isDirectory: isDirectory) }
  }

  func willRename(
    _ name: FilePath, in directory: Node, to newName: FilePath, in newDirectory: Node, _ manner: RenameManner,
    by actor: Actor
  ) {
    change(
      by: own(actor), .move(name, .node(directory), to: newName, .node(newDirectory)),
      own: {
        $0.willRename(
          name, in: .node(directory), to: newName, in: .node(newDirectory), manner, by: actor.thread)
      })
  }

  func didRename(
    _ name: FilePath, in directory: Node, to newName: FilePath, in newDirectory: Node, _ manner: RenameManner,
    by actor: Actor
  ) {
    observe(actor) {
      $0.didRename(name, in: .node(directory), to: newName, in: .node(newDirectory), exchange: manner == .exchange)
    }
  }

  func willSetAttributes(of node: Node, _ change: AttributeChange, by actor: Actor) {
    guard let parent = node.parent else { return }
    let own = own(actor)
    let record = { (recorder: RunRecorder) in
      recorder.willSetAttributes(node.name, in: .node(parent), change, by: actor.thread)
      if case .times = change { return }
      if node.isDirectory { return }
      recorder.willChangeInPlace(node.inode.key)
    }
    switch change {
    // Another hand's touch(1) moves times alone, which are not observed; but the time that a run set is an output.
    case .times: self.change(by: own, .times(node.inode.key), own: record)
    case .size: self.change(by: own, .content(node.inode.key), own: record)
    default: self.change(by: own, .attributes(node.inode.key), own: record)
    }
  }

  func didSetAttributes(of node: Node, _ change: AttributeChange, by actor: Actor) {
    guard let parent = node.parent else { return }
    observe(actor) { $0.didSetAttributes(node.name, in: .node(parent), change, of: node.inode.key) }
  }

  func mountAnswer(for directory: Node) -> [UInt8] { answer(directory) }
}
