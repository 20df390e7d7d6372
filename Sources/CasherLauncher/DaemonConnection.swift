import CasherRecord
import CasherSystem

/// The conversation with a mount's daemon. Once it has failed it stays silent: the command goes on without it.
final class DaemonConnection {
  private let socket: MessageSocket
  /// Why there is no daemon any more; nil while there is one.
  private(set) var failure: String?

  init(to path: FilePath) throws(Errno) { socket = try MessageSocket.connect(to: path) }

  /// To wait for the next message with; nil when there will be none.
  var descriptor: FileDescriptor? { failure == nil ? socket.descriptor : nil }

  func send(_ message: CallerMessage, descriptors: [FileDescriptor] = []) {
    guard failure == nil else { return }
    do throws(Errno) { try socket.send(message.encoded, descriptors: descriptors) } catch {
      fail(error == .brokenPipe ? "the daemon has gone" : "the daemon has gone (\(error))")
    }
  }

  /// Tells the daemon that the command cannot have a view of its own, and waits until it is ready to know the command
  /// by its processes; false when it will not be.
  func agreeToGoWithoutView(_ reason: String) -> Bool {
    send(.withoutView(reason: reason))
    while let (message, descriptors) = receive() {
      for descriptor in descriptors { descriptor.close() }
      if case .proceed = message { return true }
    }
    return false
  }

  /// The next message and its descriptors, which are the caller's; nil when there is no daemon any more.
  func receive() -> (message: DaemonMessage, descriptors: [FileDescriptor])? {
    guard failure == nil else { return nil }
    var descriptors: [FileDescriptor] = []
    do {
      guard let received = try socket.receive(limit: ProtocolVersion.messageLimit) else {
        fail("the daemon has gone")
        return nil
      }
      descriptors = received.descriptors
      return (try DaemonMessage(encoded: received.bytes), descriptors)
    } catch {
      for descriptor in descriptors { descriptor.close() }
      fail("the daemon does not answer as it should (\(error))")
      return nil
    }
  }

  /// Ends the conversation on this side.
  func close() {
    if failure == nil { fail("the conversation is over") }
  }

  private func fail(_ reason: String) {
    failure = reason
    socket.close()
  }
}
