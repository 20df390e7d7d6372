import CasherSystem

/// One of the settings of casher.yml. The files are read by the table of these (`SettingKey.all`), and
/// `casherfs config` and the man page are made from it.
public struct SettingKey: Sendable {
  /// What stands in the file before the colon. A setting of calls is called as acache's option is, with `_` for `-`.
  public let name: String
  public let kind: Kind
  public let scope: Scope
  /// What it says, as the end of a sentence, without a full stop.
  public let help: String
  /// The environment variable that goes before the files, for settings that are no options of acache.
  public let variable: String?

  /// What a setting's value is.
  public enum Kind: Sendable, Equatable {
    /// `true` or `false`.
    case flag
    case text
    /// One text or a list of them.
    case texts
    /// Names of environment variables.
    case variables
    /// Paths, relative ones from the work directory.
    case paths
    /// Of the form NAME=VALUE.
    case assignments
    /// One of these words.
    case choice([String])
    /// Bytes: `10G`.
    case size
    /// Nanoseconds: `30s`.
    case duration
    /// A path; a relative one from the file's directory, `~/` from the home directory.
    case place
    /// `off`, or a level of zstd(1).
    case level
    /// How many times.
    case count

    /// For people: what the value has to be.
    public var description: String {
      switch self {
      case .flag: "true or false"
      case .text: "a text"
      case .texts: "a text or a list of texts"
      case .variables: "the name of a variable or a list of names"
      case .paths: "a path or a list of paths"
      case .assignments: "NAME=VALUE or a list of such"
      case .choice(let words): words.joined(separator: ", ").replacingLastComma
      case .size: "a size such as 500M or 10G"
      case .duration: "a duration such as 500ms, 30s, 5m, 2h or 7d"
      case .place: "a path"
      case .level: "off or a level from 1 to 19"
      case .count: "a number such as 0 or 3"
      }
    }

    /// Whether several files' values add to each other.
    public var isList: Bool {
      switch self {
      case .texts, .variables, .paths, .assignments: true
      case .flag, .text, .choice, .size, .duration, .place, .level, .count: false
      }
    }
  }

  /// What a setting is about.
  public enum Scope: Sendable {
    /// The mount and its cache: read when a directory is mounted and when casherfs is called.
    case mount
    /// A call of acache; may stand in a rule too.
    case call
  }

  /// Where rules for commands stand.
  public static let rules = "commands"
  /// What commands a rule is about.
  public static let match = "match"

  private init(_ name: String, _ kind: Kind, _ scope: Scope, _ help: String, variable: String? = nil) {
    self.name = name
    self.kind = kind
    self.scope = scope
    self.help = help
    self.variable = variable
  }

  /// Whether the value names neither a file nor a program nor anything else that could lead somewhere.
  public var isPlainValue: Bool {
    switch kind {
    case .flag, .choice, .size, .duration, .level, .count: true
    case .text, .texts, .variables, .paths, .assignments, .place: false
    }
  }

  public static func named(_ name: String) -> SettingKey? { all.first { $0.name == name } }

  /// Every setting, in the order in which they are listed. What is applied to a call is applied in this order too.
  public static let all: [SettingKey] = [
    SettingKey(
      "cache_directory", .place, .mount,
      "where the cache is; a relative path begins at the file's directory, ~/ at the home directory",
      variable: "CASHER_CACHE_DIR"),
    SettingKey(
      "max_cache_size", .size, .mount, "how large the cache may get; what was not used for the longest time goes first",
      variable: "CASHER_MAX_CACHE_BYTES"),
    SettingKey(
      "compression", .level, .mount, "how hard zstd(1) tries with contents that gain by it",
      variable: "CASHER_COMPRESSION"),
    SettingKey(
      "durability", .choice(["none", "normal", "full"]), .mount,
      "what survives a loss of power: nothing for sure, what has become an ordinary file, or each step",
      variable: "CASHER_DURABILITY"),
    SettingKey(
      "journal_mode", .choice(["wal", "delete", "truncate", "persist"]), .mount,
      "how the database keeps its transactions whole; all but wal do for a filesystem without shared memory, and are slower",
      variable: "CASHER_JOURNAL_MODE"),
    SettingKey(
      "mount_timeout", .duration, .mount,
      "how long the kernel may keep names of the mount ('casherfs mount -o timeout=')"
    ),
    SettingKey(
      "log_size", .size, .mount,
      "how large the log of a mount gets before it is begun anew; three earlier ones are kept",
      variable: "CASHER_LOG_SIZE"),
    SettingKey("env", .variables, .call, "variables that count, though they would not by default"),
    SettingKey("ignore_env", .variables, .call, "variables that do not count"),
    SettingKey("only_env", .variables, .call, "the only variables that count, and that commands see"),
    SettingKey(
      "ignore", .texts, .call, "patterns of paths that are neither inputs nor outputs; * stands for slashes too"),
    SettingKey("input", .paths, .call, "files, and directories with all in them, that count though nobody reads them"),
    SettingKey("output_root", .paths, .call, "directories below which everything is output only, never an input"),
    SettingKey("salt", .text, .call, "a text that counts, for a version of one's own"),
    SettingKey("strict", .flag, .call, "what a command produced itself must be as it was before the run"),
    SettingKey("mtime", .flag, .call, "modification times count like content"),
    SettingKey("relocatable", .flag, .call, "the mount's place does not count"),
    SettingKey(
      "outside", .choice(["auto", "view", "strace", "trust"]), .call, "how what is used outside the mount is seen"),
    SettingKey(
      "outside_writes", .choice(["capture", "refuse", "ignore"]), .call,
      "what becomes of files written outside the mount"),
    SettingKey("allow_network", .flag, .call, "results are stored although the command connected to the network"),
    SettingKey("cache_failures", .flag, .call, "results of any exit status are stored, not of 0 alone"),
    SettingKey("no_store", .flag, .call, "results that are there are used, but none are stored"),
    SettingKey("no_cache", .flag, .call, "commands run and are recorded for 'casherfs log', never to answer from"),
    SettingKey("ttl", .duration, .call, "how long a result is good"),
    SettingKey("restore", .choice(["always", "if-missing", "never"]), .call, "which files a hit puts back"),
    SettingKey("tag", .assignments, .call, "labels for stored results; they do not count"),
    SettingKey("sync", .flag, .call, "acache returns when the result is safely on disk"),
    SettingKey("timeout", .duration, .call, "a command that takes longer is ended, with all that it has started"),
    SettingKey("retries", .count, .call, "how many times more a command is run while it fails"),
  ]
}

extension String {
  /// `a, b, c` as `a, b or c`.
  fileprivate var replacingLastComma: String {
    var words = split(separator: ", ").map(String.init)
    guard let last = words.popLast(), !words.isEmpty else { return self }
    return words.joined(separator: ", ") + " or " + last
  }
}
