import CZstd
import CasherSystem
import Synchronization

/// zstd's contexts and buffers for one thread at a time; kept for reuse, because making them costs more than a small
/// file.
final class Zstandard: @unchecked Sendable {  // `borrow` gives each to one thread at a time
  private let compressor: OpaquePointer
  private let decompressor: OpaquePointer
  /// For what is read.
  let input = UnsafeMutableRawBufferPointer.allocate(byteCount: Zstandard.inputSize, alignment: 4096)
  /// For what comes out.
  let output = UnsafeMutableRawBufferPointer.allocate(byteCount: Zstandard.outputSize, alignment: 4096)

  static let inputSize = 256 << 10
  static let outputSize = 256 << 10

  private init() {
    // Swift itself ends the process where memory ends, at every object; this is no other case.
    guard let compressor = ZSTD_createCCtx(), let decompressor = ZSTD_createDCtx() else {
      preconditionFailure("out of memory")
    }
    self.compressor = compressor
    self.decompressor = decompressor
  }

  deinit {
    ZSTD_freeCCtx(compressor)
    ZSTD_freeDCtx(decompressor)
    input.deallocate()
    output.deallocate()
  }

  private static let free = Mutex<[Zstandard]>([])

  static func borrow<Result, Failure: Error>(
    _ body: (Zstandard) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let taken = free.withLock { $0.popLast() } ?? Zstandard()
    defer { free.withLock { if $0.count < 4 { $0.append(taken) } } }
    return try body(taken)
  }

  /// A failure of the library: damaged data when decompressing.
  struct Failure: Error {}

  // MARK: whole blocks

  /// One frame with its content's size and checksum.
  func compress(_ bytes: UnsafeRawBufferPointer, level: Int32) throws(Failure) -> [UInt8] {
    ZSTD_CCtx_reset(compressor, ZSTD_reset_session_and_parameters)
    ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, level)
    ZSTD_CCtx_setParameter(compressor, ZSTD_c_checksumFlag, 1)
    let bound = ZSTD_compressBound(bytes.count)
    var size = 0
    let result = [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
      size = ZSTD_compress2(compressor, buffer.baseAddress, buffer.count, bytes.baseAddress, bytes.count)
      count = ZSTD_isError(size) == 0 ? size : 0
    }
    guard ZSTD_isError(size) == 0 else { throw Failure() }
    return result
  }

  /// The content of one frame that holds at most `limit` bytes; its checksum is checked.
  func decompress(_ frame: UnsafeRawBufferPointer, limit: Int) throws(Failure) -> [UInt8] {
    let declared = ZSTD_getFrameContentSize(frame.baseAddress, frame.count)
    guard let size = Int(exactly: declared), size <= limit else { throw Failure() }
    ZSTD_DCtx_reset(decompressor, ZSTD_reset_session_and_parameters)
    var outcome = 0
    let result = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      outcome = ZSTD_decompressDCtx(decompressor, buffer.baseAddress, size, frame.baseAddress, frame.count)
      count = outcome == size ? size : 0
    }
    guard ZSTD_isError(outcome) == 0, outcome == size else { throw Failure() }
    return result
  }

  // MARK: streams

  /// Begins a frame of exactly `size` bytes of content.
  func begin(size: Int64, level: Int32) {
    ZSTD_CCtx_reset(compressor, ZSTD_reset_session_and_parameters)
    ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, level)
    ZSTD_CCtx_setPledgedSrcSize(compressor, UInt64(bitPattern: size))
  }

  /// Compresses more; `write` gets what comes out. `isLast` ends the frame.
  func compress(
    _ bytes: UnsafeRawBufferPointer, isLast: Bool, write: (UnsafeRawBufferPointer) throws(StoreError) -> Void
  ) throws(StoreError) {
    var source = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
    while true {
      var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
      let rest = ZSTD_compressStream2(compressor, &target, &source, isLast ? ZSTD_e_end : ZSTD_e_continue)
      // Only a wrong pledge of the size or want of memory can fail here.
      guard ZSTD_isError(rest) == 0 else { throw StoreError(.sourceChanged, "the file", detail: "its size") }
      if target.pos > 0 { try write(UnsafeRawBufferPointer(rebasing: output[..<target.pos])) }
      if isLast ? rest == 0 : source.pos == source.size { return }
    }
  }

  /// Decompresses the frame that `read` gives piece by piece (0 at the end) into `input`. Throws `Failure` for damage.
  func decompress(
    read: (UnsafeMutableRawBufferPointer) throws(StoreError) -> Int,
    write: (UnsafeRawBufferPointer) throws(StoreError) -> Void
  ) throws(StoreError) -> Bool {
    ZSTD_DCtx_reset(decompressor, ZSTD_reset_session_and_parameters)
    var rest = 1
    while true {
      let count = try read(input)
      if count == 0 { return rest == 0 }
      var source = ZSTD_inBuffer(src: input.baseAddress, size: count, pos: 0)
      while source.pos < source.size {
        var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        rest = ZSTD_decompressStream(decompressor, &target, &source)
        guard ZSTD_isError(rest) == 0 else { return false }
        if target.pos > 0 { try write(UnsafeRawBufferPointer(rebasing: output[..<target.pos])) }
        if rest == 0 && source.pos < source.size { return false }
      }
      // A full buffer may have left more inside the context.
      while rest != 0 {
        var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        rest = ZSTD_decompressStream(decompressor, &target, &source)
        guard ZSTD_isError(rest) == 0 else { return false }
        if target.pos == 0 { break }
        try write(UnsafeRawBufferPointer(rebasing: output[..<target.pos]))
      }
    }
  }
}

/// How the bodies of runs and path sets lie in the database: a zstd frame with size and checksum, so that damage shows.
enum Packed {
  /// More than any record may have, in bytes.
  static let limit = 1 << 30

  static func pack(_ bytes: [UInt8]) -> [UInt8] {
    let frame = bytes.withUnsafeBytes { bytes in
      Zstandard.borrow { try? $0.compress(bytes, level: 1) }
    }
    // Into a buffer of ZSTD_compressBound it fails for want of memory alone, where Swift ends the process too.
    guard let frame else { preconditionFailure("out of memory") }
    return frame
  }

  /// Nil when the frame is damaged.
  static func unpack(_ frame: [UInt8]) -> [UInt8]? {
    frame.withUnsafeBytes { frame in Zstandard.borrow { try? $0.decompress(frame, limit: limit) } }
  }
}
