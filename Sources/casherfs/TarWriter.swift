import CasherStore
import CasherSystem

/// Writes a tar archive (POSIX.1-2001, pax interchange format: ustar headers, and an extended header for what does not
/// fit one), compressed with zstd.
struct TarWriter {
  private let target: ZstandardWriter
  private static let block = 512
  /// The largest size that eleven octal digits hold.
  private static let largestSize: Int64 = 0o77_777_777_777

  init(to file: FileDescriptor) { target = ZstandardWriter(to: file) }

  /// Adds a file with these bytes. `name` is ASCII and has at most 100 bytes; `modified` in seconds since 1970.
  func add(_ name: String, modified: Int64, _ bytes: [UInt8]) throws(ZstandardFailure) {
    try begin(name, size: Int64(bytes.count), modified: modified)
    try write(bytes)
    try pad(Int64(bytes.count))
  }

  /// Adds a file with the content of `source` from its present position on; false when that has not `size` bytes.
  func add(
    _ name: String, modified: Int64, size: Int64, from source: FileDescriptor
  ) throws(ZstandardFailure) -> Bool {
    try begin(name, size: size, modified: modified)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    defer { buffer.deallocate() }
    var rest = size
    while rest > 0 {
      let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(rest, Int64(buffer.count)))])
      let count: Int
      do throws(Errno) { count = try source.read(into: piece) } catch { throw .system(error) }
      if count == 0 { return false }
      try target.write(UnsafeRawBufferPointer(rebasing: piece[..<count]))
      rest -= Int64(count)
    }
    try pad(size)
    return true
  }

  /// Ends the archive.
  func finish() throws(ZstandardFailure) {
    try write(Array(repeating: 0, count: 2 * TarWriter.block))
    try target.finish()
  }

  private func begin(_ name: String, size: Int64, modified: Int64) throws(ZstandardFailure) {
    if size > TarWriter.largestSize {
      let record = TarWriter.record("size", "\(size)")
      try write(TarWriter.header("pax", size: Int64(record.count), modified: modified, type: "x"))
      try write(record)
      try pad(Int64(record.count))
    }
    try write(TarWriter.header(name, size: min(size, TarWriter.largestSize), modified: modified, type: "0"))
  }

  private func pad(_ size: Int64) throws(ZstandardFailure) {
    let rest = Int(size % Int64(TarWriter.block))
    if rest > 0 { try write(Array(repeating: 0, count: TarWriter.block - rest)) }
  }

  private func write(_ bytes: [UInt8]) throws(ZstandardFailure) {
    let failure = bytes.withUnsafeBytes { buffer -> ZstandardFailure? in
      do throws(ZstandardFailure) { try target.write(buffer) } catch { return error }
      return nil
    }
    if let failure { throw failure }
  }

  /// A pax record: its own length in decimal, keyword and value.
  private static func record(_ keyword: String, _ value: String) -> [UInt8] {
    let rest = " \(keyword)=\(value)\n"
    var length = rest.utf8.count
    while "\(length)".utf8.count + rest.utf8.count != length { length = "\(length)".utf8.count + rest.utf8.count }
    return Array("\(length)\(rest)".utf8)
  }

  private static func header(_ name: String, size: Int64, modified: Int64, type: Character) -> [UInt8] {
    var header = Array(repeating: UInt8(0), count: block)
    func put(_ text: String, at offset: Int, _ length: Int) {
      for (index, byte) in text.utf8.prefix(length).enumerated() { header[offset + index] = byte }
    }
    func octal(_ number: Int64, _ digits: Int) -> String {
      let text = String(max(0, number), radix: 8)
      return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    put(name, at: 0, 100)
    put(octal(0o600, 7), at: 100, 7)
    put(octal(0, 7), at: 108, 7)
    put(octal(0, 7), at: 116, 7)
    put(octal(size, 11), at: 124, 11)
    put(octal(min(modified, largestSize), 11), at: 136, 11)
    put("        ", at: 148, 8)
    put(String(type), at: 156, 1)
    put("ustar", at: 257, 5)
    put("00", at: 263, 2)
    let sum = header.reduce(Int64(0)) { $0 + Int64($1) }
    put(octal(sum, 6), at: 148, 6)
    header[154] = 0
    header[155] = UInt8(ascii: " ")
    return header
  }
}
