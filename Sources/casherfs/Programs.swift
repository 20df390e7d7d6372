import CasherSystem
import Glibc

/// Other programs that casherfs needs.
enum Programs {
  /// The first executable file of that name in $PATH.
  static func find(_ name: String) -> FilePath? {
    let path = Environment.value("PATH") ?? "/usr/local/bin:/usr/bin:/bin"
    for directory in path.bytes.split(separator: UInt8(ascii: ":")) {
      let candidate = FilePath(directory).appending(name)
      if candidate.withCString({ access($0, X_OK) }) == 0 { return candidate }
    }
    return nil
  }
}
