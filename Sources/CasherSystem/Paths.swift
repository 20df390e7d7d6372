import Glibc

extension FilePath {
  /// The absolute path without symlinks, `.` and `..`; everything must be there.
  /// The corresponding C function is `realpath`.
  public func resolved() throws(Errno) -> FilePath {
    try withCString { path throws(Errno) in
      guard let result = realpath(path, nil) else { throw Errno.current }
      defer { free(result) }
      return FilePath(cString: result)
    }
  }

  /// Where this process stands. The corresponding C function is `getcwd`.
  public static func currentDirectory() throws(Errno) -> FilePath {
    guard let result = getcwd(nil, 0) else { throw Errno.current }
    defer { free(result) }
    return FilePath(cString: result)
  }

  /// Whether this process may execute the file. The corresponding C function is `access`.
  public var isExecutable: Bool { withCString { access($0, X_OK) == 0 } }

  /// Moves this process to the directory. The corresponding C function is `chdir`.
  public func makeCurrentDirectory() throws(Errno) {
    try withCString { path throws(Errno) in _ = try check("chdir") { chdir(path) } }
  }
}

/// Variables of this process's environment, byte for byte.
public enum Environment {
  /// Nil when the variable is not set. The corresponding C function is `getenv`.
  public static func value(_ name: String) -> FilePath? { getenv(name).map { FilePath(cString: $0) } }

  /// As `value`, nil also when it is empty.
  public static func nonEmptyValue(_ name: String) -> FilePath? {
    value(name).flatMap { $0.isEmpty ? nil : $0 }
  }
}
