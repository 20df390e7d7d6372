import CasherDaemon
import CasherSystem

/// What one mount was asked to be.
struct MountConfiguration: Sendable {
  /// Absolute, without symlinks.
  var directory: FilePath
  var foreground: Bool
  /// Print every request.
  var debug: Bool
  var options: MountOptions
  /// The freeze to be shown instead of the directory.
  var freeze: Int64?

  /// `store`: the cache, with what the configuration files say.
  init(_ arguments: Arguments, directory: FilePath, _ store: StoreAccess) throws(Failure) {
    self.directory = directory
    debug = arguments.has("--debug")
    foreground = debug || arguments.has("--foreground")
    options = MountOptions()
    if case .number(let timeout) = store.configuration.value(of: "mount_timeout")?.value { options.timeout = timeout }
    options.durability = store.durability
    for list in arguments.all("--options") { try options.add(list) }
    freeze = try arguments.value("--frozen", "the number of a freeze, as 'casherfs freezes' lists them") { Int64($0) }
  }

  /// The command line that gives this configuration to another casherfs.
  func arguments(store: FilePath) -> [FilePath] {
    var result: [FilePath] = [FilePath(Option.cacheDirectory.name), store]
    if !options.given.isEmpty { result += ["--options", FilePath(options.given.joined(separator: ","))] }
    if debug { result.append("--debug") }
    if foreground { result.append("--foreground") }
    result += Privilege.words
    if let freeze { result += ["--frozen", FilePath("\(freeze)")] }
    return result + ["--", directory]
  }
}

/// What `-o` takes, as mount(8) lists it: names and values between commas.
struct MountOptions: Sendable {
  /// How long the kernel may keep names and attributes of the main view, in nanoseconds.
  var timeout: Int64 = 1_000_000_000
  /// Whether files are read and written without the daemon where the kernel lets it.
  var passthrough = true
  /// Whether idle processors are kept awake while many requests come.
  var keepsAwake = true
  /// How many threads serve requests; nil for as many as fit the machine.
  var threads: Int?
  /// What of the files that are only in the cache so far survives a loss of power.
  var durability = Durability.normal
  /// Whether the mount ends with the last acache --mount that uses it.
  var isTransient = false
  /// Everything as it was given, to be handed on.
  private(set) var given: [String] = []

  static let help = """
    timeout=DURATION (how long the kernel keeps names and attributes, 1s by default), threads=N, \
    no_passthrough (read and write files through the daemon), no_awake (let idle processors sleep between requests, which \
    saves power and takes time), durability=none|normal|full (what survives a loss of \
    power: nothing is synced, what becomes an ordinary file at a freeze or unmount is, or each step is), \
    transient (end with the last acache --mount that uses the mount), and those of every filesystem, which are ignored
    """

  /// Names that mount(8) and fstab(5) give to every filesystem and that say nothing here.
  private static let ignored: Set<String> = [
    "rw", "group", "strictatime", "lazytime", "nolazytime", "silent", "loud", "mand", "nomand", "iversion",
    "noiversion",
    "allow_other", "default_permissions", "defaults", "auto", "noauto", "user", "users", "nouser", "owner", "exec",
    "suid", "nosuid", "dev", "nodev",
    "async", "sync", "atime", "noatime", "relatime", "diratime", "nodiratime", "nofail", "_netdev",
  ]

  mutating func add(_ list: FilePath) throws(Failure) {
    for option in String(decoding: list.bytes, as: UTF8.self).split(separator: ",") {
      let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      try add(parts[0], value: parts.count > 1 ? parts[1] : nil)
      given.append(String(option))
    }
  }

  private mutating func add(_ name: String, value: String?) throws(Failure) {
    switch (name, value) {
    case ("timeout", let value?):
      guard let duration = Quantity.nanoseconds(value) else {
        throw Failure(.usage, "'\(value)' after timeout= is not a duration such as 0, 500ms or 2s.")
      }
      timeout = duration
    case ("threads", let value?):
      guard let count = Int(value), (1...256).contains(count) else {
        throw Failure(.usage, "'\(value)' after threads= is not a number from 1 to 256.")
      }
      threads = count
    case ("durability", let value?):
      guard let level = Durability(rawValue: value) else {
        throw Failure(.usage, "'\(value)' after durability= is not one of none, normal and full.")
      }
      durability = level
    case ("no_passthrough", nil): passthrough = false
    case ("no_awake", nil): keepsAwake = false
    case ("transient", nil): isTransient = true
    default:
      let isForOthers = name.hasPrefix("x-") || name.hasPrefix("X-") || name == "comment" || name == "user"
      guard value == nil && MountOptions.ignored.contains(name) || isForOthers else {
        throw Failure(.usage, "'\(name)' is not a mount option; 'casherfs mount --help' lists them.")
      }
    }
  }
}
