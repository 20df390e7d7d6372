import CasherDaemon
import CasherSystem
import Glibc

/// A mount whose daemon was killed: the kernel answers every look at it with ENOTCONN.
enum DeadMount {
  /// Whether a mount of Casher's is at this place and its daemon is gone.
  static func isAt(_ directory: FilePath) -> Bool {
    guard let mounts = try? MountTable.casherMounts(), mounts.contains(where: { $0.mountPoint == directory }) else {
      return false
    }
    do throws(Errno) {
      try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY).close()
      return false
    } catch {
      return error == Errno(rawValue: ENOTCONN) || error == Errno(rawValue: ECONNABORTED)
    }
  }

  /// Takes it away if it is there still, also when processes stand in it: nobody can do anything there.
  ///
  /// Of several that found it at once one looks and takes away at a time, or else the others would take away what the first
  /// has mounted in its place.
  static func detach(_ directory: FilePath) throws(Failure) {
    let turn = try? FileDescriptor.open(directory.parent, O_RDONLY | O_DIRECTORY)
    defer { turn?.close() }
    for _ in 0..<DeadMount.attempts {
      if turn == nil || (try? turn?.holdLock(exclusive: true, waiting: false)) != nil { break }
      var pause = timespec(tv_sec: 0, tv_nsec: 10_000_000)
      nanosleep(&pause, nil)
    }
    guard isAt(directory) else { return }
    do throws(Failure) { try detachMount(directory, lazily: true) } catch {
      if isAt(directory) { throw error }
    }
  }

  /// How often, 10 ms apart, another is waited for, which may as well have locked the directory for something else.
  private static let attempts = 300

  /// Calls `body`, and where the cache proves to be unusable names the files that are nowhere else.
  static func namingUnwritten<Result>(
    _ directory: FilePath, _ store: StoreAccess, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    do throws(Failure) { return try body() } catch {
      if error.code == .storeUnusable {
        let configuration = DaemonConfiguration(
          directory: directory, storeDirectory: store.directory, storeOptions: store.options)
        for path in Daemon.unwritten(configuration) {
          Console.complain("\(path) cannot be had before the cache can be used")
        }
      }
      throw error
    }
  }
}
