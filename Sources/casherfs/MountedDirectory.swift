import CasherSystem
import Glibc

/// Finds mounts by what a user calls them.
enum MountedDirectory {
  /// Where Casher's mount at `given` is in the mount table. Works for a dead mount too, which nothing can look into.
  static func find(_ given: FilePath) throws(Failure) -> FilePath {
    let mounts = try all()
    let path: FilePath
    do throws(Errno) { path = try resolved(given) } catch { throw MountFailure.unusable(given, error) }
    if mounts.contains(path) { return path }
    if let outer = mounts.filter({ path.isWithin($0) }).max(by: { $0.bytes.count < $1.bytes.count }) {
      throw Failure(.notMounted, "\(path) is not mounted itself but lies in the mount of \(outer); name that.")
    }
    throw Failure(.notMounted, "\(path) is not mounted; 'casherfs status' lists what is.")
  }

  /// The absolute path of a directory, mounted or not; also that of a dead mount.
  static func path(of given: FilePath) throws(Failure) -> FilePath {
    do throws(Errno) { return try resolved(given) } catch { throw MountFailure.unusable(given, error) }
  }

  /// The places of all of Casher's mounts.
  static func all() throws(Failure) -> [FilePath] {
    do throws(Errno) { return try MountTable.casherMounts().map(\.mountPoint) } catch {
      throw Failure(.failure, "the mount table cannot be read (\(error)): is /proc mounted?")
    }
  }

  /// The absolute path. The last name is not looked at when its parent can be resolved, because a dead mount cannot be.
  private static func resolved(_ given: FilePath) throws(Errno) -> FilePath {
    do throws(Errno) { return try given.resolved() } catch {
      guard error == Errno(rawValue: ENOTCONN) else { throw error }
      var trimmed = given
      while trimmed.bytes.count > 1, trimmed.bytes.last == UInt8(ascii: "/") { trimmed.bytes.removeLast() }
      let parent = trimmed.parent.isEmpty ? FilePath(".") : trimmed.parent
      return try parent.resolved().appending(trimmed.lastComponent)
    }
  }
}
