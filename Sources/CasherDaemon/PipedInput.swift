import CasherRecord
import CasherStore
import CasherSystem
import Synchronization

/// A pipe on the caller's standard input: what can be seen of it before a decision, and what a run took from it.
final class PipedInput: Sendable {
  private struct State {
    /// The first bytes of the pipe, as far as they were asked for.
    var peeked: [UInt8] = []
    var isWhole = false
    /// Bytes that the run has taken.
    var count: UInt64 = 0
  }

  private let connection: Connection
  private let state = Mutex(State())
  private let hash = Mutex<HashBox>(HashBox())

  private struct HashBox: ~Copyable {
    var hash: SHA256? = SHA256()
    mutating func finish() -> Digest {
      switch hash.take() {
      case .some(let hash): hash.finalize()
      case nil: SHA256().finalize()
      }
    }
  }

  init(_ connection: Connection) { self.connection = connection }

  /// Whether what a recorded run took is what it would take now.
  func matches(_ recorded: ConsumedInput) throws(CallAborted) -> Bool {
    let wanted = recorded.count &+ (recorded.reachedEnd ? 1 : 0)
    if wanted == 0 { return true }
    let (bytes, isWhole) = try peek(wanted)
    if recorded.reachedEnd {
      guard isWhole, UInt64(bytes.count) == recorded.count else { return false }
    } else {
      guard UInt64(bytes.count) >= recorded.count else { return false }
    }
    guard let count = Int(exactly: recorded.count) else { return false }
    return SHA256.digest(of: bytes[..<count]) == recorded.digest
  }

  private func peek(_ count: UInt64) throws(CallAborted) -> ([UInt8], Bool) {
    let known = state.withLock { ($0.peeked, $0.isWhole) }
    if UInt64(known.0.count) >= count || known.1 { return known }
    guard connection.send(.wantInput(count: count)) else { throw CallAborted() }
    guard let (message, descriptors) = connection.receive() else { throw CallAborted() }
    for descriptor in descriptors { descriptor.close() }
    guard case .input(let bytes, let isEnd) = message else { throw CallAborted() }
    state.withLock {
      $0.peeked = bytes
      $0.isWhole = isEnd
    }
    return (bytes, isEnd)
  }

  /// Bytes that the running command took.
  func take(_ bytes: [UInt8]) {
    hash.withLock { $0.hash?.update(bytes) }
    state.withLock { $0.count &+= UInt64(bytes.count) }
  }

  /// All that the command took; nil when that is nothing and it did not look whether there is anything.
  func consumed(reachedEnd: Bool) -> ConsumedInput? {
    let count = state.withLock { $0.count }
    if count == 0 && !reachedEnd { return nil }
    return ConsumedInput(count: count, digest: hash.withLock { $0.finish() }, reachedEnd: reachedEnd)
  }
}
