import CLinux
import CasherSystem
import Glibc

/// Reads a file from front to back by pread(2), and knows holes without reading them.
struct SparseReader: ~Copyable {
  enum Piece {
    /// So many bytes are in the buffer.
    case data(Int)
    /// So many zero bytes come next; nothing is in the buffer.
    case zeros(Int64)
  }

  private let file: FileDescriptor
  /// The same file with a position of its own, for lseek(2) would move the caller's; only for files with holes.
  private let seeker: FileDescriptor?
  private(set) var position: Int64
  private let end: Int64
  private var dataEnd: Int64

  /// From `offset` to `end`, which lies within the file's size.
  init(_ file: FileDescriptor, _ status: FileStatus, from offset: Int64 = 0, to end: Int64) {
    self.file = file
    position = offset
    self.end = end
    // A file that cannot be opened again is read as if it had no holes.
    let hasHoles = status.type == .regular && Int64(status.raw.st_blocks) * 512 < status.size
    seeker = hasHoles ? try? file.reopen(O_RDONLY) : nil
    dataEnd = seeker == nil ? end : offset
  }

  deinit { seeker?.close() }

  /// Whether everything was read; false after the last piece of a file that has become shorter.
  var isComplete: Bool { position >= end }

  /// The next piece; nil at the end.
  mutating func next(into buffer: UnsafeMutableRawBufferPointer) throws(Errno) -> Piece? {
    if position >= end { return nil }
    if let seeker, position >= dataEnd {
      let begin = try SparseReader.seek(seeker, position, Int32(CASHER_SEEK_DATA)) ?? end
      if begin > position {
        let count = min(begin, end) - position
        position += count
        dataEnd = position
        return .zeros(count)
      }
      dataEnd = min(try SparseReader.seek(seeker, position, Int32(CASHER_SEEK_HOLE)) ?? end, end)
      if dataEnd <= position { dataEnd = end }
    }
    let wanted = Int(min(Int64(buffer.count), dataEnd - position))
    let count = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]), at: position)
    if count == 0 { return nil }
    position += Int64(count)
    return .data(count)
  }

  /// Nil past the last data (ENXIO).
  private static func seek(_ file: FileDescriptor, _ offset: Int64, _ whence: Int32) throws(Errno) -> Int64? {
    do throws(Errno) { return try file.seek(to: offset, from: whence) } catch {
      if error.rawValue == ENXIO { return nil }
      throw error
    }
  }
}

/// Writes a new file from front to back and leaves holes where the content is zero.
struct SparseWriter {
  private let file: FileDescriptor
  private var size: Int64 = 0
  private var position: Int64 = 0
  private static let grain = 64 << 10

  init(_ file: FileDescriptor) { self.file = file }

  mutating func skip(_ count: Int64) { size += count }

  mutating func write(_ bytes: UnsafeRawBufferPointer) throws(Errno) {
    var rest = bytes
    while !rest.isEmpty {
      // Grains that are zero are skipped; the others are written as long as they follow one another.
      var end = 0
      while end < rest.count {
        let next = min(end + SparseWriter.grain, rest.count)
        if SparseWriter.isZero(UnsafeRawBufferPointer(rebasing: rest[end..<next])) { break }
        end = next
      }
      if end > 0 {
        if position != size { try file.seek(to: size) }
        try file.writeAll(UnsafeRawBufferPointer(rebasing: rest[..<end]))
        size += Int64(end)
        position = size
      } else {
        end = min(SparseWriter.grain, rest.count)
        size += Int64(end)
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[end...])
    }
  }

  /// Gives the file its size when it ends in a hole.
  func finish() throws(Errno) { if position != size { try file.truncate(to: size) } }

  static func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let base = bytes.baseAddress, bytes.count <= Zeros.count, let zeros = Zeros.buffer.baseAddress else {
      return false
    }
    return memcmp(base, zeros, bytes.count) == 0
  }
}
