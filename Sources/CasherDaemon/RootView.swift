import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem
import Synchronization

/// The machine's whole root as a view for each run: what commands use outside the mount is then seen by the same means as
/// what they use inside, and nothing has to be traced.
///
/// A filesystem of its own over `/`, made at the first need, which is in nobody's mount table: a run gets its view as a
/// descriptor, and makes it its root.
final class RootView: Sendable {
  private enum State {
    case unmade
    case made(Overlay)
    case unavailable(String)
  }

  private let state = Mutex(State.unmade)
  private let hasPrepared = Atomic(false)
  private let configuration: DaemonConfiguration
  private let recorder: OutsideRecorder
  private let connections: ConnectionGuard
  /// Whether the mount's own overlay has passthrough; nil while it is not known.
  private let hasPassthrough: @Sendable () -> Bool

  init(
    _ configuration: DaemonConfiguration, runs: RunTable, _ connections: ConnectionGuard,
    hasPassthrough: @escaping @Sendable () -> Bool
  ) {
    self.configuration = configuration
    self.connections = connections
    self.hasPassthrough = hasPassthrough
    recorder = OutsideRecorder(runs)
  }

  /// What a run sees of the machine as it is: the kernel's own view of itself, and the sockets of the daemons.
  var keptPaths: [FilePath] {
    OutsidePaths.neverCounting + [configuration.storeDirectory.appending("mounts")]
  }

  /// The filesystem, made if it was not; or why there is none, as the end of a sentence.
  func overlay() -> Result<Overlay, Unavailable> {
    state.withLock { state in
      switch state {
      case .made(let overlay): return .success(overlay)
      case .unavailable(let reason): return .failure(Unavailable(reason))
      case .unmade:
        do throws(Unavailable) {
          let overlay = try make()
          state = .made(overlay)
          return .success(overlay)
        } catch {
          state = .unavailable(error.reason)
          return .failure(error)
        }
      }
    }
  }

  /// The filesystem if it was made.
  var present: Overlay? {
    state.withLock { state in
      if case .made(let overlay) = state { return overlay }
      return nil
    }
  }

  /// Why runs of this caller cannot have such a view, as the end of a sentence; nil when they can.
  func obstacle(for caller: Caller, within parent: Run?) -> String? {
    if case .failure(let unavailable) = overlay() { return unavailable.reason }
    if caller.user != 0 { return "only root can make it a command's root" }
    let other = parent?.process ?? 0
    guard Namespaces.sharesMounts(caller.process, with: parent == nil ? nil : other) else {
      return "the command is called in another mount namespace"
    }
    // What the daemon makes when a hit comes is there before the first command can have seen that it is not.
    if !hasPrepared.exchange(true, ordering: .relaxed), let file = configuration.stateFile("placed") {
      try? file.parent.makeDirectories()
    }
    return nil
  }

  /// For `casherfs status`: by which means it is seen what commands use outside, and why not by the better one.
  var description: String {
    switch overlay() {
    case .success: "by a view of the root"
    case .failure(let unavailable): "by strace, as \(unavailable.reason)"
    }
  }

  func stop() {
    let overlay = state.withLock { state -> Overlay? in
      defer { state = .unavailable("the mount has ended") }
      if case .made(let overlay) = state { return overlay }
      return nil
    }
    if let device = overlay?.device { connections.remove(device: device) }
    overlay?.stop()
  }

  struct Unavailable: Error {
    let reason: String
    init(_ reason: String) { self.reason = reason }
  }

  private func make() throws(Unavailable) -> Overlay {
    guard hasPassthrough() else { throw Unavailable("there is no passthrough") }
    var overlayConfiguration = Overlay.Configuration(directory: "/")
    overlayConfiguration.isDetached = true
    overlayConfiguration.timeout = 1
    overlayConfiguration.keepsAwake = configuration.keepsAwake
    overlayConfiguration.trace = configuration.trace
    if let threads = configuration.threads { overlayConfiguration.threads = threads }
    let overlay: Overlay
    do throws(OverlayError) {
      overlay = try Overlay(configuration: overlayConfiguration, recorder: recorder)
      try overlay.mount()
    } catch { throw Unavailable("\(error)") }
    if let device = overlay.device { connections.add(device: device) }
    // Views are mounts made of the detached one, which older kernels do not allow.
    let trial = overlay.makeView(token: FilePath(SHA256.digest(of: Randomness.bytes(32)).hexadecimal), attachment: nil)
    defer { overlay.retire(trial) }
    do throws(Errno) { try overlay.openView(trial).close() } catch {
      if let device = overlay.device { connections.remove(device: device) }
      overlay.stop()
      throw Unavailable("a detached mount cannot be shared (\(error)), which takes Linux 6.15 or newer")
    }
    return overlay
  }
}
