import CasherSystem
import Glibc
import Synchronization

/// The socket of a mount's daemon: in the store, and when the store's directory has vanished, or another stands in its
/// place, elsewhere, so that the mount can still be asked how it is, frozen and unmounted.
final class DaemonSocket: Sendable {
  private let fallback: FilePath?
  private let state: Mutex<State>

  private struct State {
    var path: FilePath
    /// The socket that was made at the path.
    var made: InodeKey?
    var serve: (@Sendable (FileDescriptor) throws(Errno) -> Void)?
  }

  /// `fallback`: where it is when `path` is gone.
  init(at path: FilePath, fallback: FilePath?) {
    self.fallback = fallback
    state = Mutex(State(path: path))
  }

  /// Begins to listen; `serve` gets each descriptor to accept connections on, and starts a thread for it.
  func open(_ serve: @escaping @Sendable (FileDescriptor) throws(Errno) -> Void) throws(Errno) {
    try state.withLock { state throws(Errno) in
      state.made = try DaemonSocket.listen(at: state.path, serve)
      state.serve = serve
    }
  }

  /// Where callers reach the daemon.
  var path: FilePath {
    state.withLock { state in
      guard let fallback, let serve = state.serve, state.path != fallback else { return state.path }
      do throws(Errno) {
        if try FileDescriptor.workingDirectory.statusIfPresent(of: state.path)?.key != state.made {
          try fallback.parent.makeDirectories()
          state.made = try DaemonSocket.listen(at: fallback, serve)
          state.path = fallback
        }
      } catch {
        // The next caller tries again.
      }
      return state.path
    }
  }

  /// Whether the one in the store was found to be gone.
  var isElsewhere: Bool { state.withLock { $0.path == fallback } }

  func remove() { try? FileDescriptor.workingDirectory.remove(state.withLock { $0.path }) }

  private static func listen(
    at path: FilePath, _ serve: (FileDescriptor) throws(Errno) -> Void
  ) throws(Errno) -> InodeKey {
    try? FileDescriptor.workingDirectory.remove(path)
    let listener = try MessageSocket.listen(at: path)
    try FileDescriptor.workingDirectory.setPermissions(of: path, 0o600)
    let made = try FileDescriptor.workingDirectory.status(of: path).key
    try serve(listener)
    return made
  }
}
