import CasherOverlay
import CasherRecord
import CasherSystem
import Glibc

/// Answers the socket of a mount that shows a freeze: it can be asked how it is and unmounted, and calls run plainly.
struct FrozenServer: Sendable {
  let overlay: Overlay
  let listener: FileDescriptor
  let freeze: Int64
  let store: FilePath

  /// Serves until the socket is closed, each connection on a thread of its own.
  func serve() {
    while true {
      let socket: MessageSocket
      do throws(Errno) { socket = try MessageSocket.accept(on: listener) } catch {
        if [EBADF, EINVAL, ENOTSOCK].contains(error.rawValue) { return }
        var pause = timespec(tv_sec: 0, tv_nsec: 1_000_000)
        nanosleep(&pause, nil)
        continue
      }
      do throws(Errno) { try SystemThread.start { converse(Connection(socket)) } } catch { socket.close() }
    }
  }

  private func converse(_ connection: Connection) {
    defer { connection.close() }
    guard let peer = try? connection.peer(), peer.user == geteuid() || peer.user == 0 else {
      connection.send(.plain("the mount belongs to another user"))
      return
    }
    guard let (message, descriptors) = connection.receive() else { return }
    for descriptor in descriptors { descriptor.close() }
    let sentence = "\(overlay.directory) shows freeze \(freeze), read-only, and nothing is recorded in it"
    switch message {
    case .control("flush"): connection.send(.answer(lines: [], status: 0))
    case .control("freeze"), .control("freeze-giving-up"):
      connection.send(.answer(lines: ["files=0", "bytes=0"], status: 0))
    case .control("status"): connection.send(.answer(lines: status, status: 0))
    case .control("unmount"):
      let isDone = overlay.unmountOnceUnused()
      connection.send(.answer(lines: isDone ? [] : ["\(overlay.directory) is in use"], status: isDone ? 0 : 1))
    case .control: connection.send(.answer(lines: [sentence], status: 2))
    default: connection.send(.plain(sentence))
    }
  }

  private var status: [String] {
    [
      "directory=\(overlay.directory)", "store=\(store)", "process=\(getpid())", "frozen=\(freeze)",
      "passthrough=\(overlay.usesPassthrough)", "passthrough_reason=\(overlay.passthroughReason)",
    ] + overlay.counters.map { "\($0.name)=\($0.value)" }
  }
}
