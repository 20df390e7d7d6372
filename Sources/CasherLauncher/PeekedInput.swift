import CasherRecord
import CasherSystem

/// A pipe or socket on standard input before it is known whether the command runs: shows the daemon what is coming, and
/// takes nothing as long as the pipe can hold it.
final class PeekedInput {
  let source: FileDescriptor
  let isSocket: Bool
  /// What had to be taken; the command gets it first.
  private(set) var held: [UInt8] = []
  /// How many bytes from the front the daemon has been sent.
  private(set) var sent = 0
  private var heldIsEnd = false

  /// How long a writer may pause before the daemon is told no more, in milliseconds: it may be waiting for an answer of
  /// the command to what it has written.
  private static let patience: Int32 = 2000

  private init(source: FileDescriptor, isSocket: Bool, held: [UInt8]) {
    self.source = source
    self.isSocket = isSocket
    self.held = held
  }

  /// Nil when standard input is neither a pipe nor a socket. `held`: what has been taken from it before.
  convenience init?(_ input: StandardStreams.Input, held: [UInt8] = []) {
    switch input {
    case .pipe: self.init(source: .standardInput, isSocket: false, held: held)
    case .socket: self.init(source: .standardInput, isSocket: true, held: held)
    default: return nil
    }
  }

  /// The bytes from what was sent last up to the first `count` of the input, fewer when there are not as many.
  func next(upTo count: UInt64) -> CallerMessage {
    let count = Int(clamping: count)
    var front: (bytes: [UInt8], isEnd: Bool) = (held, heldIsEnd)
    if held.count < count && !heldIsEnd {
      if held.isEmpty, let peeked = peek(count) {
        front = peeked
      } else {
        take(count)
        front = (held, heldIsEnd)
      }
    }
    let new = Array(front.bytes.prefix(count).dropFirst(sent))
    sent += new.count
    return .input(new, isEnd: front.isEnd && sent == front.bytes.count)
  }

  /// Takes the first `count` bytes, as the command took them in the run that is replayed.
  func consume(_ count: UInt64) {
    let have = Int(clamping: count)
    if have > held.count { take(have) }
  }

  /// Nil when as many bytes may not fit into the pipe.
  private func peek(_ count: Int) -> (bytes: [UInt8], isEnd: Bool)? {
    if isSocket { return peekSocket(count) }
    // Short writes leave pages half empty: a pipe holds at least half of its size.
    guard let size = try? source.pipeSize(), count <= size / 2,
      let there = try? source.awaitGrowth(beyond: count - 1, timeout: PeekedInput.patience),
      let scratch = try? FileDescriptor.makePipe()
    else { return nil }
    defer {
      scratch.reading.close()
      scratch.writing.close()
    }
    if there.bytes == 0 { return ([], there.isEnd) }
    guard (try? scratch.writing.setPipeSize(Int32(clamping: size))) != nil,
      let copied = try? source.tee(to: scratch.writing, count: there.bytes),
      let bytes = try? scratch.reading.readExactly(copied)
    else { return nil }
    // The end was seen before the copy was made: nothing can have come between.
    return (bytes, there.isEnd && copied == there.bytes)
  }

  private func peekSocket(_ count: Int) -> (bytes: [UInt8], isEnd: Bool)? {
    var bytes = [UInt8](repeating: 0, count: min(count, 65536))
    let read = try? bytes.withUnsafeMutableBytes { buffer throws(Errno) in try source.peek(into: buffer) }
    guard let read, read >= count else { return nil }
    return (Array(bytes.prefix(read)), false)
  }

  private func take(_ count: Int) {
    var items = [PollItem.reading(source)]
    while held.count < count && !heldIsEnd {
      guard let ready = try? PollItem.wait(&items, timeout: PeekedInput.patience), ready > 0 else { return }
      guard let bytes = try? source.readSome(count - held.count) else { return }
      held += bytes
      heldIsEnd = bytes.isEmpty
    }
  }
}

extension FileDescriptor {
  /// What one read(2) gives, at most `limit` bytes; nothing at the end.
  func readSome(_ limit: Int) throws(Errno) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: min(limit, 1 << 20))
    let outcome = bytes.withUnsafeMutableBytes { buffer -> Result<Int, Errno> in
      do throws(Errno) { return .success(try read(into: buffer)) } catch { return .failure(error) }
    }
    return Array(bytes.prefix(try outcome.get()))
  }

  /// `count` bytes, fewer only at the end.
  func readExactly(_ count: Int) throws(Errno) -> [UInt8] {
    var result: [UInt8] = []
    while result.count < count {
      let bytes = try readSome(count - result.count)
      if bytes.isEmpty { break }
      result += bytes
    }
    return result
  }
}
