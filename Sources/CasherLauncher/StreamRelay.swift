import CasherSystem

/// One of the command's output streams: a pipe or pseudo-terminal whose other end the command has, read as it comes and
/// written on.
final class StreamRelay {
  /// 1 for stdout, 2 for stderr.
  let stream: UInt8
  private let source: FileDescriptor
  let target: FileDescriptor
  /// Nil for a pipe.
  private(set) var terminal: PseudoTerminal?
  private let isFile: Bool
  /// Whether nothing of what is written to the target stays.
  private let forgetsAll: Bool
  /// How much is read at once.
  private var room = StreamRelay.usualRoom
  private(set) var isOpen = true
  /// Bytes that have been written on.
  private(set) var passed: UInt64 = 0
  /// What wakes from the wait for a target that takes nothing, and what is asked then: false when nobody waits for what
  /// is written any more.
  var interruption: (wake: FileDescriptor, goesOn: () -> Bool)?

  /// Makes the pipe; the writing end is for the command.
  static func make(stream: UInt8, target: FileDescriptor) throws(Errno) -> (StreamRelay, FileDescriptor) {
    let pipe = try FileDescriptor.makePipe()
    do throws(Errno) { try pipe.reading.setNonBlocking() } catch {
      pipe.reading.close()
      pipe.writing.close()
      throw error
    }
    return (StreamRelay(stream, pipe.reading, target), pipe.writing)
  }

  /// Makes a pseudo-terminal for a stream that goes to one; the other end is for the command.
  static func makeTerminal(stream: UInt8, target: FileDescriptor) throws(Errno) -> (StreamRelay, FileDescriptor) {
    let (terminal, end) = try PseudoTerminal.make(like: target)
    let relay = StreamRelay(stream, terminal.master, target)
    relay.terminal = terminal
    return (relay, end)
  }

  private init(_ stream: UInt8, _ source: FileDescriptor, _ target: FileDescriptor) {
    self.stream = stream
    self.source = source
    self.target = target
    let status = try? target.status()
    isFile = status?.type == .regular
    forgetsAll = status?.forgetsAll == true
  }

  /// A pipe's size unless it is changed, bytes (pipe(7)).
  private static let usualRoom = 65536
  /// The size of a pipe that has been found full, bytes.
  private static let largeRoom = 1 << 20

  /// The command may have waited for what is in the pipe to be taken: from then on more fits, so that it waits less often.
  private func enlarge() {
    guard room == StreamRelay.usualRoom, terminal == nil else { return }
    room = StreamRelay.usualRoom * 4
    try? source.setPipeSize(Int32(StreamRelay.largeRoom))
  }

  var waitsFor: PollItem? { isOpen ? .reading(source) : nil }

  /// Writes on what is there, at most a pipe full; false when there was nothing.
  @discardableResult
  func proceed(_ spool: inout TranscriptSpool) -> Bool {
    guard isOpen else { return false }
    if forgetsAll, terminal == nil, let count = try? spool.take(from: source, upTo: StreamRelay.largeRoom, of: stream) {
      if count >= room { enlarge() }
      passed &+= UInt64(count)
      return true
    }
    return withUnsafeTemporaryAllocation(byteCount: room, alignment: 16) { buffer in
      do throws(Errno) {
        let count = try source.read(into: buffer)
        guard count > 0 else {
          close()
          return false
        }
        if count == buffer.count { enlarge() }
        passOn(UnsafeRawBufferPointer(rebasing: buffer[..<count]), &spool)
        return true
      } catch {
        if error != .wouldBlock { close() }
        return false
      }
    }
  }

  /// What one read gave: of a pseudo-terminal a packet.
  private func passOn(_ bytes: UnsafeRawBufferPointer, _ spool: inout TranscriptSpool) {
    guard let terminal, let first = bytes.first else { return pass(bytes, &spool) }
    switch PseudoTerminal.packet(first) {
    case .output:
      pass(UnsafeRawBufferPointer(rebasing: bytes.dropFirst()), &spool)
      // Who is not in the terminal's foreground is not told of its size.
      terminal.adoptSize()
    case .settings: terminal.adoptSettings()
    case .other: break
    }
  }

  private func pass(_ bytes: UnsafeRawBufferPointer, _ spool: inout TranscriptSpool) {
    spool.append(bytes, of: stream)
    passed &+= UInt64(bytes.count)
    do throws(Errno) { try writeOn(bytes) } catch {
      // Without a reader the command must find none either: its next write fails as it would have.
      spool.lose("the reader of what it printed went away (\(error))")
      close()
    }
  }

  /// Writes everything, unless that is interrupted before there is room for it: EINTR.
  private func writeOn(_ bytes: UnsafeRawBufferPointer) throws(Errno) {
    var rest = bytes
    while !rest.isEmpty {
      var items = [PollItem.writing(target)]
      if try PollItem.wait(&items, timeout: 0) == 0 {
        if interruption?.goesOn() == false { throw .interrupted }
        if let interruption { items.append(.reading(interruption.wake)) }
        try PollItem.wait(&items)
        guard items[0].isReady else { continue }
      }
      // A pipe that is ready has room for so much, and the write does not wait (pipe(7), PIPE_BUF).
      let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(isFile || forgetsAll ? rest.count : 4096))
      do throws(Errno) {
        rest = UnsafeRawBufferPointer(rebasing: rest[try target.writeInterruptibly(piece)...])
      } catch {
        if error != .interrupted && error != .wouldBlock { throw error }
      }
    }
  }

  /// When something was written on to a file: tells the daemon so; false when that is not possible.
  func announceWriting() -> Bool {
    passed == 0 || !isFile || target.announceWriting()
  }

  func close() {
    guard isOpen else { return }
    isOpen = false
    terminal?.release()
    source.close()
  }
}
