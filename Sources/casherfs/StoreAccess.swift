import CasherConfiguration
import CasherDaemon
import CasherRecord
import CasherStore
import CasherSystem

/// The cache that a command of casherfs is about.
struct StoreAccess {
  let directory: FilePath
  let options: StoreOptions

  /// Of mounts that do not say otherwise.
  let durability: Durability
  /// What the configuration files say.
  let configuration: ConfigurationFiles.Contents
  /// Where what is in force comes from, by the settings' names; what is not there is built in.
  private(set) var origins: [String: SettingOrigin] = [:]

  /// The cache that `--cache-dir`, the environment or a configuration file names. `directory`: the work directory that
  /// the files are looked for in, when it is not that of the current directory.
  init(_ arguments: Arguments, for directory: FilePath? = nil) throws(Failure) {
    configuration = try Configuration.load(for: directory ?? Configuration.workDirectory())
    (self.directory, origins["cache_directory"]) = try StoreAccess.directory(arguments, configuration)
    var options = StoreOptions()
    var durability = Durability.normal
    for name in ["max_cache_size", "compression", "durability", "journal_mode"] {
      guard let key = SettingKey.named(name), let found = try StoreAccess.value(of: key, configuration) else {
        continue
      }
      origins[name] = found.origin
      switch (name, found.value) {
      case ("max_cache_size", .number(let size)): options.limit = size
      case ("compression", .off): options.compressionLevel = nil
      case ("compression", .number(let level)): options.compressionLevel = Int32(clamping: level)
      case ("durability", .text(let word)):
        durability = Durability(rawValue: String(decoding: word, as: UTF8.self)) ?? .normal
        options.durability = durability == .full ? .full : .fast
      case ("journal_mode", .text(let word)):
        options.journalMode = StoreOptions.JournalMode(rawValue: String(decoding: word, as: UTF8.self)) ?? .wal
      default: break
      }
    }
    self.options = options
    self.durability = durability
  }

  /// Bytes that the log of a mount grows to.
  func logLimit() throws(Failure) -> Int64 {
    guard case .number(let size) = try find("log_size")?.value else { return DaemonLog.standardLimit }
    return size
  }

  /// What the environment or a file says of a setting.
  func find(_ name: String) throws(Failure) -> (value: SettingValue, origin: SettingOrigin)? {
    guard let key = SettingKey.named(name) else { return nil }
    return try StoreAccess.value(of: key, configuration)
  }

  /// Where the socket and the log of a mount are.
  func mountDirectory(_ id: String) -> FilePath { directory.appending("mounts").appending(id) }

  func origin(of name: String) -> SettingOrigin { origins[name] ?? .builtIn }

  private static func directory(
    _ arguments: Arguments, _ configuration: ConfigurationFiles.Contents
  ) throws(Failure) -> (FilePath, SettingOrigin?) {
    var origin: SettingOrigin?
    var directory: FilePath?
    if let given = arguments.path(Option.cacheDirectory.name) {
      (directory, origin) = (given, .flag(Option.cacheDirectory.name))
    } else if let key = SettingKey.named("cache_directory"), let found = try value(of: key, configuration),
      case .text(let bytes) = found.value
    {
      (directory, origin) = (FilePath(bytes), found.origin)
    } else {
      directory = Store.defaultDirectory(environment: Environment.value)
      if Environment.nonEmptyValue("XDG_CACHE_HOME")?.isAbsolute == true { origin = .environment("XDG_CACHE_HOME") }
    }
    guard let directory else {
      throw Failure(.storeUnusable, "there is no cache directory: set CASHER_CACHE_DIR, or HOME.")
    }
    do throws(Errno) {
      return (directory.isAbsolute ? directory : try FilePath.currentDirectory().appending(directory), origin)
    } catch {
      throw Failure(.storeUnusable, "\(directory) cannot be found, because this directory is gone: cd to another one.")
    }
  }

  /// What the environment or a file says of a setting.
  private static func value(
    of key: SettingKey, _ configuration: ConfigurationFiles.Contents
  ) throws(Failure) -> (value: SettingValue, origin: SettingOrigin)? {
    if let variable = key.variable, let text = Environment.nonEmptyValue(variable) {
      guard let value = key.value(of: text) else {
        throw Failure(.usage, "\(variable) must be \(key.kind.description), not '\(text)'.")
      }
      return (value, .environment(variable))
    }
    return configuration.value(of: key.name).map { ($0.value, .file($0.file, line: $0.line)) }
  }

  /// The limit in force, in bytes.
  var limit: Int64 { options.limit }

  /// Opens the cache after every daemon that serves a mount with it has written down what it remembers. Nil when there
  /// is no cache yet: looking at one does not make it.
  func open() throws(Failure) -> Store? {
    do throws(Errno) {
      guard try FileDescriptor.workingDirectory.statusIfPresent(of: directory) != nil else { return nil }
    } catch { throw Failure(.storeUnusable, "the cache in \(directory) cannot be used: \(error).") }
    flushDaemons()
    do throws(StoreError) { return try Store.open(at: directory, options: options) } catch {
      throw StoreAccess.failure(error)
    }
  }

  /// Calls `body` with errors of the store made into failures.
  static func reading<Result>(_ body: () throws(StoreError) -> Result) throws(Failure) -> Result {
    do throws(StoreError) { return try body() } catch { throw failure(error) }
  }

  static func failure(_ error: StoreError) -> Failure { Failure(.storeUnusable, "\(error).") }

  /// A daemon that is gone has nothing to write, so that failures do not matter here.
  private func flushDaemons() {
    let mounts = directory.appending("mounts")
    guard let entries = try? FileDescriptor.workingDirectory.entries(of: mounts) else { return }
    for entry in entries {
      _ = try? DaemonConnection.ask("flush", at: mounts.appending(entry.name).appending("socket"))
    }
  }
}
