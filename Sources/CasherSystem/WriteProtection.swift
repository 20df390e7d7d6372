import CLinux

/// What an attribute of a file forbids also root (chattr(1)).
public enum WriteProtection: Sendable {
  case immutable
  case appendOnly
}

extension FileDescriptor {
  /// Of the file that this, which may be O_PATH, is open on; nil where nothing is forbidden. The corresponding C function
  /// is `statx`.
  public func writeProtection() throws(Errno) -> WriteProtection? {
    switch try check("statx", { casher_protection(rawValue) }) {
    case Int32(CASHER_IMMUTABLE): .immutable
    case Int32(CASHER_APPEND_ONLY): .appendOnly
    default: nil
    }
  }
}
