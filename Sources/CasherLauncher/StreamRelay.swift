import CasherSystem

/// One of the command's output streams: a pipe whose other end the command has, read as it comes and written on.
final class StreamRelay {
  /// 1 for stdout, 2 for stderr.
  let stream: UInt8
  private let source: FileDescriptor
  let target: FileDescriptor
  private(set) var isOpen = true
  private var hasPassed = false

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

  private init(_ stream: UInt8, _ source: FileDescriptor, _ target: FileDescriptor) {
    self.stream = stream
    self.source = source
    self.target = target
  }

  var waitsFor: PollItem? { isOpen ? .reading(source) : nil }

  /// Writes on what is there, at most a pipe full; false when there was nothing.
  @discardableResult
  func proceed(_ spool: inout TranscriptSpool) -> Bool {
    guard isOpen else { return false }
    return withUnsafeTemporaryAllocation(byteCount: 65536, alignment: 16) { buffer in
      do throws(Errno) {
        let count = try source.read(into: buffer)
        guard count > 0 else {
          close()
          return false
        }
        pass(UnsafeRawBufferPointer(rebasing: buffer[..<count]), &spool)
        return true
      } catch {
        if error != .wouldBlock { close() }
        return false
      }
    }
  }

  private func pass(_ bytes: UnsafeRawBufferPointer, _ spool: inout TranscriptSpool) {
    spool.append(bytes, of: stream)
    hasPassed = true
    do throws(Errno) { try target.writePatiently(bytes) } catch {
      // Without a reader the command must find none either: its next write fails as it would have.
      spool.lose("the reader of what it printed went away (\(error))")
      close()
    }
  }

  /// When something was written on to a file: tells the daemon so; false when that is not possible.
  func announceWriting() -> Bool {
    guard hasPassed, let status = try? target.status(), status.type == .regular else { return true }
    return target.announceWriting()
  }

  func close() {
    guard isOpen else { return }
    isOpen = false
    source.close()
  }
}
