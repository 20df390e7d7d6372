import CLinux
import Glibc

extension FileDescriptor {
  /// The names of the extended attributes; empty where the filesystem has none to give.
  /// The corresponding C function is `flistxattr`.
  public func attributeNames() throws(Errno) -> [FilePath] {
    while true {
      let size: Int
      do throws(Errno) { size = try check("flistxattr") { flistxattr(rawValue, nil, 0) } } catch {
        if error == .notSupported { return [] }
        throw error
      }
      if size == 0 { return [] }
      var buffer = [CChar](repeating: 0, count: size)
      do throws(Errno) {
        let count = try check("flistxattr") { flistxattr(rawValue, &buffer, size) }
        return buffer.prefix(count).map { UInt8(bitPattern: $0) }.split(separator: 0).map { FilePath($0) }
      } catch {
        if error != Errno(rawValue: ERANGE) { throw error }
      }
    }
  }

  /// The value of an extended attribute; nil when there is none of that name. The corresponding C function is
  /// `fgetxattr`.
  public func attribute(_ name: FilePath) throws(Errno) -> [UInt8]? {
    try name.withCString { name throws(Errno) in
      do throws(Errno) {
        while true {
          let size = try check("fgetxattr") { fgetxattr(rawValue, name, nil, 0) }
          var buffer = [UInt8](repeating: 0, count: size)
          do throws(Errno) {
            let count = try check("fgetxattr") { fgetxattr(rawValue, name, &buffer, size) }
            return Array(buffer.prefix(count))
          } catch {
            if error != Errno(rawValue: ERANGE) { throw error }
          }
        }
      } catch {
        if error == .noData || error == .notSupported { return nil }
        throw error
      }
    }
  }

  /// The corresponding C function is `fsetxattr`.
  public func setAttribute(_ name: FilePath, _ value: [UInt8]) throws(Errno) {
    try name.withCString { name throws(Errno) in
      _ = try check("fsetxattr") { fsetxattr(rawValue, name, value, value.count, 0) }
    }
  }

  /// The corresponding C function is `fremovexattr`.
  public func removeAttribute(_ name: FilePath) throws(Errno) {
    try name.withCString { name throws(Errno) in _ = try check("fremovexattr") { fremovexattr(rawValue, name) } }
  }
}
