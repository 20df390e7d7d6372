import CasherStore
import CasherSystem

/// Reads a tar archive that was compressed with zstd, believing nothing in it: sizes are checked before anything is read,
/// and numbers before they are used. What is no regular file is given with its type, so that it can be named.
struct TarReader {
  enum Failure: Error {
    case system(Errno)
    /// What is wrong with the archive.
    case damaged(String)
  }

  struct Entry {
    var name: FilePath
    /// Bytes.
    var size: Int64
    var isRegular: Bool
  }

  private let source: ZstandardReader
  /// Bytes of the present entry, with what fills its last block, that were not read yet.
  private var content: Int64 = 0
  private var padding: Int64 = 0
  private static let block = 512
  private static let longestExtension: Int64 = 1 << 20
  /// Bytes of padding after the last entry; GNU tar fills up to its blocking factor.
  private static let longestEnd = 1 << 20

  init(from file: FileDescriptor) { source = ZstandardReader(from: file) }

  /// The next entry, whose content `read` then gives; nil at the end. What was not read of the last one is passed over.
  mutating func next() throws(Failure) -> Entry? {
    var name: FilePath?
    var size: Int64?
    while true {
      try pass()
      var header = Array(repeating: UInt8(0), count: TarReader.block)
      guard try fill(&header) else { throw .damaged("it ends too early") }
      if header.allSatisfy({ $0 == 0 }) {
        try drain()
        return nil
      }
      guard TarReader.hasRightSum(header) else { throw .damaged("a header has a wrong checksum; it is no tar archive") }
      guard let headerSize = TarReader.number(header[124..<136]) else { throw .damaged("a size is not a number") }
      let type = header[156]
      // An extended header is about the next entry (pax) or about all that follow, of which none matters here.
      if type == UInt8(ascii: "x") || type == UInt8(ascii: "g") {
        begin(headerSize)
        guard headerSize <= TarReader.longestExtension else { throw .damaged("an extended header is too long") }
        var bytes = Array(repeating: UInt8(0), count: Int(headerSize))
        guard try fill(&bytes) else { throw .damaged("it ends too early") }
        content = 0
        if type == UInt8(ascii: "x") { try TarReader.parse(bytes, &name, &size) }
        continue
      }
      let entry = Entry(
        name: name ?? TarReader.name(header), size: size ?? headerSize,
        isRegular: type == UInt8(ascii: "0") || type == 0)
      begin(entry.size)
      return entry
    }
  }

  /// Reads on in the present entry; 0 at its end.
  mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
    let wanted = Int(min(content, Int64(buffer.count)))
    guard wanted > 0 else { return 0 }
    let count = try take(UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
    if count == 0 { throw .damaged("it ends too early") }
    content -= Int64(count)
    return count
  }

  private mutating func begin(_ size: Int64) {
    content = size
    let rest = size % Int64(TarReader.block)
    padding = rest == 0 ? 0 : Int64(TarReader.block) - rest
  }

  private mutating func pass() throws(Failure) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { buffer.deallocate() }
    while try read(into: buffer) > 0 {}
    content = padding
    padding = 0
    while try read(into: buffer) > 0 {}
  }

  /// Reads what follows the last entry, so that a stream that was cut off or changed there is noticed too.
  private func drain() throws(Failure) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
    defer { buffer.deallocate() }
    var rest = TarReader.longestEnd
    while true {
      let count = try take(buffer)
      if count == 0 { return }
      rest -= count
      if rest < 0 { throw .damaged("something follows its end") }
    }
  }

  private func take(_ buffer: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
    do throws(ZstandardFailure) { return try source.read(into: buffer) } catch {
      switch error {
      case .system(let cause): throw .system(cause)
      case .damaged: throw .damaged("it is not compressed with zstd, or its data were changed")
      }
    }
  }

  /// False when there is less.
  private func fill(_ bytes: inout [UInt8]) throws(Failure) -> Bool {
    var filled = 0
    while filled < bytes.count {
      let outcome = bytes.withUnsafeMutableBytes { buffer -> Result<Int, Failure> in
        do throws(Failure) {
          return .success(try take(UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])))
        } catch { return .failure(error) }
      }
      let count = try outcome.get()
      if count == 0 { return false }
      filled += count
    }
    return true
  }

  // MARK: headers

  private static func hasRightSum(_ header: [UInt8]) -> Bool {
    guard let wanted = number(header[148..<156]) else { return false }
    var sum: Int64 = 0
    for (index, byte) in header.enumerated() { sum += Int64((148..<156).contains(index) ? 32 : byte) }
    return sum == wanted
  }

  /// Octal digits, or after a set high bit the number in base 256, as GNU tar writes large ones. Nil when negative.
  private static func number(_ field: ArraySlice<UInt8>) -> Int64? {
    if let first = field.first, first & 0x80 != 0 {
      guard first == 0x80 else { return nil }
      var value: Int64 = 0
      for byte in field.dropFirst() {
        guard value <= Int64.max >> 8 else { return nil }
        value = value << 8 | Int64(byte)
      }
      return value
    }
    let digits = field.drop { $0 == 32 }.prefix { $0 != 0 && $0 != 32 }
    return digits.isEmpty ? 0 : Int64(String(decoding: digits, as: UTF8.self), radix: 8).flatMap { $0 < 0 ? nil : $0 }
  }

  private static func name(_ header: [UInt8]) -> FilePath {
    let name = header[..<100].prefix { $0 != 0 }
    let isUstar = header[257..<262].elementsEqual("ustar".utf8)
    let prefix = isUstar ? header[345..<500].prefix { $0 != 0 } : []
    return FilePath(prefix.isEmpty ? Array(name) : prefix + [UInt8(ascii: "/")] + name)
  }

  /// Takes path and size from pax records, `LENGTH KEYWORD=VALUE\n` each.
  private static func parse(_ bytes: [UInt8], _ name: inout FilePath?, _ size: inout Int64?) throws(Failure) {
    var rest = bytes[...]
    while let space = rest.firstIndex(of: 32) {
      guard let length = Int(String(decoding: rest[..<space], as: UTF8.self)), length > space - rest.startIndex + 1,
        length <= rest.count
      else { throw .damaged("an extended header cannot be read") }
      let record = rest[(space + 1)..<(rest.startIndex + length)].dropLast()
      rest = rest.dropFirst(length)
      guard let equals = record.firstIndex(of: UInt8(ascii: "=")) else { continue }
      let value = record[(equals + 1)...]
      switch String(decoding: record[..<equals], as: UTF8.self) {
      case "path": name = FilePath(value)
      case "size":
        guard let number = Int64(String(decoding: value, as: UTF8.self)), number >= 0 else {
          throw .damaged("a size is not a number")
        }
        size = number
      default: break
      }
    }
  }
}
