import CLinux
import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem
import Glibc

/// The end of a run: from acache's report to a stored result, or to the reason why there is none.
struct RunFinish {
  let services: Services
  let request: CallRequest
  let caller: Caller
  let run: Run
  let view: View
  /// Where the result is stored: the last when it says where the mount is, else the first.
  let weakKeys: [Digest]
  /// The file of what the command wrote to its streams.
  let spool: FileDescriptor
  let input: PipedInput
  /// As they were before the command ran.
  let declared: DeclaredInputs
  /// The command's first process, when acache told it.
  let process: Int32?
  /// Called when everything is read, before it is stored.
  let willStore: () -> Void

  /// How long releases that are under way may take after the last process has ended, nanoseconds.
  private static let releaseTimeout: Int64 = 30_000_000_000

  /// What is known when the command has ended, and what is still to be read.
  struct Pending {
    fileprivate var recording: PendingRecording
    fileprivate var outside: OutsideRecording
    fileprivate let report: FinishReport

    /// Whether reading and storing take so little that acache can as well wait for it.
    var isShort: Bool {
      recording.captures.bytes <= Pending.shortBytes && recording.captures.files <= Pending.shortFiles
        && report.segments.reduce(0) { $0 &+ $1.length } <= UInt64(Pending.shortBytes)
        && outside.inputCount <= Pending.shortInputs
    }

    private static let shortBytes: Int64 = 2 << 20
    private static let shortFiles = 64
    private static let shortInputs = 250
  }

  /// Ends the recording; content is read by `complete`.
  func begin(_ report: FinishReport) -> Result<Pending, Uncacheable> {
    do throws(Uncacheable) {
      try check(report)
      return .success(try pending(report))
    } catch {
      return .failure(spreading(error))
    }
  }

  /// Reads what has to be read, and stores the result.
  func complete(_ pending: Pending) -> Result<Void, Uncacheable> {
    defer { pending.recording.captures.end() }
    do throws(Uncacheable) {
      let recording = try recording(pending)
      willStore()
      try store(recording, pending.report)
      return .success(())
    } catch {
      return .failure(spreading(error))
    }
  }

  /// For `--check`: the lines to say and the exit status.
  func compare(_ report: FinishReport, with check: Comparison?) -> ([String], UInt8) {
    guard let check else {
      return (["there is no recorded run with these inputs to compare with"], Comparison.nothingRecorded)
    }
    do throws(Uncacheable) {
      let recording = try recording(try pending(report))
      var blob: Digest?
      do throws(Errno) { if !report.segments.isEmpty { blob = try SHA256.digest(of: spool).digest } } catch {
        throw .storeFailed("\(error)")
      }
      let lines = check.differences(
        recording.outputs, transcript: blob, segments: report.segments,
        exitStatus: UInt8(truncatingIfNeeded: casher_exit_status(report.waitStatus)))
      if lines.isEmpty { return (["the same as run \(check.name)"], Comparison.same) }
      return (["differs from run \(check.name):"] + lines.map { "  \($0)" }, Comparison.different)
    } catch {
      return (["cannot be compared with run \(check.name): \(error.sentence)"], Comparison.different)
    }
  }

  private func pending(_ report: FinishReport) throws(Uncacheable) -> Pending {
    if run.rootProcess != 0 {
      try waitForOwnWriters()
    } else if !services.overlay.waitForWriters(in: view, timeoutNanoseconds: RunFinish.releaseTimeout) {
      throw .stillWriting(services.overlay.pathsOpenForWriting(in: view).first ?? FilePath([]))
    }
    var outside = OutsideRecording(
      tree: services.tree, digester: services.digester, store: services.store, started: run.started,
      mountDevice: services.mountDevice, policy: request.options.outsideWrites, withTimes: request.options.observeTimes,
      ignores: request.options.ignores)
    // What leads to a file that the command's output went to is found when its root is made.
    try outside.addOutputs(try outsideAccesses(report).filter { !report.outputFiles.contains($0.path) })
    // A tracer does not tell what it was that stood there, so the user must not have had the time to change it.
    if !report.hadRoot { try outside.addInputs() }
    let recording = try run.end { recorder throws(Uncacheable) in
      try Recording.begin(
        from: recorder, store: services.store, withTimes: request.options.observeTimes,
        ignores: request.options.ignores, isOutputOnly: request.options.isOutputOnly)
    }
    guard recording.captures.bytes <= services.store.options.limit else {
      throw .tooLarge(bytes: recording.captures.bytes)
    }
    return Pending(recording: recording, outside: outside, report: report)
  }

  /// In the main view everyone's handles are together: waits for those on what the run has made.
  private func waitForOwnWriters() throws(Uncacheable) {
    let deadline = Clock.monotonic() &+ RunFinish.releaseTimeout
    while true {
      let open = services.overlay.pathsOpenForWriting(in: services.overlay.mainView)
      let own = run.withRecorder { recorder in
        let produced = Set(recorder.entries.values.filter(\.isProduced).compactMap { recorder.presentPath(of: $0.key) })
        return open.first { produced.contains($0) }
      }
      guard let own else { return }
      if Clock.monotonic() >= deadline { throw .stillWriting(own) }
      var pause = timespec(tv_sec: 0, tv_nsec: 2_000_000)
      nanosleep(&pause, nil)
    }
  }

  /// The key to store under.
  private func weakKey(_ recording: Recording) throws(Uncacheable) -> Digest {
    guard let first = weakKeys.first, let last = weakKeys.last else { throw .storeFailed("the call has no key") }
    if first == last { return first }
    let relocation = Relocation(
      tree: services.tree, mounts: [request.mount, services.configuration.directory])
    do throws(Errno) { return try relocation.isBound(recording, transcript: spool) ? last : first } catch {
      throw .storeFailed("an output cannot be searched for the mount's path: \(error)")
    }
  }

  /// What keeps a nested run from being stored may keep the run around it from being stored too.
  private func spreading(_ reason: Uncacheable) -> Uncacheable {
    guard let parent = run.parent else { return reason }
    switch reason {
    case .backgroundProcess, .network, .specialFile, .stillWriting, .outsideUpdate, .outsideUnobserved:
      for outer in parent.lineage { outer.withRecorder { $0.obstacles.append(reason) } }
    default: break
    }
    return reason
  }

  private func check(_ report: FinishReport) throws(Uncacheable) {
    for obstacle in report.obstacles { if case .timedOut = obstacle { throw obstacle } }
    if casher_signaled(report.waitStatus) != 0 { throw .signalled(casher_term_signal(report.waitStatus)) }
    let status = UInt8(truncatingIfNeeded: casher_exit_status(report.waitStatus))
    if status != 0, !request.options.cacheFailures { throw .failed(status) }
    if request.options.noStore { throw .notAsked }
    if report.leftProcesses { throw .backgroundProcess }
    for obstacle in report.obstacles where !isLifted(obstacle) { throw obstacle }
  }

  private func isLifted(_ obstacle: Uncacheable) -> Bool {
    if case .network = obstacle { return request.options.allowNetwork }
    return false
  }

  /// A nested call under an outer tracer has its accesses from there.
  private func outsideAccesses(_ report: FinishReport) throws(Uncacheable) -> [OutsideAccess] {
    if report.hadRoot {
      if let watcher = run.watcher {
        // Of all that this call's acache has started, orphans too.
        guard let answer = watcher.trace.accesses(of: caller.process) else {
          throw .nested("the outer call is gone")
        }
        for obstacle in answer.1 where !isLifted(obstacle) { throw obstacle }
      }
      return run.outsideAccesses ?? []
    }
    guard request.isTraced, let parent = run.parent, request.options.outside != .trust else { return report.accesses }
    guard let process else { throw .nested("the command's process is not known") }
    // The outermost run is the one whose acache started the tracer.
    guard let outermost = parent.lineage.last, let answer = outermost.trace.accesses(of: process) else {
      throw .nested("the tracer of the outer call is gone")
    }
    for obstacle in answer.1 where !isLifted(obstacle) { throw obstacle }
    return report.accesses + answer.0
  }

  private func recording(_ pending: Pending) throws(Uncacheable) -> Recording {
    var (begun, outside) = (pending.recording, pending.outside)
    try outside.addInputs()
    var recording = try begun.complete()
    recording.observations.merge(outside.observations) { mine, _ in mine }
    recording.conditions += outside.conditions
    recording.outputs = (recording.outputs + outside.outputs).sorted(by: Recording.placingOrder)
    try declared.merge(into: &recording)
    recording.leaveOutInputs(where: request.options.isOutputOnly)
    return recording
  }

  private func store(_ recording: Recording, _ report: FinishReport) throws(Uncacheable) {
    let pathSet = PathSet(recording.observations.keys)
    let values = pathSet.observations.map { recording.observations[$0] ?? .absent }
    let consumed = try consumedInput(report)
    // A run that is kept for its history has a key that no call has.
    let weakKey = request.options.noCache ? run.id : try weakKey(recording)
    let relevant = EnvironmentPolicy.relevant(request.environment, request.options)
    do throws(StoreError) {
      var blob: Digest?
      if !report.segments.isEmpty { blob = try services.store.putBlob(from: spool).digest }
      var record = RunRecord(
        arguments: request.arguments, directory: request.directory, mount: request.mount,
        environmentNames: relevant.map(\.name),
        environmentDigests: relevant.map { EnvironmentPolicy.digest($0.name, $0.value, salt: services.salt) },
        observations: pathSet.observations, values: values, conditions: recording.conditions, input: consumed,
        outputs: recording.outputs, transcript: Transcript(blob: blob, segments: report.segments),
        exitStatus: UInt8(truncatingIfNeeded: casher_exit_status(report.waitStatus)), duration: report.duration,
        parent: run.parent?.id)
      record.expires = run.expires
      record.isHistoryOnly = request.options.noCache
      record.innerRuns = run.withRecorder { $0.innerRuns }
      if record.outputBytes > services.store.options.limit {
        throw StoreError(.tooLarge, services.store.directory)
      }
      let made = StoredRun.make(record, id: run.id, weakKey: weakKey, created: Clock.now(), tags: tags)
      try services.store.insert(made.run, pathSetBody: made.pathSetBody)
      if request.options.synchronous { try services.store.synchronize() }
    } catch {
      if error.code == .tooLarge { throw .tooLarge(bytes: recording.outputs.count == 0 ? 0 : outputSize(recording)) }
      throw .storeFailed("\(error)")
    }
  }

  /// Of a file on standard input the whole rest is in the key; how far the command read it is what a replay repeats.
  private func consumedInput(_ report: FinishReport) throws(Uncacheable) -> ConsumedInput? {
    switch request.input {
    case .none: nil
    case .pipe: try input.consumed(report.consumed, reachedEnd: report.reachedInputEnd)
    case .file:
      report.consumed == 0
        ? nil : ConsumedInput(count: report.consumed, digest: SHA256.digest(of: [UInt8]()), reachedEnd: false)
    }
  }

  private func outputSize(_ recording: Recording) -> Int64 {
    recording.outputs.reduce(into: Int64(0)) { sum, output in
      if case .file(_, let size, _) = output.content { sum &+= size }
    }
  }

  private var tags: [Tag] {
    request.options.tags.map { tag in
      let name = tag.prefix { $0 != UInt8(ascii: "=") }
      return Tag(
        name: String(decoding: name, as: UTF8.self),
        value: String(decoding: tag.dropFirst(name.count + 1), as: UTF8.self))
    }
  }
}
