import CasherSystem

/// Entries in the system's journal (systemd's native protocol, https://systemd.io/JOURNAL_NATIVE_PROTOCOL).
///
/// Each has MESSAGE, PRIORITY, SYSLOG_IDENTIFIER=casherfs, CASHER_MOUNT, CASHER_EVENT, and a field CASHER_KEY for each
/// key of the line in the log.
struct Journal: Sendable {
  private let socket: DatagramSocket
  private let mount: FilePath

  /// Longer values are cut off, so that an entry is one datagram.
  private static let longest = 4096

  /// The journal of this machine, or the socket that `CASHER_JOURNAL` names; nil where there is none, or the variable is
  /// empty.
  static func connect(mount: FilePath) -> Journal? {
    let path = Environment.value("CASHER_JOURNAL") ?? "/run/systemd/journal/socket"
    guard !path.isEmpty, let socket = try? DatagramSocket.connect(to: path) else { return nil }
    return Journal(socket: socket, mount: mount)
  }

  /// What the journal cannot take at once is lost to it; the log has it.
  func send(_ event: String, _ fields: [(String, String)]) {
    var entry: [UInt8] = []
    var message = event
    for (key, value) in fields { message += " \(key)=\(DaemonLog.quoted(value))" }
    // sd-daemon(3): 3 is an error, 4 a warning, 6 information.
    let priority = event == "error" ? "3" : event == "uncacheable" ? "5" : "6"
    Journal.add("MESSAGE", message, to: &entry)
    Journal.add("PRIORITY", priority, to: &entry)
    Journal.add("SYSLOG_IDENTIFIER", "casherfs", to: &entry)
    Journal.add("CASHER_MOUNT", mount.description, to: &entry)
    Journal.add("CASHER_EVENT", event, to: &entry)
    for (key, value) in fields { Journal.add("CASHER_" + key.uppercased(), value, to: &entry) }
    try? socket.send(entry)
  }

  /// `NAME=value`; a value with a newline as the name, a newline, its length in eight bytes, and the value.
  private static func add(_ name: String, _ value: String, to entry: inout [UInt8]) {
    let bytes = value.utf8.prefix(longest)
    entry += name.utf8
    if bytes.contains(0x0a) {
      entry.append(0x0a)
      withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { entry += $0 }
    } else {
      entry.append(UInt8(ascii: "="))
    }
    entry += bytes
    entry.append(0x0a)
  }
}
