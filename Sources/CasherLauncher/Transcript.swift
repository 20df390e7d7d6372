import CasherRecord
import CasherSystem

/// What the command writes, kept as it comes: the bytes in the spool, and whose they are.
struct TranscriptSpool {
  /// Nil: nothing is kept.
  var descriptor: FileDescriptor?
  private(set) var segments: [StreamSegment] = []
  /// Why the transcript is not whole.
  private(set) var failure: String?

  init(_ descriptor: FileDescriptor?) { self.descriptor = descriptor }

  mutating func append(_ bytes: UnsafeRawBufferPointer, of stream: UInt8) {
    guard let descriptor, failure == nil, !bytes.isEmpty else { return }
    do throws(Errno) { try descriptor.writeAll(bytes) } catch {
      failure = "what it printed could not be kept (\(error))"
      return
    }
    note(bytes.count, of: stream)
  }

  private mutating func note(_ count: Int, of stream: UInt8) {
    if let last = segments.indices.last, segments[last].stream == stream {
      segments[last].length += UInt64(count)
    } else {
      segments.append(StreamSegment(stream: stream, length: UInt64(count)))
    }
  }

  /// Takes what is in a pipe, without looking at it; how many bytes. Nil when it has to be read to know more: there is
  /// nothing, it has ended, or it cannot be kept.
  mutating func take(from pipe: FileDescriptor, upTo limit: Int, of stream: UInt8) throws(Errno) -> Int? {
    guard let descriptor, failure == nil else { return nil }
    let count = try pipe.splice(to: descriptor, count: limit)
    guard count > 0 else { return nil }
    note(count, of: stream)
    return count
  }

  /// The command's output did not all reach where it was to go.
  mutating func lose(_ reason: String) {
    if failure == nil { failure = reason }
  }
}

/// Writes a recorded transcript out again.
struct TranscriptReplay {
  let segments: [StreamSegment]
  let inline: [UInt8]?
  let spool: FileDescriptor?
  /// Where the streams go; nil: nowhere.
  let output: FileDescriptor?
  let error: FileDescriptor?

  /// Throws what a write gave, and `.ioError` when there is less than the segments say.
  func run() throws(Errno) {
    var offset: Int64 = 0
    for segment in segments {
      let target = segment.stream == 2 ? error : output
      var rest = segment.length
      while rest > 0 {
        let chunk = try bytes(at: offset, Int(clamping: min(rest, 1 << 18)))
        guard !chunk.isEmpty else { throw .ioError }
        try target?.writePatiently(chunk)
        offset &+= Int64(chunk.count)
        rest -= UInt64(chunk.count)
      }
    }
  }

  private func bytes(at offset: Int64, _ count: Int) throws(Errno) -> ArraySlice<UInt8> {
    if let inline { return inline.dropFirst(Int(clamping: offset)).prefix(count) }
    guard let spool else { return [] }
    var buffer = [UInt8](repeating: 0, count: count)
    let outcome = buffer.withUnsafeMutableBytes { raw -> Result<Int, Errno> in
      do throws(Errno) { return .success(try spool.read(into: raw, at: offset)) } catch { return .failure(error) }
    }
    return buffer.prefix(try outcome.get())
  }
}

extension FileDescriptor {
  /// Writes everything, also where another process has made the open file non-blocking.
  func writePatiently(_ bytes: some Collection<UInt8>) throws(Errno) {
    let failure = Array(bytes).withUnsafeBytes { buffer -> Errno? in
      do throws(Errno) { try writePatiently(buffer) } catch { return error }
      return nil
    }
    if let failure { throw failure }
  }

  func writePatiently(_ buffer: UnsafeRawBufferPointer) throws(Errno) {
    var rest = buffer
    while !rest.isEmpty {
      do throws(Errno) {
        rest = UnsafeRawBufferPointer(rebasing: rest[try write(rest)...])
      } catch {
        guard error == .wouldBlock else { throw error }
        var items = [PollItem.writing(self)]
        try PollItem.wait(&items)
      }
    }
  }
}
