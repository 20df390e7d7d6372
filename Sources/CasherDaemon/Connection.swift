import CasherRecord
import CasherSystem
import Synchronization

/// One caller's connection. Received by one thread; sent to by any.
final class Connection: Sendable {
  private let socket: MessageSocket
  private let sending = Mutex<Bool>(true)

  init(_ socket: MessageSocket) { self.socket = socket }

  /// Sends a message; false when the caller has gone.
  @discardableResult
  func send(_ message: DaemonMessage, descriptors: [FileDescriptor] = []) -> Bool {
    sending.withLock { isOpen in
      guard isOpen else { return false }
      do throws(Errno) {
        try socket.send(message.encoded, descriptors: descriptors)
        return true
      } catch {
        return false
      }
    }
  }

  /// The next message; nil when the caller has gone or says what cannot be understood.
  func receive() -> (message: CallerMessage, descriptors: [FileDescriptor])? {
    guard let received = try? socket.receive(limit: ProtocolVersion.messageLimit) else { return nil }
    do {
      return (try CallerMessage(encoded: received.bytes), received.descriptors)
    } catch {
      for descriptor in received.descriptors { descriptor.close() }
      send(.plain("\(error)"))
      return nil
    }
  }

  func peer() throws(Errno) -> (process: Int32, user: UInt32, group: UInt32) { try socket.peer() }

  func peerGroups() throws(Errno) -> [UInt32] { try socket.peerGroups() }

  func close() {
    sending.withLock { $0 = false }
    socket.close()
  }
}
