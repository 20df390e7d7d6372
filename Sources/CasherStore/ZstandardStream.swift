import CZstd
import CasherSystem
import Glibc

/// Why a compressed stream could not be read or written.
public enum ZstandardFailure: Error, Hashable, Sendable {
  case system(Errno)
  /// The data are not those of a zstd frame, or were changed on the way.
  case damaged
}

/// Writes one zstd frame with a checksum to a file, a pipe or a socket.
public final class ZstandardWriter {
  private let context: OpaquePointer
  private let target: FileDescriptor
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 17, alignment: 16)

  public init(to target: FileDescriptor, level: Int32 = 3) {
    // Swift itself ends the process where memory ends, at every object; this is no other case.
    guard let context = ZSTD_createCCtx() else { preconditionFailure("out of memory") }
    self.context = context
    self.target = target
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
  }

  deinit {
    ZSTD_freeCCtx(context)
    buffer.deallocate()
  }

  public func write(_ bytes: UnsafeRawBufferPointer) throws(ZstandardFailure) { try compress(bytes, isLast: false) }

  /// Ends the frame. Nothing may be written afterwards.
  public func finish() throws(ZstandardFailure) {
    try compress(UnsafeRawBufferPointer(start: nil, count: 0), isLast: true)
  }

  private func compress(_ bytes: UnsafeRawBufferPointer, isLast: Bool) throws(ZstandardFailure) {
    var source = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
    while true {
      var output = ZSTD_outBuffer(dst: buffer.baseAddress, size: buffer.count, pos: 0)
      let rest = ZSTD_compressStream2(context, &output, &source, isLast ? ZSTD_e_end : ZSTD_e_continue)
      guard ZSTD_isError(rest) == 0 else { throw .system(Errno(rawValue: ENOMEM)) }
      do throws(Errno) { try target.writeAll(UnsafeRawBufferPointer(rebasing: buffer[..<output.pos])) } catch {
        throw .system(error)
      }
      if isLast ? rest == 0 : source.pos == source.size { return }
    }
  }
}

/// Reads zstd frames, one after the other, from a file, a pipe or a socket.
public final class ZstandardReader {
  private let context: OpaquePointer
  private let source: FileDescriptor
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 17, alignment: 16)
  private var available = 0..<0
  /// Whether a frame has begun and not ended.
  private var isInFrame = false

  public init(from source: FileDescriptor) {
    // Swift itself ends the process where memory ends, at every object; this is no other case.
    guard let context = ZSTD_createDCtx() else { preconditionFailure("out of memory") }
    self.context = context
    self.source = source
  }

  deinit {
    ZSTD_freeDCtx(context)
    buffer.deallocate()
  }

  /// Reads at most as many bytes as `target` takes; 0 at the end of the last frame.
  public func read(into target: UnsafeMutableRawBufferPointer) throws(ZstandardFailure) -> Int {
    guard !target.isEmpty else { return 0 }
    while true {
      var isAtEnd = false
      if available.isEmpty {
        let count: Int
        do throws(Errno) { count = try source.read(into: buffer) } catch { throw .system(error) }
        available = 0..<count
        isAtEnd = count == 0
      }
      var input = ZSTD_inBuffer(src: buffer.baseAddress, size: available.upperBound, pos: available.lowerBound)
      var output = ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: 0)
      let rest = ZSTD_decompressStream(context, &output, &input)
      guard ZSTD_isError(rest) == 0 else { throw .damaged }
      available = input.pos..<available.upperBound
      if !isAtEnd || output.pos > 0 { isInFrame = rest != 0 }
      if output.pos > 0 { return output.pos }
      if isAtEnd {
        if isInFrame { throw .damaged }
        return 0
      }
    }
  }
}
