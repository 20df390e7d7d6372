import CasherSystem
import Glibc
import Synchronization

/// A configuration file that is read again whenever it has changed.
public final class ConfigurationSource: Sendable {
  /// What a file is taken for.
  public enum Finding: Sendable {
    case none
    case file(ConfigurationFile)
    /// It says what it may not: a sentence with the reason.
    case untrusted(String)
  }

  private struct Memory {
    var status: FileStatus
    var isSettled: Bool
    var result: Result<Finding, InvalidConfiguration>
  }

  /// Bytes that are read of a file.
  private static let limit = 1 << 20
  /// A file that was changed so shortly before it was read may change again without its times telling, nanoseconds.
  private static let granularity: Int64 = 2_000_000_000

  private let directory: FileDescriptor
  private let name: FilePath
  /// The whole path, for messages.
  public let path: FilePath
  private let owner: UInt32?
  private let memory = Mutex<Memory?>(nil)

  /// `name` in `directory`, which stays open. `owner`: who has to own the file, and alone may write it, for it to count;
  /// nil for a file that counts whoever wrote it.
  public init(directory: FileDescriptor, name: FilePath, path: FilePath, owner: UInt32?) {
    self.directory = directory
    self.name = name
    self.path = path
    self.owner = owner
  }

  /// The file of a work directory: it counts when this process's user owns it and nobody else may write it.
  public static func ofWorkDirectory(_ path: FilePath, open directory: FileDescriptor) -> ConfigurationSource {
    ConfigurationSource(
      directory: directory, name: ConfigurationFile.name, path: path.appending(ConfigurationFile.name),
      owner: geteuid())
  }

  /// `$XDG_CONFIG_HOME/casher/config.yml`, else `~/.config/casher/config.yml` (XDG Base Directory Specification); nil
  /// without either variable.
  public static func ofUser() -> ConfigurationSource? {
    var base: FilePath?
    if let given = Environment.nonEmptyValue("XDG_CONFIG_HOME"), given.isAbsolute {
      base = given
    } else if let home = Environment.nonEmptyValue("HOME"), home.isAbsolute {
      base = home.appending(".config")
    }
    guard let path = base?.appending("casher/config.yml") else { return nil }
    return ConfigurationSource(directory: .workingDirectory, name: path, path: path, owner: nil)
  }

  /// The file as it is now.
  public func current() throws(InvalidConfiguration) -> Finding {
    let found: FileStatus?
    do throws(Errno) { found = try directory.statusIfPresent(of: name) } catch {
      if error == .notDirectory { return .none }
      throw unreadable(error)
    }
    guard let found else { return .none }
    let result = memory.withLock { memory in
      if let memory, memory.isSettled, memory.status.isSameGeneration(as: found),
        memory.status.permissions == found.permissions
      {
        return memory.result
      }
      let (status, result) = read()
      memory = status.map { status in
        let age = Clock.now() &- max(status.changed, status.modified)
        return Memory(status: status, isSettled: age > ConfigurationSource.granularity, result: result)
      }
      return result
    }
    return try result.get()
  }

  private func read() -> (FileStatus?, Result<Finding, InvalidConfiguration>) {
    do throws(Errno) {
      // Not to wait for a writer when it is a fifo.
      let file = try directory.open(name, O_RDONLY | O_NONBLOCK)
      defer { file.close() }
      let status = try file.status()
      if let owner, let reason = ConfigurationSource.distrust(status, owner: owner) {
        return (status, .success(.untrusted("\(path) \(reason)")))
      }
      guard status.type == .regular else { return (nil, .failure(invalid("this is not a regular file"))) }
      let text = try file.readAll(limit: ConfigurationSource.limit + 1)
      guard text.count <= ConfigurationSource.limit else {
        return (status, .failure(invalid("it is larger than \(Quantity.size(Int64(ConfigurationSource.limit)))")))
      }
      do throws(InvalidConfiguration) {
        return (status, .success(.file(try ConfigurationFile(path: path, text: text))))
      } catch { return (status, .failure(error)) }
    } catch { return (nil, error == .noSuchFile ? .success(.none) : .failure(unreadable(error))) }
  }

  private static func distrust(_ status: FileStatus, owner: UInt32) -> String? {
    if status.owner != owner {
      return "is not used, because it belongs to another user (\(status.owner)) than who mounts (\(owner))"
    }
    if status.permissions & 0o022 != 0 {
      return "is not used, because others may write it; 'chmod go-w' makes it yours alone"
    }
    return nil
  }

  private func unreadable(_ error: Errno) -> InvalidConfiguration { invalid("it cannot be read (\(error))") }

  private func invalid(_ message: String) -> InvalidConfiguration {
    InvalidConfiguration(path: path, message: message)
  }
}
