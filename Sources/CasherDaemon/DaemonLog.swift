import CasherSystem
import Glibc
import Synchronization

/// What the daemon did: a line each of `key=value` words in the mount's log, and an entry each in the system's journal
/// where there is one.
///
/// The log is a file `log` in the mount's directory. When it has grown to its limit it becomes `log.1`, what was that
/// `log.2`, and so on; the oldest goes. A log that somebody else has moved away or removed is begun anew.
public final class DaemonLog: Sendable {
  /// Earlier logs that are kept.
  public static let kept = 3
  /// Bytes of a log by default.
  public static let standardLimit: Int64 = 4 << 20

  private struct State {
    var file: FileDescriptor?
    var status: FileStatus?
  }

  private let directory: FilePath
  private let limit: Int64
  private let journal: Journal?
  private let state = Mutex(State())

  /// The log in the mount's `directory`, of at most `limit` bytes. `mount` is what it is the log of. Where it cannot be
  /// opened nothing is written.
  init(in directory: FilePath, limit: Int64, mount: FilePath) {
    self.directory = directory
    self.limit = limit
    journal = Journal.connect(mount: mount)
    state.withLock { open(&$0) }
  }

  /// The log's path in a mount's directory; the earlier ones are numbered from 1 on.
  public static func path(in directory: FilePath, earlier number: Int = 0) -> FilePath {
    directory.appending(number == 0 ? "log" : "log.\(number)")
  }

  func write(_ event: String, _ fields: [(String, String)] = []) {
    var line = "time=\(DaemonLog.time) event=\(event)"
    for (key, value) in fields { line += " \(key)=\(DaemonLog.quoted(value))" }
    let bytes = Array((line + "\n").utf8)
    state.withLock { state in
      prepare(&state, for: bytes.count)
      try? state.file?.writeAll(bytes)
    }
    journal?.send(event, fields)
  }

  // MARK: the file

  private func open(_ state: inout State) {
    let path = DaemonLog.path(in: directory)
    let file = try? FileDescriptor.open(path, O_WRONLY | O_CREAT | O_APPEND, mode: 0o600)
    let status = try? file?.status()
    // What libraries print goes where the log is, once it goes there at all.
    if let file, let before = state.status {
      for stream in [FileDescriptor.standardOutput, .standardError]
      where (try? stream.status())?.key == before.key { try? file.duplicate(onto: stream) }
    }
    state.file?.close()
    state = State(file: file, status: status)
  }

  /// Sees to it that the file is the one of the log's name, and has room.
  private func prepare(_ state: inout State, for count: Int) {
    let path = DaemonLog.path(in: directory)
    let present = try? FileDescriptor.workingDirectory.statusIfPresent(of: path)
    guard let present, present.key == state.status?.key else { return open(&state) }
    guard present.size > 0, present.size.addingReportingOverflow(Int64(count)).partialValue > limit else { return }
    for number in stride(from: DaemonLog.kept, to: 0, by: -1) {
      try? FileDescriptor.workingDirectory.rename(
        DaemonLog.path(in: directory, earlier: number - 1), to: .workingDirectory,
        as: DaemonLog.path(in: directory, earlier: number))
    }
    open(&state)
  }

  // MARK: the line

  /// Now, as RFC 3339 has it, in UTC.
  private static var time: String {
    var now = time_t(Clock.now() / 1_000_000_000)
    var parts = tm()
    gmtime_r(&now, &parts)
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return "\(parts.tm_year &+ 1900)-\(two(parts.tm_mon &+ 1))-\(two(parts.tm_mday))T"
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
  }

  static func quoted(_ value: String) -> String {
    let isPlain = !value.isEmpty && !value.unicodeScalars.contains { $0.value <= 32 || $0 == "\"" || $0 == "\\" }
    if isPlain { return value }
    var text = "\""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text + "\""
  }
}
