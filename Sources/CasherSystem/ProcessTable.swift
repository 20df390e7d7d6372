import Glibc

/// What proc(5) tells of a thread (/proc/<tid>/status).
public struct ThreadStatus: Sendable {
  /// The process that it belongs to.
  public let process: Int32
  /// Whether it has CAP_SYS_ADMIN in effect (capabilities(7)).
  public let mayAdministrate: Bool

  private static let systemAdministration: UInt64 = 1 << 21

  /// Nil when there is no such thread, or it may not be looked at.
  public init?(of thread: Int32) {
    guard let file = try? FileDescriptor.open(FilePath("/proc/\(thread)/status"), O_RDONLY) else { return nil }
    defer { file.close() }
    guard let text = try? file.readAll(limit: 1 << 20) else { return nil }
    var process: Int32?
    var capabilities: UInt64?
    for line in text.split(separator: UInt8(ascii: "\n")) {
      let words = line.split { $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: " ") }
      guard words.count == 2 else { continue }
      let value = String(decoding: words[1], as: UTF8.self)
      if words[0].elementsEqual("Tgid:".utf8) { process = Int32(value) }
      if words[0].elementsEqual("CapEff:".utf8) { capabilities = UInt64(value, radix: 16) }
    }
    guard let process, let capabilities else { return nil }
    self.process = process
    mayAdministrate = capabilities & ThreadStatus.systemAdministration != 0
  }
}

/// What proc(5) tells of a process.
public struct ProcessEntry: Sendable {
  public let process: Int32
  /// The first 15 bytes of its program's name.
  public let name: FilePath
  /// Whether it has ended and its parent does not know yet.
  public let isZombie: Bool
  /// 0 for one whose parent is not in this pid namespace.
  public let parent: Int32

  /// Nil when there is no such process, or it may not be looked at.
  public init?(of process: Int32) {
    guard let file = try? FileDescriptor.open(FilePath("/proc/\(process)/stat"), O_RDONLY) else { return nil }
    defer { file.close() }
    // PID (NAME) STATE PARENT ...; the name may hold anything, closing parentheses too.
    guard let text = try? file.readAll(limit: 4096), let open = text.firstIndex(of: UInt8(ascii: "(")),
      let close = text.lastIndex(of: UInt8(ascii: ")")), open < close
    else { return nil }
    let fields = text[(close + 1)...].split(separator: UInt8(ascii: " "))
    guard fields.count > 1, let parent = Int32(String(decoding: fields[1], as: UTF8.self)) else { return nil }
    self.process = process
    self.parent = parent
    isZombie = fields[0].elementsEqual("Z".utf8)
    name = FilePath(Array(text[(open + 1)..<close]))
  }

  /// The processes above the calling one, the nearest first, at most `limit`.
  public static func ancestors(limit: Int) -> [ProcessEntry] {
    var result: [ProcessEntry] = []
    var process = getppid()
    while process > 0, result.count < limit, let entry = ProcessEntry(of: process) {
      result.append(entry)
      process = entry.parent
    }
    return result
  }

  public var isThisProcess: Bool { process == getpid() }

  /// The numbers of its open descriptors; empty when it may not be looked at.
  public var descriptors: [Int32] {
    let entries = (try? FileDescriptor.workingDirectory.entries(of: FilePath("/proc/\(process)/fd"))) ?? []
    return entries.compactMap { Int32(String(decoding: $0.name.bytes, as: UTF8.self)) }
  }

  /// What one of its descriptors is of: a path, or `pipe:[INODE]` for a pipe. Nil when it may not be looked at.
  public func target(of descriptor: Int32) -> FilePath? {
    try? FileDescriptor.workingDirectory.readLink(FilePath("/proc/\(process)/fd/\(descriptor)"))
  }
}
