import CasherRecord
import CasherStore
import CasherSystem

/// Which environment variables count toward a key.
public enum EnvironmentPolicy {
  /// Session noise: differs from terminal to terminal and login to login and says nothing of a command's work. A
  /// trailing `*` stands for any ending. The one list, printed by `casherfs config`.
  public static let noise = [
    "_", "OLDPWD", "PWD", "SHLVL", "TERM", "TERMCAP", "COLORTERM", "TERM_PROGRAM*", "TERM_SESSION_ID", "VTE_VERSION",
    "WINDOWID", "WINDOW", "STY", "TMUX*", "ITERM_*", "KITTY_*", "ALACRITTY_*", "WEZTERM_*", "KONSOLE_*",
    "GNOME_TERMINAL_*", "SSH_*", "GPG_AGENT_INFO", "GPG_TTY", "DBUS_SESSION_BUS_ADDRESS", "DBUS_STARTER_*", "DISPLAY",
    "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_SESSION_*", "XDG_SEAT*", "XDG_VTNR", "SESSION_MANAGER", "DESKTOP_STARTUP_ID",
    "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "MEMORY_PRESSURE_*", "NOTIFY_SOCKET", "LISTEN_*",
    "MAIL", "MAILCHECK", "HISTFILE", "HISTSIZE", "PROMPT_COMMAND", "PS1", "SUDO_*", "CASHER_*", "VSCODE_*",
    "MAKE_TERMOUT", "MAKE_TERMERR",
  ].map { FilePath($0) }

  /// The variables that count, sorted by name, as `NAME=VALUE`; of several with one name the first, as getenv(3) has it.
  static func relevant(_ environment: [[UInt8]], _ options: CallOptions) -> [(name: FilePath, value: [UInt8])] {
    var result: [FilePath: [UInt8]] = [:]
    for variable in environment {
      let name = FilePath(variable.prefix { $0 != UInt8(ascii: "=") })
      guard result[name] == nil, counts(name, options) else { continue }
      result[name] = normalized(name, Array(variable.dropFirst(name.bytes.count + 1)))
    }
    return result.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  static func counts(_ name: FilePath, _ options: CallOptions) -> Bool {
    if let only = options.environmentOnly { return only.contains(name) }
    if options.environmentIgnored.contains(name) { return false }
    if options.environmentAdded.contains(name) { return true }
    return !noise.contains { matches(name, $0) }
  }

  /// The names by which a call departs from the usual, in one piece for each way.
  static func exceptions(_ options: CallOptions) -> [[UInt8]] {
    if options.environmentOnly != nil { return [] }
    func join(_ names: Set<FilePath>) -> [UInt8] { Array(names.sorted().map(\.bytes).joined(separator: [0])) }
    let ignored = Set(options.environmentIgnored)
    let added = Set(options.environmentAdded).subtracting(ignored)
    return [
      join(ignored.filter { name in !noise.contains { matches(name, $0) } }),
      join(added.filter { name in noise.contains { matches(name, $0) } }),
    ]
  }

  private static func matches(_ name: FilePath, _ pattern: FilePath) -> Bool {
    guard pattern.bytes.last == UInt8(ascii: "*") else { return name == pattern }
    return name.bytes.starts(with: pattern.bytes.dropLast())
  }

  /// GNU make tells its children how to share its jobs; which pipe and how many do not change what is made.
  private static func normalized(_ name: FilePath, _ value: [UInt8]) -> [UInt8] {
    guard name == "MAKEFLAGS" || name == "MFLAGS" else { return value }
    let words = value.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: true)
    let kept = words.filter { word in
      !word.starts(with: "--jobserver".utf8) && !word.starts(with: "-j".utf8)
        && !word.elementsEqual("--sync-output".utf8)
    }
    return Array(kept.joined(separator: [UInt8(ascii: " ")]))
  }

  /// A digest of one variable that tells equal values from different ones and gives none away: `salt` is the store's.
  static func digest(_ name: FilePath, _ value: [UInt8], salt: [UInt8]) -> Digest {
    var encoder = ByteEncoder()
    encoder.put("casher environment 1")
    encoder.put(salt)
    encoder.put(name)
    encoder.put(value)
    return SHA256.digest(of: encoder.bytes)
  }
}
