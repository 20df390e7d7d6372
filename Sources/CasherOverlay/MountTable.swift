import CasherSystem
import Glibc

/// The mounts that this process sees (proc(5), /proc/self/mountinfo).
enum MountTable {
  struct Entry {
    var point: FilePath
    var type: FilePath
    /// As stat(2) has it in st_dev.
    var device: UInt64
  }

  /// What is mounted at exactly this absolute path, the topmost of several; nil when nothing is.
  static func entry(at path: FilePath) -> Entry? {
    guard let file = try? FileDescriptor.open("/proc/self/mountinfo", O_RDONLY) else { return nil }
    defer { file.close() }
    guard let text = try? file.readAll() else { return nil }
    var result: Entry?
    for line in text.split(separator: UInt8(ascii: "\n")) {
      let words = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
      // id, parent, device, root, point, options, optional fields, "-", type, source, options
      guard words.count > 6, let dash = words.firstIndex(where: { $0.elementsEqual("-".utf8) }), dash + 1 < words.count
      else { continue }
      let point = unescaped(words[4])
      guard point == path, let device = device(words[2]) else { continue }
      result = Entry(point: point, type: unescaped(words[dash + 1]), device: device)
    }
    return result
  }

  /// `major:minor`, as makedev(3) puts them together.
  private static func device(_ word: some Collection<UInt8>) -> UInt64? {
    let parts = word.split(separator: UInt8(ascii: ":"))
    guard parts.count == 2, let major = UInt32(String(decoding: parts[0], as: UTF8.self)),
      let minor = UInt32(String(decoding: parts[1], as: UTF8.self))
    else { return nil }
    let (high, low) = (UInt64(major), UInt64(minor))
    return low & 0xff | (high & 0xfff) << 8 | (low & ~0xff) << 12 | (high & ~0xfff) << 32
  }

  /// Blanks, newlines and backslashes are written as three octal digits after a backslash.
  private static func unescaped(_ word: some Collection<UInt8>) -> FilePath {
    let bytes = Array(word)
    var result: [UInt8] = []
    var index = 0
    while index < bytes.count {
      if bytes[index] == UInt8(ascii: "\\"), index + 3 < bytes.count,
        let value = UInt8(String(decoding: bytes[(index + 1)...(index + 3)], as: UTF8.self), radix: 8)
      {
        result.append(value)
        index += 4
      } else {
        result.append(bytes[index])
        index += 1
      }
    }
    return FilePath(result)
  }
}
