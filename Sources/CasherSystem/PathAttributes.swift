import CLinux

extension FilePath {
  /// The value of an extended attribute of what the path names, symlinks followed. At most 64 KiB (xattr(7)).
  /// The corresponding C function is `getxattr`.
  public func extendedAttribute(_ name: String) throws(Errno) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: 65536)
    let count = try withCString { path throws(Errno) in
      try check("getxattr") { getxattr(path, name, &buffer, buffer.count) }
    }
    return Array(buffer.prefix(count))
  }
}
