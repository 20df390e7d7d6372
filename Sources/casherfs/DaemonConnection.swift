import CasherRecord
import CasherSystem
import Glibc

/// What a daemon answered to a request.
struct DaemonAnswer: Sendable {
  var lines: [String] = []
  var status: UInt8 = 0
  /// Why the daemon does not deal with this caller at all.
  var refusal: String?

  /// The lines of the form `key=value`, in order.
  var pairs: [(key: String, value: String)] {
    lines.compactMap { line in
      let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
    }
  }
}

/// Requests from casherfs to the daemon of a mount.
enum DaemonConnection {
  /// Longest answer that is read, in bytes.
  private static let answerLimit = 1 << 24

  /// Where the daemon that serves the directory listens. ENOTCONN: there was one, and it is gone. ENODATA and
  /// EOPNOTSUPP: the directory is not in a mount of Casher's.
  static func socket(servingDirectory directory: FilePath) throws(Errno) -> FilePath {
    let value = try directory.extendedAttribute(ProtocolVersion.attribute)
    do throws(DecodingFailure) { return try MountAnswer(encoded: value).socket } catch { throw .noData }
  }

  /// Sends one request and waits for its answer.
  static func ask(_ request: String, at socket: FilePath) throws(Errno) -> DaemonAnswer {
    let connection = try MessageSocket.connect(to: socket)
    defer { connection.close() }
    try connection.send(CallerMessage.control(request).encoded)
    guard let message = try connection.receive(limit: answerLimit) else { throw Errno(rawValue: ECONNRESET) }
    for descriptor in message.descriptors { descriptor.close() }
    do throws(DecodingFailure) {
      switch try DaemonMessage(encoded: message.bytes) {
      case .answer(let lines, let status): return DaemonAnswer(lines: lines, status: status)
      case .plain(let sentence): return DaemonAnswer(status: 1, refusal: sentence)
      default: throw DecodingFailure("an answer to another question")
      }
    } catch { throw .ioError }
  }

  /// Connects without asking anything, for `waitForEnd`: the kernel closes the connection when the daemon ends.
  static func watch(_ socket: FilePath) throws(Errno) -> MessageSocket { try MessageSocket.connect(to: socket) }

  /// Returns when the daemon at the other end has ended.
  static func waitForEnd(_ watched: MessageSocket) {
    while let message = try? watched.receive(limit: answerLimit) {
      for descriptor in message.descriptors { descriptor.close() }
    }
  }
}
