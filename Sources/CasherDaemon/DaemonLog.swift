import CasherSystem
import Glibc

/// What the daemon did, a line each of `key=value` words, to the mount's log.
public final class DaemonLog: Sendable {
  private let file: FileDescriptor?

  /// `file` is appended to; nil writes nothing.
  public init(_ file: FileDescriptor?) { self.file = file }

  func write(_ event: String, _ fields: [(String, String)] = []) {
    guard let file else { return }
    var now = time_t(Clock.now() / 1_000_000_000)
    var parts = tm()
    gmtime_r(&now, &parts)
    func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
    var line =
      "time=\(parts.tm_year &+ 1900)-\(two(parts.tm_mon &+ 1))-\(two(parts.tm_mday))T"
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z event=\(event)"
    for (key, value) in fields { line += " \(key)=\(DaemonLog.quoted(value))" }
    try? file.writeAll(Array((line + "\n").utf8))
  }

  private static func quoted(_ value: String) -> String {
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
