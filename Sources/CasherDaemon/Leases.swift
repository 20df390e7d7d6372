import CasherOverlay
import CasherSystem
import Glibc

/// Who uses a mount that is to be there only as long as it is used (`casherfs mount -o transient`, which
/// `acache --mount` asks for). Each user keeps a connection; when the last has gone the mount ends.
final class Leases: Sendable {
  private struct State {
    var count = 0
    var isEnding = false
  }

  private let state = Monitor(State())
  private let isTransient: Bool

  /// How long a mount waits for its first user, nanoseconds: who asked for it may have been killed.
  private static let patience: Int64 = 10_000_000_000

  init(isTransient: Bool) { self.isTransient = isTransient }

  /// False when the mount is ending.
  func take() -> Bool {
    state.update { state in
      if state.isEnding { return false }
      state.count += 1
      return true
    }
  }

  /// True when it was the last one and the mount has to end.
  func giveBack() -> Bool {
    state.update { state in
      state.count -= 1
      if state.count > 0 || !isTransient || state.isEnding { return false }
      state.isEnding = true
      return true
    }
  }

  /// Returns when somebody uses the mount; true when nobody came and it has to end.
  func waitForFirst() -> Bool {
    guard isTransient else { return false }
    let hasCome = state.wait(timeout: Leases.patience) { $0.count > 0 ? true : nil }
    return hasCome == nil && take() && giveBack()
  }
}

extension ControlHandler {
  /// Takes a mount that nobody needs any more away; whoever stands in it keeps what he has. False when that is not
  /// possible without losing sight of files: the mount stays.
  func endMount() -> Bool {
    _ = services.hasUsedViews(timeoutNanoseconds: 1_000_000_000)
    guard services.freezing.run(nil).failures.isEmpty else { return false }
    for _ in 0..<25 {
      if services.overlay.unmount() {
        waitForCaptures()
        return true
      }
      var pause = timespec(tv_sec: 0, tv_nsec: 20_000_000)
      nanosleep(&pause, nil)
    }
    return services.overlay.unmount(lazily: true)
  }
}

extension Server {
  /// Keeps the mount for a caller until it says that it needs it no more, or is gone. When it was the last, the
  /// connection stays until this process has ended.
  static func lease(_ connection: Connection, _ services: Services) {
    guard services.leases.take() else { return }
    connection.send(.answer(lines: [], status: 0))
    if let (_, descriptors) = connection.receive() { for descriptor in descriptors { descriptor.close() } }
    guard services.leases.giveBack(), ControlHandler(services: services).endMount() else { return }
    while let (_, descriptors) = connection.receive() { for descriptor in descriptors { descriptor.close() } }
  }
}
