import CCrypto
import CasherSystem
import Glibc
import Synchronization

/// SHA-256 (FIPS 180-4) by libcrypto, which uses the processor's instructions for it.
public struct SHA256: ~Copyable {
  private let context: OpaquePointer

  public init() {
    context = SHA256.contexts.withLock { $0.take() }
    // With a context and an algorithm that exist it fails for want of memory alone; going on would give a wrong digest, and
    // with it a wrong hit. So for the two below.
    guard EVP_DigestInit_ex2(context, SHA256.algorithm.pointer, nil) == 1 else {
      preconditionFailure("libcrypto cannot start SHA-256")
    }
  }

  deinit { SHA256.contexts.withLock { [context] in $0.giveBack(context) } }

  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    // As in `init`.
    guard EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1 else {
      preconditionFailure("libcrypto cannot go on with SHA-256")
    }
  }

  public mutating func update(_ bytes: some Sequence<UInt8>) {
    let done: Void? = bytes.withContiguousStorageIfAvailable { update(UnsafeRawBufferPointer($0)) }
    if done == nil { Array(bytes).withUnsafeBytes { update($0) } }
  }

  /// Adds `count` zero bytes.
  public mutating func update(zeros count: Int64) {
    var rest = count
    while rest > 0 {
      let step = min(rest, Int64(Zeros.count))
      update(UnsafeRawBufferPointer(rebasing: Zeros.buffer[..<Int(step)]))
      rest -= step
    }
  }

  public consuming func finalize() -> Digest {
    var result = (UInt64(0), UInt64(0), UInt64(0), UInt64(0))
    withUnsafeMutableBytes(of: &result) { buffer in
      var size: UInt32 = 0
      let base = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
      // As in `init`.
      guard EVP_DigestFinal_ex(context, base, &size) == 1, size == 32 else {
        preconditionFailure("libcrypto cannot end SHA-256")
      }
    }
    return Digest(words: (result.0.bigEndian, result.1.bigEndian, result.2.bigEndian, result.3.bigEndian))
  }

  public static func digest(of bytes: some Sequence<UInt8>) -> Digest {
    var hash = SHA256()
    hash.update(bytes)
    return hash.finalize()
  }

  public static func digest(of bytes: UnsafeRawBufferPointer) -> Digest {
    var hash = SHA256()
    hash.update(bytes)
    return hash.finalize()
  }

  /// The digest of a file's bytes from `offset` on, `length` of them or up to the end, and how many they were. Neither
  /// uses nor moves the descriptor's position; holes are not read.
  public static func digest(
    of file: FileDescriptor, at offset: Int64 = 0, length: Int64 = .max
  ) throws(Errno) -> (digest: Digest, count: Int64) {
    let status = try file.status()
    let end = status.type == .regular ? min(status.size, length > .max - offset ? .max : offset + length) : .max
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bufferSize, alignment: 4096)
    defer { buffer.deallocate() }
    var hash = SHA256()
    var reader = SparseReader(file, status, from: offset, to: max(offset, end))
    while let piece = try reader.next(into: buffer) {
      switch piece {
      case .data(let count): hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      case .zeros(let count): hash.update(zeros: count)
      }
    }
    return (hash.finalize(), reader.position - offset)
  }

  /// Bytes read at once: fits the processor's second cache.
  private static let bufferSize = 256 << 10
}

extension SHA256 {
  /// What EVP_MD_fetch(3) found; fetched once, because looking it up costs more than hashing a small file.
  private struct Algorithm: @unchecked Sendable {  // immutable after the fetch, and libcrypto's own counts are atomic
    let pointer: OpaquePointer?
  }
  private static let algorithm = Algorithm(pointer: EVP_MD_fetch(nil, "SHA256", nil))

  /// Contexts that are free, for reuse.
  private struct Contexts: @unchecked Sendable {  // a context in the list belongs to nobody
    var free: [OpaquePointer] = []

    mutating func take() -> OpaquePointer {
      if let context = free.popLast() { return context }
      // Swift itself ends the process where memory ends, at every object; this is no other case.
      guard let context = EVP_MD_CTX_new() else { preconditionFailure("out of memory") }
      return context
    }

    mutating func giveBack(_ context: OpaquePointer) {
      if free.count < 16 { free.append(context) } else { EVP_MD_CTX_free(context) }
    }
  }
  private static let contexts = Mutex(Contexts())
}

/// Zero bytes to hash in place of a hole.
enum Zeros {
  static let count = 1 << 16
  nonisolated(unsafe) static let buffer = UnsafeRawBufferPointer(
    start: calloc(count, 1), count: count)  // never written, never freed
}
