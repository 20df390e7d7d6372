@preconcurrency import Glibc

/// What this process was started with, byte for byte.
public enum ProcessArguments {
  /// The argument vector.
  public static var arguments: [[UInt8]] { strings(CommandLine.unsafeArgv) }

  /// `NAME=VALUE` each, in the environment's order.
  public static var environment: [[UInt8]] { strings(environ) }

  private static func strings(_ vector: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> [[UInt8]] {
    var result: [[UInt8]] = []
    var next = vector
    while let string = next.pointee {
      result.append(Array(UnsafeRawBufferPointer(start: string, count: strlen(string))))
      next += 1
    }
    return result
  }
}

/// The mode bits that new files do not get.
public enum ProcessMask {
  /// The corresponding C function is `umask`; for a process with one thread.
  public static var current: UInt32 {
    let mask = umask(0o77)
    umask(mask)
    return mask
  }
}
