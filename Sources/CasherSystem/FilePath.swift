import CLinux
import Glibc

/// A path as the kernel has it: bytes without NUL, of no particular encoding.
///
/// Two paths are equal when their bytes are; `String` would take different byte sequences for equal.
public struct FilePath: Hashable, Sendable {
  public var bytes: [UInt8]

  @inlinable public init(_ bytes: [UInt8]) { self.bytes = bytes }
  public init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }
  public init(_ string: String) { bytes = Array(string.utf8) }
  public init(cString: UnsafePointer<CChar>) {
    bytes = Array(UnsafeRawBufferPointer(start: cString, count: strlen(cString)))
  }

  public var isEmpty: Bool { bytes.isEmpty }
  public var isAbsolute: Bool { bytes.first == UInt8(ascii: "/") }

  /// The bytes after the last slash; the whole path when it has none.
  public var lastComponent: FilePath {
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return self }
    return FilePath(bytes[(slash + 1)...])
  }

  /// The path without its last component: empty for a lone name, `/` for a name in the root.
  public var parent: FilePath {
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return FilePath([]) }
    return slash == 0 ? FilePath("/") : FilePath(bytes[..<slash])
  }

  /// The names between the slashes; empty names are left out.
  public var components: [FilePath] {
    bytes.split(separator: UInt8(ascii: "/")).map { FilePath($0) }
  }

  /// This path with `name` below it; an empty path adds no slash.
  public func appending(_ name: FilePath) -> FilePath {
    if bytes.isEmpty { return name }
    if name.isEmpty { return self }
    var result = bytes
    result.reserveCapacity(bytes.count + name.bytes.count + 1)
    if result.last != UInt8(ascii: "/") { result.append(UInt8(ascii: "/")) }
    result.append(contentsOf: name.bytes)
    return FilePath(result)
  }

  public func appending(_ name: String) -> FilePath { appending(FilePath(name)) }

  /// Whether this path is `other` or lies below it.
  public func isWithin(_ other: FilePath) -> Bool {
    if other.isEmpty { return !isAbsolute }
    guard bytes.count >= other.bytes.count, bytes.isSame(as: other.bytes, count: other.bytes.count) else {
      return false
    }
    return bytes.count == other.bytes.count || other.bytes.last == UInt8(ascii: "/")
      || bytes[other.bytes.count] == UInt8(ascii: "/")
  }

  /// The rest of this path below `base`, without a leading slash; nil when it is not within `base`.
  public func relative(to base: FilePath) -> FilePath? {
    guard isWithin(base) else { return nil }
    var rest = bytes[base.bytes.count...]
    if rest.first == UInt8(ascii: "/") { rest = rest.dropFirst() }
    return FilePath(rest)
  }

  /// Calls `body` with the path as a C string, valid for the call alone.
  @inlinable public func withCString<Result, Failure: Error>(
    _ body: (UnsafePointer<CChar>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let outcome = withUnsafeTemporaryAllocation(byteCount: bytes.count + 1, alignment: 1) {
      buffer -> Swift.Result<Result, Failure>? in
      guard let base = buffer.baseAddress else { return nil }
      bytes.withUnsafeBytes { buffer.copyMemory(from: $0) }
      buffer[bytes.count] = 0
      do throws(Failure) {
        return .success(try body(UnsafePointer(base.assumingMemoryBound(to: CChar.self))))
      } catch { return .failure(error) }
    }
    // A buffer of at least one byte has an address.
    guard let outcome else { preconditionFailure("room for the terminator is never empty") }
    return try outcome.get()
  }
}

extension FilePath {
  public static func == (left: FilePath, right: FilePath) -> Bool {
    left.bytes.count == right.bytes.count && left.bytes.isSame(as: right.bytes, count: left.bytes.count)
  }

  /// All bytes at once: paths are the keys of most tables.
  public func hash(into hasher: inout Hasher) {
    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    // So that of two paths one after the other the end of the first counts.
    hasher.combine(UInt8(0))
  }
}

extension [UInt8] {
  /// Whether the first `count` bytes, which both have, are the same.
  fileprivate func isSame(as other: [UInt8], count: Int) -> Bool {
    withUnsafeBytes { bytes in
      other.withUnsafeBytes { others in
        guard count > 0, let bytes = bytes.baseAddress, let others = others.baseAddress else { return true }
        return memcmp(bytes, others, count) == 0
      }
    }
  }
}

extension FilePath: Comparable {
  /// Byte order, as memcmp(3) sorts.
  public static func < (left: FilePath, right: FilePath) -> Bool {
    left.bytes.withUnsafeBytes { left in
      right.bytes.withUnsafeBytes { right in
        guard let first = left.baseAddress, let second = right.baseAddress else { return left.count < right.count }
        let order = memcmp(first, second, min(left.count, right.count))
        return order == 0 ? left.count < right.count : order < 0
      }
    }
  }
}

extension FilePath: CustomStringConvertible, ExpressibleByStringLiteral {
  public init(stringLiteral value: String) { self.init(value) }

  /// For people: printable text as it is, control bytes and invalid UTF-8 as `\xNN`.
  public var description: String {
    if let text = String(validating: bytes, as: UTF8.self),
      !text.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 })
    {
      return text
    }
    var result = ""
    for byte in bytes {
      if byte >= 32 && byte < 127 {
        result.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        result += "\\x" + String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
      }
    }
    return result
  }
}
