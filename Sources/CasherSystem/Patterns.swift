import CLinux
import Glibc

extension FilePath {
  /// Whether the whole path fits a shell's pattern; `*` stands for slashes too. The corresponding C function is
  /// `fnmatch` without flags.
  public func matches(_ pattern: FilePath) -> Bool {
    withCString { path in pattern.withCString { fnmatch($0, path, 0) == 0 } }
  }
}
