import CLinux
import Glibc

/// The machine's clocks, in nanoseconds.
public enum Clock {
  /// Since 1970 (CLOCK_REALTIME).
  public static func now() -> Int64 { read(CLOCK_REALTIME) }

  /// Since some fixed point; never goes back (CLOCK_MONOTONIC).
  public static func monotonic() -> Int64 { read(CLOCK_MONOTONIC) }

  private static func read(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return FileStatus.nanoseconds(time)
  }
}
