import CasherSystem

/// Writes values as bytes: integers little-endian of fixed width, byte strings and lists after their count.
///
/// The one encoding of keys, of records in the store and of messages on the socket, so that equal values give equal
/// bytes.
public struct ByteEncoder: Sendable {
  public private(set) var bytes: [UInt8] = []

  public init() {}

  public mutating func put(_ value: UInt8) { bytes.append(value) }
  public mutating func put(_ value: Bool) { bytes.append(value ? 1 : 0) }
  public mutating func put(_ value: UInt32) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }
  public mutating func put(_ value: Int32) { put(UInt32(bitPattern: value)) }
  public mutating func put(_ value: UInt64) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }
  public mutating func put(_ value: Int64) { put(UInt64(bitPattern: value)) }
  public mutating func put(_ value: [UInt8]) {
    put(UInt64(value.count))
    bytes.append(contentsOf: value)
  }
  public mutating func put(_ value: String) { put(Array(value.utf8)) }
  public mutating func put(_ value: FilePath) { put(value.bytes) }
  public mutating func put(_ value: Digest) { bytes.append(contentsOf: value.bytes) }
  public mutating func put(_ value: some ByteCodable) { value.encode(to: &self) }
  public mutating func put<Value: ByteCodable>(_ value: Value?) {
    put(value != nil)
    if let value { put(value) }
  }
  public mutating func put<Element>(each elements: [Element], _ write: (inout ByteEncoder, Element) -> Void) {
    put(UInt64(elements.count))
    for element in elements { write(&self, element) }
  }
  public mutating func put(_ elements: [some ByteCodable]) { put(each: elements) { $0.put($1) } }
  public mutating func put(_ elements: [FilePath]) { put(each: elements) { $0.put($1) } }
  public mutating func put(_ elements: [[UInt8]]) { put(each: elements) { $0.put($1) } }
}

/// Bytes that do not hold what was expected: truncated, or a number out of range.
public struct DecodingFailure: Error, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}

/// Reads what `ByteEncoder` wrote. Trusts no count: everything is checked against the bytes that are there.
public struct ByteDecoder: Sendable {
  private let bytes: [UInt8]
  private var offset: Int

  public init(_ bytes: [UInt8]) {
    self.bytes = bytes
    offset = 0
  }

  public var isAtEnd: Bool { offset == bytes.count }

  private mutating func take(_ count: Int) throws(DecodingFailure) -> Range<Int> {
    guard count >= 0, count <= bytes.count - offset else { throw DecodingFailure("the data ends too early") }
    defer { offset += count }
    return offset..<(offset + count)
  }

  public mutating func byte() throws(DecodingFailure) -> UInt8 { bytes[try take(1).lowerBound] }
  public mutating func bool() throws(DecodingFailure) -> Bool {
    switch try byte() {
    case 0: false
    case 1: true
    default: throw DecodingFailure("a truth value is neither 0 nor 1")
    }
  }
  public mutating func uint32() throws(DecodingFailure) -> UInt32 {
    let range = try take(4)
    return UInt32(
      littleEndian: bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: range.lowerBound, as: UInt32.self) })
  }
  public mutating func int32() throws(DecodingFailure) -> Int32 { Int32(bitPattern: try uint32()) }
  public mutating func uint64() throws(DecodingFailure) -> UInt64 {
    let range = try take(8)
    return UInt64(
      littleEndian: bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: range.lowerBound, as: UInt64.self) })
  }
  public mutating func int64() throws(DecodingFailure) -> Int64 { Int64(bitPattern: try uint64()) }
  public mutating func count() throws(DecodingFailure) -> Int {
    guard let count = Int(exactly: try uint64()), count <= bytes.count - offset else {
      throw DecodingFailure("a count is larger than the data")
    }
    return count
  }
  public mutating func byteString() throws(DecodingFailure) -> [UInt8] { Array(bytes[try take(try count())]) }
  public mutating func string() throws(DecodingFailure) -> String { String(decoding: try byteString(), as: UTF8.self) }
  public mutating func path() throws(DecodingFailure) -> FilePath { FilePath(try byteString()) }
  public mutating func digest() throws(DecodingFailure) -> Digest {
    let range = try take(Digest.byteCount)
    guard let digest = bytes.withUnsafeBytes({ Digest(bytes: UnsafeRawBufferPointer(rebasing: $0[range])) }) else {
      throw DecodingFailure("a digest is short")
    }
    return digest
  }
  public mutating func value<Value: ByteCodable>(_: Value.Type = Value.self) throws(DecodingFailure) -> Value {
    try Value(from: &self)
  }
  public mutating func optional<Value: ByteCodable>(_: Value.Type = Value.self) throws(DecodingFailure) -> Value? {
    try bool() ? try value() : nil
  }
  public mutating func list<Element>(
    _ read: (inout ByteDecoder) throws(DecodingFailure) -> Element
  ) throws(DecodingFailure) -> [Element] {
    let count = try count()
    var result: [Element] = []
    result.reserveCapacity(count)
    for _ in 0..<count { result.append(try read(&self)) }
    return result
  }
  public mutating func list<Value: ByteCodable>(of _: Value.Type = Value.self) throws(DecodingFailure) -> [Value] {
    try list { decoder throws(DecodingFailure) in try decoder.value() }
  }
  public mutating func paths() throws(DecodingFailure) -> [FilePath] {
    try list { decoder throws(DecodingFailure) in try decoder.path() }
  }
  public mutating func byteStrings() throws(DecodingFailure) -> [[UInt8]] {
    try list { decoder throws(DecodingFailure) in try decoder.byteString() }
  }
}

/// A value with one encoding as bytes.
public protocol ByteCodable: Sendable {
  func encode(to encoder: inout ByteEncoder)
  init(from decoder: inout ByteDecoder) throws(DecodingFailure)
}

extension ByteCodable {
  public var encoded: [UInt8] {
    var encoder = ByteEncoder()
    encode(to: &encoder)
    return encoder.bytes
  }

  /// Throws when the bytes are too few or too many.
  public init(encoded: [UInt8]) throws(DecodingFailure) {
    var decoder = ByteDecoder(encoded)
    try self.init(from: &decoder)
    guard decoder.isAtEnd else { throw DecodingFailure("there is more data than expected") }
  }
}
