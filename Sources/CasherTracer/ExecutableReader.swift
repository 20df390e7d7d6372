import CLinux
import CasherSystem
import Glibc

/// What the kernel opens itself when it executes a file, which no trace shows: the interpreter of a script, the dynamic
/// linker of a program (execve(2), elf(5) PT_INTERP).
final class ExecutableReader {
  enum Format: Equatable {
    /// The interpreter, as the file names it.
    case script(interpreter: FilePath)
    case program(linker: FilePath?)
    case other
    /// Not there, or not for this process to read.
    case unreadable(Errno)
  }

  struct File: Equatable {
    var format: Format
    /// Runs as another user or group, or with capabilities: a process that is traced does not get those (execve(2)).
    var changesPrivileges: Bool
  }

  private var known: [FilePath: File] = [:]

  /// Looks at `path`; `once` when it is not expected to change.
  func file(_ path: FilePath, once: Bool) -> File {
    if once, let file = known[path] { return file }
    let file = ExecutableReader.read(path)
    if once { known[path] = file }
    return file
  }

  /// Whether running the program gives the process other privileges than the caller's (set-id bits, file capabilities).
  static func changesPrivileges(_ path: FilePath) -> Bool { read(path).changesPrivileges }

  private static func read(_ path: FilePath) -> File {
    do throws(Errno) {
      let descriptor = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK)
      defer { descriptor.close() }
      let status = try descriptor.status()
      let bits = status.permissions
      let privileged =
        bits & 0o4000 != 0 && status.owner != geteuid() || bits & 0o2010 == 0o2010 && status.group != getegid()
        || casher_has_capabilities(descriptor.rawValue) != 0 && geteuid() != 0
      return File(format: try format(of: descriptor), changesPrivileges: privileged)
    } catch {
      return File(format: .unreadable(error), changesPrivileges: false)
    }
  }

  private static func format(of file: FileDescriptor) throws(Errno) -> Format {
    let header = try bytes(of: file, at: 0, count: 256)
    if header.starts(with: [UInt8(ascii: "#"), UInt8(ascii: "!")]) {
      let name = header[2...].drop { $0 == 32 || $0 == 9 }.prefix { $0 != 10 && $0 != 32 && $0 != 9 && $0 != 0 }
      return name.isEmpty ? .other : .script(interpreter: FilePath(Array(name)))
    }
    guard header.starts(with: [0x7f, 0x45, 0x4c, 0x46]), header.count >= 64 else { return .other }
    let isWide = header[4] == 2
    guard header[5] == 1 else { return .other }  // big-endian: not for these machines
    let tableOffset = number(header, at: isWide ? 32 : 28, width: isWide ? 8 : 4)
    let entrySize = number(header, at: isWide ? 54 : 42, width: 2)
    let entryCount = number(header, at: isWide ? 56 : 44, width: 2)
    guard entrySize >= (isWide ? 56 : 32), entrySize <= 256 else { return .program(linker: nil) }
    let table = try bytes(of: file, at: tableOffset, count: entrySize * entryCount)
    for index in 0..<entryCount {
      let entry = index * entrySize
      guard entry + entrySize <= table.count else { break }
      guard number(table, at: entry, width: 4) == 3 else { continue }  // PT_INTERP
      let offset = number(table, at: entry + (isWide ? 8 : 4), width: isWide ? 8 : 4)
      let size = number(table, at: entry + (isWide ? 32 : 16), width: isWide ? 8 : 4)
      let name = try bytes(of: file, at: offset, count: min(size, 4096)).prefix { $0 != 0 }
      return .program(linker: name.isEmpty ? nil : FilePath(Array(name)))
    }
    return .program(linker: nil)
  }

  private static func number(_ bytes: [UInt8], at offset: Int, width: Int) -> Int {
    var value: UInt64 = 0
    for index in stride(from: offset + width - 1, through: offset, by: -1) where index < bytes.count {
      value = value << 8 | UInt64(bytes[index])
    }
    return Int(exactly: value) ?? 0
  }

  private static func bytes(of file: FileDescriptor, at offset: Int, count: Int) throws(Errno) -> [UInt8] {
    guard count > 0, count <= 1 << 20 else { return [] }
    var failure: Errno?
    let result = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      do throws(Errno) {
        filled = try file.read(into: UnsafeMutableRawBufferPointer(buffer), at: Int64(offset))
      } catch {
        filled = 0
        failure = error
      }
    }
    if let failure { throw failure }
    return result
  }
}
