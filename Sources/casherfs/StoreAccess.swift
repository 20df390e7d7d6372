import CasherRecord
import CasherStore
import CasherSystem

/// The cache that a command of casherfs is about.
struct StoreAccess {
  let directory: FilePath
  let options: StoreOptions

  /// The cache that `--cache-dir` or the environment names.
  init(_ arguments: Arguments) throws(Failure) {
    let given = arguments.path(Option.cacheDirectory.name)
    guard let directory = given ?? Store.defaultDirectory(environment: Environment.value) else {
      throw Failure(.storeUnusable, "there is no cache directory: set CASHER_CACHE_DIR, or HOME.")
    }
    do throws(Errno) {
      self.directory = directory.isAbsolute ? directory : try FilePath.currentDirectory().appending(directory)
    } catch {
      throw Failure(.storeUnusable, "\(directory) cannot be found, because this directory is gone: cd to another one.")
    }
    do throws(StoreError) {
      options = try StoreOptions { name in Environment.value(name).map { String(decoding: $0.bytes, as: UTF8.self) } }
    } catch { throw Failure(.usage, "\(error).") }
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
