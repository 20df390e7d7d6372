import CasherRecord

/// Sends what the command takes from its input on to the daemon, in pieces worth a message.
final class InputBatch {
  private let daemon: DaemonConnection
  private var toSkip: Int
  private var bytes: [UInt8] = []

  /// The first `alreadySent` bytes have been shown to the daemon before the command ran.
  init(daemon: DaemonConnection, alreadySent: Int) {
    self.daemon = daemon
    toSkip = alreadySent
  }

  func append(_ taken: [UInt8]) {
    let skipped = min(toSkip, taken.count)
    toSkip -= skipped
    bytes += taken.dropFirst(skipped)
    if bytes.count >= 1 << 16 { flush(isEnd: false) }
  }

  func flush(isEnd: Bool) {
    if bytes.isEmpty && !isEnd { return }
    daemon.send(.input(bytes, isEnd: isEnd))
    bytes = []
  }
}
