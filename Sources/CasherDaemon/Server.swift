import CasherConfiguration
import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem
import Glibc
import Synchronization

/// Answers the mount's socket: each connection on a thread that serves no other meanwhile.
struct Server: Sendable {
  let services: Services
  let listener: FileDescriptor
  private let waiting = WaitingThreads()

  init(services: Services, listener: FileDescriptor) {
    self.services = services
    self.listener = listener
  }

  /// Serves until the socket is closed. More threads are started as they are needed: one always waits for the next
  /// connection, since a command that is being served may itself make a call.
  func serve() {
    while true {
      let socket: MessageSocket
      do throws(Errno) { socket = try MessageSocket.accept(on: listener) } catch {
        // Out of descriptors or memory for the moment, or a caller that has gone already; without the socket there is
        // nothing more to serve.
        if [EBADF, EINVAL, ENOTSOCK].contains(error.rawValue) { return }
        var pause = timespec(tv_sec: 0, tv_nsec: 1_000_000)
        nanosleep(&pause, nil)
        continue
      }
      if waiting.leave() {
        do throws(Errno) { try SystemThread.start { serve() } } catch {
          socket.close()
          continue
        }
      }
      Server.converse(Connection(socket), services)
      if !waiting.enter() { return }
    }
  }

  private static func converse(_ connection: Connection, _ services: Services) {
    defer { connection.close() }
    // The mount's owner and root; the store belongs to the owner alone.
    guard let peer = try? connection.peer(), peer.user == geteuid() || peer.user == 0 else {
      connection.send(.plain("the mount belongs to another user"))
      return
    }
    guard let (message, descriptors) = connection.receive() else { return }
    defer { for descriptor in descriptors { descriptor.close() } }
    switch message {
    case .control("lease"): lease(connection, services)
    case .control(let request):
      connection.send(ControlHandler(services: services).answer(request))
    case .call(var request):
      services.overlay.expectRequests()
      // What is placed from a store that nobody finds any more goes with this daemon.
      if services.socket.isElsewhere, !services.store.isInPlace {
        connection.send(.plain("the cache directory \(services.store.directory) is not there any more"))
        return
      }
      do throws(InvalidConfiguration) { try services.callConfiguration.apply(to: &request) } catch {
        services.log.write("error", [("what", "configuration"), ("reason", "\(error)")])
        connection.send(.plain("\(error)"))
        return
      }
      var inputDigest: Digest?
      if case .file(let offset) = request.input {
        guard let input = descriptors.first,
          let digest = try? SHA256.digest(of: input, at: offset, length: .max).digest
        else {
          connection.send(.plain("standard input cannot be read"))
          return
        }
        inputDigest = digest
      }
      guard let groups = try? connection.peerGroups() else {
        connection.send(.plain("the caller's groups cannot be told"))
        return
      }
      let caller = Caller(process: peer.process, user: peer.user, group: peer.group, groups: groups.sorted())
      CallHandler(services, connection, request, caller, inputDigest: inputDigest).handle()
    default: connection.send(.plain("the conversation began with something else than a call"))
    }
  }
}

/// How many threads wait for a connection. Starting one costs a small hit a tenth of its time, so some are kept.
private final class WaitingThreads: Sendable {
  private let count = Atomic<Int>(1)
  private static let kept = 4

  /// The caller waits no longer; true when nobody else does: then it has to start another thread, which is counted
  /// already, or else go on waiting itself.
  func leave() -> Bool {
    if count.subtract(1, ordering: .relaxed).newValue > 0 { return false }
    count.add(1, ordering: .relaxed)
    return true
  }

  /// The caller wants to wait again; false when enough do.
  func enter() -> Bool {
    if count.add(1, ordering: .relaxed).newValue <= WaitingThreads.kept { return true }
    count.subtract(1, ordering: .relaxed)
    return false
  }
}

/// Requests of casherfs about the mount.
struct ControlHandler {
  let services: Services

  func answer(_ request: String) -> DaemonMessage {
    switch request {
    case "flush":
      waitForCaptures()
      do throws(StoreError) {
        try services.store.flush()
        return .answer(lines: [], status: 0)
      } catch {
        return .answer(lines: ["\(error)"], status: 1)
      }
    case "freeze", "freeze-giving-up":
      // What a run that has just ended left is among the results once it is read.
      waitForCaptures()
      var report = services.freezing.run(.freeze)
      if request == "freeze-giving-up" { services.freezing.giveUp(&report) }
      return .answer(lines: lines(report), status: report.isComplete ? 0 : 1)
    case "status": return .answer(lines: status(), status: 0)
    case "unmount":
      // A run whose result is still being stored has its view of the root until then, and no program that could be ended.
      waitForCaptures()
      // A process in a view would keep the filesystem, and this daemon, after the mount is gone from sight.
      if !services.hasUsedViews(timeoutNanoseconds: 1_000_000_000) {
        // While it is mounted nothing is missing at any moment.
        let report = services.freezing.run(nil)
        if !report.failures.isEmpty { return .answer(lines: ["frozen"] + lines(report), status: 1) }
        if services.overlay.unmountOnceUnused() {
          waitForCaptures()
          return .answer(lines: lines(report), status: 0)
        }
      }
      let running = services.runs.inFlight.filter { $0.captures == nil }.map { CommandText.make($0.command) }
      return .answer(
        lines: ["\(services.configuration.directory) is in use: leave it and end the programs that use it"]
          + running.map { "running: \($0)" }, status: 1)
    case _ where request.hasPrefix(ChangeRequest.word): return ChangeRequest.answer(request, services)
    case _ where request.hasPrefix(WatchRequest.word): return WatchRequest.answer(request, services)
    default: return .answer(lines: ["unknown request: \(request)"], status: 2)
    }
  }

  /// `files=N`, `bytes=N`, `record=ID` or `unrecorded=REASON`, then a line for each path that is not an ordinary file, and
  /// for each that was given up.
  private func lines(_ report: FreezeReport) -> [String] {
    ["files=\(report.files)", "bytes=\(report.bytes)"]
      + (report.record.map { ["record=\($0)"] } ?? []) + (report.unrecorded.map { ["unrecorded=\($0)"] } ?? [])
      + (report.failures + report.lost).map { "failed=\($0.path): \($0.reason)" }
      + report.forgotten.map { "forgotten=\($0.path): \($0.reason)" }
  }

  /// Until what runs have left so far is in the store.
  func waitForCaptures() { for run in services.runs.inFlight { run.captures?.waitUntilOver() } }

  private func status() -> [String] {
    let overlay = services.overlay
    let runs = services.runs.inFlight
    let running = runs.filter { $0.captures == nil }
    let ended = runs.filter { $0.captures != nil }
    var lines = [
      "directory=\(services.configuration.directory)",
      "store=\(services.store.directory)",
      "process=\(getpid())",
      "passthrough=\(overlay.usesPassthrough)",
      "passthrough_reason=\(overlay.passthroughReason)",
      "attribution=\(services.attribution.description)",
      "outside=\(services.rootView.description)",
      "runs=\(running.count)",
      "capturing=\(ended.count)",
      "sql_statements=\(Store.statementsRun)",
    ]
    for (name, value) in overlay.counters { lines.append("\(name)=\(value)") }
    for (name, value) in services.rootView.present?.counters ?? []
    where !name.hasPrefix("placed") && name != "writers" {
      lines.append("outside.\(name)=\(value)")
    }
    for run in running { lines.append("running=\(CommandText.make(run.command))") }
    return lines
  }
}
