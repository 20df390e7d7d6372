import CLinux
import Glibc

/// A line of the kernel's mount table (proc_pid_mountinfo(5)).
public struct MountEntry: Hashable, Sendable {
  /// The directory of the filesystem that is shown.
  public let root: FilePath
  /// Where it is mounted, as this process names it.
  public let mountPoint: FilePath
  /// `ext4`, or `fuse.` and a name.
  public let type: FilePath
  public let source: FilePath
  /// Of the files in it, as stat(2) has it in st_dev.
  public let device: UInt64
  /// The number of the mount that this one is in.
  public let parent: UInt64

  /// The type of every mount that Casher makes.
  public static let casherType: FilePath = "fuse.casherfs"

  /// A line without its newline; nil when it is not in the table's format.
  public init?(line: some Sequence<UInt8>) {
    let fields = line.split(separator: UInt8(ascii: " "))
    guard let dash = fields.firstIndex(where: { $0.elementsEqual([UInt8(ascii: "-")]) }), dash >= 6,
      fields.count > dash + 2, let device = MountEntry.device(fields[2]),
      let parent = UInt64(String(decoding: fields[1], as: UTF8.self))
    else { return nil }
    self.parent = parent
    self.device = device
    root = MountEntry.unescape(fields[3])
    mountPoint = MountEntry.unescape(fields[4])
    type = MountEntry.unescape(fields[dash + 1])
    source = MountEntry.unescape(fields[dash + 2])
  }

  /// `major:minor`, as makedev(3) puts them together.
  private static func device(_ field: some Collection<UInt8>) -> UInt64? {
    let numbers = field.split(separator: UInt8(ascii: ":")).map { UInt64(String(decoding: $0, as: UTF8.self)) }
    guard numbers.count == 2, let high = numbers[0], let low = numbers[1] else { return nil }
    return low & 0xff | (high & 0xfff) << 8 | (low & ~0xff) << 12 | (high & ~0xfff) << 32
  }

  /// The kernel writes space, tab, newline and backslash as a backslash and three octal digits.
  private static func unescape(_ field: some Collection<UInt8>) -> FilePath {
    var result: [UInt8] = []
    var rest = Array(field)[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (0x30...0x37).contains($0) }) {
        result.append(digits.reduce(0) { $0 << 3 | ($1 - 0x30) })
        rest = rest.dropFirst(3)
      } else {
        result.append(byte)
      }
    }
    return FilePath(result)
  }
}

/// What is mounted in this process's mount namespace.
public enum MountTable {
  /// Every mount in the order in which the kernel lists them: of several at one place, the last covers the others.
  public static func read() throws(Errno) -> [MountEntry] {
    let file = try FileDescriptor.open("/proc/self/mountinfo", O_RDONLY)
    defer { file.close() }
    return entries(of: try file.readAll())
  }

  static func entries(of text: [UInt8]) -> [MountEntry] {
    text.split(separator: UInt8(ascii: "\n")).compactMap { MountEntry(line: $0) }
  }

  /// The mount that is seen at exactly this place.
  public static func top(at path: FilePath) throws(Errno) -> MountEntry? {
    try read().last { $0.mountPoint == path }
  }

  /// A place at or below `directory` where something is mounted in the mount that the working directory is in; nil where
  /// nothing is.
  public static func placeBelowWorkingDirectory(in directory: FilePath) throws(Errno) -> FilePath? {
    var mount: UInt64 = 0
    // The kernel says quickly that there is none, as nearly always. An older one leaves it to the table, which is long.
    if casher_has_mounts_below(&mount) == 0 || mount == 0 { return nil }
    return try read().first { $0.parent == mount && $0.mountPoint.isWithin(directory) }?.mountPoint
  }

  /// Casher's mounts that are to be seen, each place once.
  public static func casherMounts() throws(Errno) -> [MountEntry] {
    let all = try read()
    var seen: Set<FilePath> = []
    return all.reversed().filter { seen.insert($0.mountPoint).inserted && $0.type == MountEntry.casherType }.reversed()
  }
}
