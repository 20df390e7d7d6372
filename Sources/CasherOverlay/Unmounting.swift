import CasherSystem
import Glibc

/// Taking a mount away, as root by umount2(2), as an ordinary user through fusermount3.
enum Unmounting {
  private static let helper = "fusermount3"

  /// Whether fusermount3 can be found.
  static var hasHelper: Bool {
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    return (path.split(separator: ":").map(String.init) + ["/usr/bin", "/bin"]).contains {
      access("\($0)/\(helper)", X_OK) == 0
    }
  }

  /// False when the mount is in use; `lazily`, it goes from sight all the same.
  static func unmount(_ directory: FilePath, lazily: Bool) -> Bool {
    if geteuid() == 0 {
      let noFollow: Int32 = 8
      let flags = noFollow | (lazily ? Int32(MNT_DETACH) : 0)
      return directory.withCString { umount2($0, flags) } == 0
    }
    return ProgramCall.run([FilePath(helper), lazily ? "-uz" : "-u", "--", directory]) == 0
  }
}
