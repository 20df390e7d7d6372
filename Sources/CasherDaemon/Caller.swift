import CasherSystem
import Glibc

/// Who called acache: for whom files are written and permissions hold.
struct Caller: Hashable, Sendable {
  let process: Int32
  let user: UInt32
  let group: UInt32
  /// Sorted.
  let groups: [UInt32]

  /// From the socket's peer credentials and /proc/PID/status, while the process waits for an answer.
  init(process: Int32, user: UInt32, group: UInt32) {
    self.process = process
    self.user = user
    self.group = group
    groups = ProcessStatus.groups(of: process).sorted()
  }
}

/// What /proc/PID/status tells (proc(5)).
enum ProcessStatus {
  /// Supplementary groups; none when the process is gone.
  static func groups(of process: Int32) -> [UInt32] {
    field("Groups:", of: process).split(separator: " ").compactMap { UInt32($0) }
  }

  private static func field(_ name: String, of process: Int32) -> String {
    guard let file = try? FileDescriptor.open(FilePath("/proc/\(process)/status"), O_RDONLY) else { return "" }
    defer { file.close() }
    guard let bytes = try? file.readAll(limit: 1 << 16) else { return "" }
    for line in bytes.split(separator: UInt8(ascii: "\n")) where line.starts(with: name.utf8) {
      let value = line.dropFirst(name.utf8.count).map { $0 == UInt8(ascii: "\t") ? UInt8(ascii: " ") : $0 }
      return String(decoding: value, as: UTF8.self)
    }
    return ""
  }
}
