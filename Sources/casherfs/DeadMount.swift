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

  /// Takes it away, also when processes still stand in it: nobody can do anything there.
  static func detach(_ directory: FilePath) throws(Failure) { try detachMount(directory, lazily: true) }

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
