/// Bytes that are overwritten again and again: the trace is parsed without an allocation for each path.
final class ByteBuffer {
  private(set) var base: UnsafeMutablePointer<UInt8>
  private(set) var count = 0
  private var capacity: Int

  init(capacity: Int = 4096) {
    self.capacity = max(capacity, 16)
    base = .allocate(capacity: self.capacity)
  }

  deinit { base.deallocate() }

  /// Valid until the next change.
  var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: base, count: count) }

  @inline(__always) var isEmpty: Bool { count == 0 }

  @inline(__always) func removeAll() { count = 0 }

  /// Drops what follows the first `length` bytes.
  @inline(__always) func truncate(to length: Int) { if length >= 0, length < count { count = length } }

  @inline(__always)
  func append(_ byte: UInt8) {
    if count == capacity { grow(by: 1) }
    base[count] = byte
    count &+= 1
  }

  /// `source` must not point into this buffer.
  @inline(__always)
  func append(_ source: UnsafePointer<UInt8>, count length: Int) {
    if length <= 0 { return }
    if length > capacity &- count { grow(by: length) }
    (base + count).update(from: source, count: length)
    count &+= length
  }

  func append(_ source: [UInt8]) {
    source.withUnsafeBufferPointer { if let start = $0.baseAddress { append(start, count: $0.count) } }
  }

  private func grow(by length: Int) {
    let larger = max(capacity * 2, count + length)
    let new = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
    new.update(from: base, count: count)
    base.deallocate()
    base = new
    capacity = larger
  }
}
