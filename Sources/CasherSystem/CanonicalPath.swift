import CLinux
import Glibc

extension FilePath {
  /// The path with every symlink and `..` resolved as they stand now. The corresponding C function is `realpath`.
  public func canonical() throws(Errno) -> FilePath {
    let resolved = withCString { realpath($0, nil) }
    guard let resolved else { throw Errno.current }
    defer { free(resolved) }
    return FilePath(cString: resolved)
  }
}
