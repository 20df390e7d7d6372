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
}
