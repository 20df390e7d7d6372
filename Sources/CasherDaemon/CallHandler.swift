import CLinux
import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem
import Glibc
import Synchronization

/// What the daemon's calls share.
struct Services: Sendable {
  let overlay: Overlay
  let store: Store
  let socket: DaemonSocket
  let blobs: PlacedBlobs
  let runs: RunTable
  let made: MountRuns
  let freezing: Freezing
  let flights: SingleFlight
  let digester: FileDigester
  let pathSets: PathSetCache
  let known: KnownRuns
  let tree: Tree
  let configuration: DaemonConfiguration
  /// Salts the digests of environment variables.
  let salt: [UInt8]
  /// The device number that files in the mount show; nil until it is known.
  let mountDevice: UInt64?
  let log: DaemonLog
  let leases: Leases
  let callConfiguration: CallConfiguration
  let attribution = Attribution()
  let rootView: RootView
  let events = EventFeed()

  /// As `Overlay.hasUsedViews`, of the mount and of the root.
  func hasUsedViews(timeoutNanoseconds: Int64) -> Bool {
    let begin = Clock.monotonic()
    if overlay.hasUsedViews(timeoutNanoseconds: timeoutNanoseconds) { return true }
    let rest = max(0, timeoutNanoseconds - (Clock.monotonic() - begin))
    return rootView.present?.hasUsedViews(timeoutNanoseconds: rest) ?? false
  }

  /// Waits until the kernel has been told of every change so far.
  func flushNotifications() {
    overlay.flushNotifications()
    rootView.present?.flushNotifications()
  }
}

/// How requests are told to be a run's: by its view, or, since a command could not have one, by its processes.
final class Attribution: Sendable {
  private let reason = Mutex<String?>(nil)

  func note(_ reason: String) { self.reason.withLock { $0 = reason } }

  /// For `casherfs status`.
  var description: String {
    reason.withLock { $0.map { "by process, as a view of its own was refused to a command: \($0)" } ?? "by view" }
  }
}

/// One call of acache, from its first message to its answer. Lives on a thread of its own.
struct CallHandler {
  let services: Services
  let connection: Connection
  let request: CallRequest
  let caller: Caller
  let parent: Run?
  /// The keys that the call may be recorded under, the first being the one to lead and store by. A relocatable call
  /// may have a result that is bound to this mount and stands under the mount's own key.
  let weakKeys: [Digest]
  let weakKey: Digest
  private let input: PipedInput
  private let trace = MissTrace()

  /// Transcripts up to this many bytes travel in the message itself.
  private static let inlineLimit: Int64 = 1 << 16

  init(_ services: Services, _ connection: Connection, _ request: CallRequest, _ caller: Caller, inputDigest: Digest?) {
    self.services = services
    self.connection = connection
    self.request = request
    self.caller = caller
    parent =
      request.parentView.isEmpty
      ? services.runs.run(ofProcess: caller.process) : services.runs.run(token: request.parentView)
    var bound = request
    bound.options.relocatable = false
    let key = WeakKey.make(request, caller: caller, input: inputDigest)
    weakKeys =
      request.options.relocatable ? [key, WeakKey.make(bound, caller: caller, input: inputDigest)] : [key]
    weakKey = key
    input = PipedInput(connection)
  }

  func handle() {
    defer { for key in trace.longSearches { services.known.learnAll(key, from: services.store) } }
    services.log.write("lookup", [("command", CommandText.make(request.arguments))])
    do throws(LookupFailure) {
      if request.options.dryRun {
        connection.send(try explanation())
        return
      }
      if request.options.check {
        let recorded = try find().map { Comparison(name: String($0.id.hexadecimal.prefix(12)), recorded: $0.record) }
        execute(messages: [], leads: false, check: .some(recorded))
        return
      }
      if request.options.readOnly {
        if try answerFromStore() { return }
        connection.send(
          .answer(
            lines: ["there is no result to answer from, and --read-only runs nothing"] + explain(),
            status: CallOptions.nothingRecordedStatus))
        return
      }
      if request.options.force || request.options.noCache {
        trace.met(.forced)
        execute(messages: [], leads: false)
        return
      }
      if try answerFromStore() { return }
      while true {
        switch services.flights.enter(weakKey, within: parent, mayLead: !request.options.noStore) {
        case .alone:
          execute(messages: explain(), leads: false)
          return
        case .ended(.stored), .ended(.died):
          if try answerFromStore() { return }
        case .ended(.notStored):
          if try answerFromStore() { return }
          execute(messages: explain(), leads: false)
          return
        case .lead:
          // Another's turn may have ended between the look and the lead.
          do throws(LookupFailure) {
            if try answerFromStore() {
              services.flights.end(weakKey, .stored)
              return
            }
          } catch {
            services.flights.end(weakKey, .died)
            throw error
          }
          execute(messages: explain(), leads: true)
          return
        }
      }
    } catch {
      guard case .store(let cause) = error else { return }
      services.store.count(.error)
      services.log.write("error", [("what", "lookup"), ("reason", "\(cause)")])
      connection.send(.plain("\(cause)"))
    }
  }

  private func explain() -> [String] {
    guard request.options.explain else { return [] }
    return (try? MissExplanation(services, request, weakKey).lines()) ?? []
  }

  private func explanation() throws(LookupFailure) -> DaemonMessage {
    if try find() != nil { return .answer(lines: ["hit: a recorded run has the same inputs"], status: 0) }
    return .answer(lines: (try? MissExplanation(services, request, weakKey).lines()) ?? [], status: 1)
  }

  // MARK: hits

  private func find() throws(LookupFailure) -> KnownRun? {
    let lookup = Lookup(
      mount: request.mount, tree: services.tree, digester: services.digester, store: services.store,
      pathSets: services.pathSets,
      known: services.known, trace: trace)
    let since = request.options.timeToLive.map { Clock.now().subtractingReportingOverflow($0).partialValue }
    for key in weakKeys {
      let found = try lookup.find(key, strictly: request.options.strict, since: since) { recorded throws(CallAborted) in
        guard let recorded, request.input == .pipe else { return true }
        return try input.matches(recorded)
      }
      if let found { return found }
    }
    return nil
  }

  /// Looks the call up and answers it; false on a miss.
  private func answerFromStore() throws(LookupFailure) -> Bool {
    let begin = Clock.monotonic()
    guard let run = try find() else { return false }
    let record = run.record
    var descriptors: [FileDescriptor] = []
    defer { for descriptor in descriptors { descriptor.close() } }
    var inline: [UInt8]? = []
    do throws(StoreError) {
      if let blob = record.transcript.blob {
        inline = run.transcript
        if inline == nil { inline = try services.store.blobBytes(blob, ifAtMost: CallHandler.inlineLimit) }
        run.transcript = inline
        if inline == nil { descriptors = [try services.store.openBlob(blob)] }
      }
    } catch {
      trace.met(.contentLost)
      services.log.write("unusable", [("run", String(run.id.hexadecimal.prefix(12))), ("reason", "\(error)")])
      return false
    }
    let placer = Placer(
      tree: services.tree, store: services.store, digester: services.digester, overlay: services.overlay,
      blobs: services.blobs, runs: services.runs, rootView: services.rootView)
    do throws(Placer.Failure) {
      try placer.place(record, of: run.id, request.options.restore, for: caller, within: parent)
    } catch {
      trace.met(.notPlaced)
      services.log.write(
        "unusable",
        [("run", String(run.id.hexadecimal.prefix(12))), ("path", "\(error.path)"), ("reason", error.cause)])
      return false
    }
    services.flushNotifications()
    parent?.expire(at: record.expires)
    parent?.contains(run.id)
    if request.options.restore != .never, !record.outputs.isEmpty { services.made.add(run.id) }
    services.store.touch(run.id)
    let took = Clock.monotonic() - begin
    services.store.count(.hit(saved: max(0, record.duration - took)), command: command)
    note(.hit, run.id, duration: took, saved: max(0, record.duration - took))
    services.log.write(
      "hit",
      [
        ("run", String(run.id.hexadecimal.prefix(12))), ("took_us", "\(took / 1000)"),
        ("saved_us", "\(max(0, record.duration - took) / 1000)"), ("command", CommandText.make(request.arguments)),
      ])
    connection.send(
      .hit(
        HitReply(
          run: run.id, exitStatus: record.exitStatus, segments: record.transcript.segments, inlineTranscript: inline,
          consume: record.input?.count ?? 0, duration: record.duration)), descriptors: descriptors)
    return true
  }

  /// For whoever watches the mount.
  private func note(
    _ kind: MountEvent.Kind, _ run: Digest, duration: Int64 = 0, reason: String = "", saved: Int64 = 0
  ) {
    services.events.note(
      MountEvent(
        kind: kind, run: String(run.hexadecimal.prefix(12)), duration: duration,
        command: CommandText.make(request.arguments), reason: reason), saved: saved)
  }

  /// What statistics know the command by.
  private var command: [UInt8] { Array(CommandText.make(request.arguments).utf8) }

  // MARK: misses

  /// `check`: compare with what is recorded, if anything is, and store nothing.
  private func execute(messages: [String], leads: Bool, check: Comparison?? = nil) {
    var ending = SingleFlight.Ending.died
    defer { if leads { services.flights.end(weakKey, ending) } }
    let id = SHA256.digest(of: Randomness.bytes(32))
    let secret = FilePath(SHA256.digest(of: Randomness.bytes(32)).hexadecimal)
    let overlay = services.overlay
    overlay.expectRequests()
    let recorder = RunRecorder(tree: services.tree, digester: services.digester) { key in
      guard let inode = overlay.inode(for: key) else { return nil }
      return try? inode.openForReading()
    }
    let outside = outsideMeans()
    let outsideLog =
      outside.overlay == nil ? nil : OutsideLog(ignored: outsideIgnored + services.rootView.keptPaths)
    let run = Run(
      id: id, token: secret, parent: parent, command: request.arguments, user: caller.user, recorder: recorder,
      outside: outsideLog,
      trace: TraceExchange(connection))
    let spool: FileDescriptor
    do throws(Errno) { spool = try Spool.make(in: services.store.directory) } catch {
      connection.send(.plain("the streams' spool cannot be made: \(error)"))
      return
    }
    defer { spool.close() }
    if leads { services.flights.announce(run, leads: weakKey) }
    let view = overlay.makeView(token: secret, attachment: run)
    let rootView = outside.overlay?.makeView(token: secret, attachment: run)
    services.runs.add(run)
    defer {
      run.trace.close()
      services.runs.remove(run)
      overlay.retire(view)
      if let rootView { outside.overlay?.retire(rootView) }
    }
    let declared = DeclaredInputs(request.options, tree: services.tree, digester: services.digester)
    if let parent { declared.note(in: parent) }
    // Before the command begins to change what the values are of.
    if check == nil { trace.note(weakKey, in: services.store, strictly: request.options.strict) }
    var reply = RunReply(
      view: overlay.viewsDirectory.appending(secret), run: id, outside: request.options.outside,
      outsideIgnored: outsideIgnored, messages: messages)
    reply.reason = check == nil ? trace.reason.sentence : "--check was given"
    reply.environmentOnly = request.options.environmentOnly
    reply.timeLimit = request.options.timeLimit
    reply.isWithinRun = parent != nil
    // What is compared is one run.
    if check == nil { reply.retries = request.options.retries }
    var root: FileDescriptor?
    if let rootView {
      do throws(Errno) {
        root = try outside.overlay?.openView(rootView)
        reply.hasRoot = root != nil
        reply.isWatcher = run.watcher == nil
        reply.keptPaths = services.rootView.keptPaths
      } catch { reply.rootObstacle = "\(error)" }
    } else if request.options.outside == .view {
      reply.rootObstacle = outside.obstacle
    }
    defer { root?.close() }
    guard connection.send(.run(reply), descriptors: [spool] + (root.map { [$0] } ?? [])) else { return }
    root?.close()
    root = nil
    note(.run, id, reason: trace.reason.rawValue)
    services.log.write(
      "miss",
      [
        ("reason", check == nil ? trace.reason.rawValue : "check"), ("command", CommandText.make(request.arguments)),
      ])
    services.log.write(
      "run", [("run", String(id.hexadecimal.prefix(12))), ("command", CommandText.make(request.arguments))])
    guard let (report, process) = follow(run) else { return }
    run.expire(at: request.options.timeToLive.map { CallHandler.time(in: $0) })
    services.log.write("capture", [("run", String(id.hexadecimal.prefix(12)))])
    let finish = RunFinish(
      services: services, request: request, caller: caller, run: run, view: view, weakKeys: weakKeys, spool: spool,
      input: input, declared: declared, process: process
    ) {
      services.log.write("store", [("run", String(id.hexadecimal.prefix(12)))])
      if request.options.verbose { connection.send(.phase("store")) }
    }
    if let check {
      let (lines, status) = finish.compare(report, with: check)
      services.flushNotifications()
      connection.send(.answer(lines: lines, status: status))
      return
    }
    services.store.count(.miss(reason: trace.reason.rawValue), command: command)
    let pending: RunFinish.Pending
    switch finish.begin(report) {
    case .success(let begun): pending = begun
    case .failure(let reason):
      settle(run, .failure(reason), &ending, leads: leads)
      connection.send(.recorded(uncacheable: reason, lines: []))
      return
    }
    if mayLeave(run, pending) {
      // What the command left is known by its times; reading it goes on behind acache.
      overlay.retire(view)
      services.flushNotifications()
      connection.send(.recorded(uncacheable: nil, lines: []))
      settle(run, finish.complete(pending), &ending, leads: leads)
      return
    }
    let outcome = finish.complete(pending)
    settle(run, outcome, &ending, leads: leads)
    var reason: Uncacheable?
    if case .failure(let why) = outcome { reason = why }
    connection.send(.recorded(uncacheable: reason, lines: []))
  }

  /// What is not told of what a run does outside: the mount, which its own view tells of.
  private var outsideIgnored: [FilePath] { [request.mount, services.configuration.directory] }

  /// The filesystem of which the run gets a view as its root, or why it gets none.
  private func outsideMeans() -> (overlay: Overlay?, obstacle: String) {
    guard request.options.outside == .view || request.options.outside == .automatic else { return (nil, "") }
    if request.isTraced, parent != nil { return (nil, "the call around it is traced") }
    if let obstacle = services.rootView.obstacle(for: caller, within: parent) { return (nil, obstacle) }
    return (services.rootView.present, "")
  }

  /// Whether acache may go before the result is stored. Not when it is to say what came of it; not when a run around this
  /// one has to know; not when the run is known by its processes, as all of the mount is observed until it is over; not
  /// before declared inputs, whose changes nobody observes, were compared.
  private func mayLeave(_ run: Run, _ pending: RunFinish.Pending) -> Bool {
    let options = request.options
    return !pending.isShort && !options.synchronous && !options.verbose && !options.explain && parent == nil
      && run.rootProcess == 0 && options.inputs.isEmpty
  }

  /// The outcome in statistics, log and for who waits for it.
  private func settle(
    _ run: Run, _ outcome: Result<Void, Uncacheable>, _ ending: inout SingleFlight.Ending, leads: Bool
  ) {
    var reason: Uncacheable?
    switch outcome {
    case .success:
      ending = .stored
      run.parent?.contains(run.id)
      services.made.add(run.id)
    case .failure(let why):
      reason = why
      ending = .notStored
      services.store.count(.uncacheable(code: why.code), command: command)
      if case .storeFailed = why { services.store.count(.error) }
    }
    services.flushNotifications()
    // Before the answer: whoever acts on it must find the run's changes to be no longer another hand's.
    services.runs.remove(run)
    note(
      reason == nil ? .stored : .uncacheable, run.id, duration: Clock.now() &- run.started, reason: reason?.code ?? "")
    services.log.write(
      reason == nil ? "stored" : "uncacheable",
      [("run", String(run.id.hexadecimal.prefix(12)))]
        + (reason.map { [("reason", $0.code), ("why", $0.sentence)] } ?? []))
    if leads { services.flights.end(weakKey, ending) }
  }

  /// The point in time in so many nanoseconds; `.max` when it is beyond what can be said.
  private static func time(in nanoseconds: Int64) -> Int64 {
    let (time, overflow) = Clock.now().addingReportingOverflow(nanoseconds)
    return overflow ? .max : time
  }

  /// Lets the run be known by its processes. Names that the kernel remembers of the main view would be used unseen: it is
  /// told to forget them, or, where it cannot be told, the time passes for which it may believe them.
  private func goWithoutView(_ run: Run, _ reason: String) {
    services.attribution.note(reason)
    services.runs.attribute(run, toDescendantsOf: caller.process)
    if services.overlay.forgetNames() { return }
    var pause = timespec(tv_sec: Int(services.configuration.timeout) + 1, tv_nsec: 0)
    nanosleep(&pause, nil)
  }

  /// Follows the call while its command runs; nil when acache died.
  private func follow(_ run: Run) -> (FinishReport, Int32?)? {
    var process: Int32?
    while let (message, descriptors) = connection.receive() {
      for descriptor in descriptors { descriptor.close() }
      switch message {
      case .started(let started):
        process = started
        run.process = started
      case .withoutView(let reason):
        goWithoutView(run, reason)
        connection.send(.proceed)
      case .input(let bytes, _): input.take(bytes)
      case .traced(let root, let accesses, let obstacles): run.trace.deliver(accesses, obstacles, of: root)
      case .finished(let report): return (report, process)
      case .call, .control: return nil
      }
    }
    return nil
  }
}
