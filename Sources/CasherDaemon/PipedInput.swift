import CasherRecord
import CasherStore
import CasherSystem
import Synchronization

/// A pipe on the caller's standard input: what can be seen of it before a decision, and what a run took from it.
final class PipedInput: Sendable {
  private struct State {
    /// Bytes that acache has sent, in order, less those that went into the hash.
    var tail: [UInt8] = []
    /// How many bytes have gone into the hash.
    var hashed: UInt64 = 0
    /// Whether the pipe's end is behind the tail.
    var isWhole = false
  }

  /// Bytes that are kept apart from the hash, because the command may turn out to have taken fewer than were sent.
  private static let tailLimit = 32 << 20

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

  /// The first bytes of the pipe, as far as it has them, and whether these are all. Only before the command runs.
  private func peek(_ count: UInt64) throws(CallAborted) -> ([UInt8], Bool) {
    let known = state.withLock { ($0.tail, $0.isWhole) }
    if UInt64(known.0.count) >= count || known.1 { return known }
    guard connection.send(.wantInput(count: count)) else { throw CallAborted() }
    guard let (message, descriptors) = connection.receive() else { throw CallAborted() }
    for descriptor in descriptors { descriptor.close() }
    guard case .input(let bytes, let isEnd) = message else { throw CallAborted() }
    return state.withLock {
      $0.tail += bytes
      $0.isWhole = isEnd
      return ($0.tail, isEnd)
    }
  }

  /// Bytes from the pipe while the command runs, after those that were peeked at.
  func take(_ bytes: [UInt8]) {
    state.withLock { state in
      state.tail += bytes
      guard state.tail.count > 2 * PipedInput.tailLimit else { return }
      let settled = state.tail.count - PipedInput.tailLimit
      hash.withLock { $0.hash?.update(state.tail[..<settled]) }
      state.hashed &+= UInt64(settled)
      state.tail.removeFirst(settled)
    }
  }

  /// What the command took: the first `count` bytes. Nil when that is nothing and it did not look whether there is
  /// anything; `.standardInput` is thrown when it cannot be told any more.
  func consumed(_ count: UInt64, reachedEnd: Bool) throws(Uncacheable) -> ConsumedInput? {
    if count == 0 && !reachedEnd { return nil }
    let (tail, hashed) = state.withLock { ($0.tail, $0.hashed) }
    guard count >= hashed, let rest = Int(exactly: count - hashed), rest <= tail.count else { throw .standardInput }
    let digest = hash.withLock { box in
      box.hash?.update(tail[..<rest])
      return box.finish()
    }
    return ConsumedInput(count: count, digest: digest, reachedEnd: reachedEnd)
  }
}
