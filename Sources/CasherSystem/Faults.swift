import CLinux
import Glibc
import Synchronization

/// Fault injection for tests: the n-th system call made through this module fails, or ends the process.
///
/// Armed by `CASHER_FAULT=<n>:<errno>` or `CASHER_FAULT=<n>:kill`, optionally `…:<call>` to count only calls of that
/// name; with `<n>-<m>` all from the n-th to the m-th fail, as on a disk that is full for a while. Nothing is counted, and nothing costs more than one load, unless it is armed.
public enum Faults {
  private struct Plan {
    var remaining: Int
    /// How many calls fail, from that one on.
    var length = 1
    var error: Errno?
    var call: String?
  }

  nonisolated(unsafe) private static var isArmed = false  // written once, before any thread is started
  private static let plan = Mutex(Plan(remaining: 0, error: nil, call: nil))

  @inline(__always) static var armed: Bool { isArmed }

  /// Reads `CASHER_FAULT`. To be called before the process starts its first thread.
  public static func armFromEnvironment() {
    guard let raw = getenv("CASHER_FAULT") else { return }
    let parts = String(cString: raw).split(separator: ":").map(String.init)
    guard parts.count >= 2 else { return }
    let range = parts[0].split(separator: "-").compactMap { Int($0) }
    guard let first = range.first, let last = range.last, last >= first else { return }
    plan.withLock {
      $0 = Plan(
        remaining: first, length: last - first + 1, error: Int32(parts[1]).map { Errno(rawValue: $0) },
        call: parts.count > 2 ? parts[2] : nil)
    }
    isArmed = true
  }

  static func next(_ call: StaticString) -> Errno? {
    let due = plan.withLock { plan -> (Bool, Errno?) in
      if let only = plan.call, only != "\(call)" { return (false, nil) }
      plan.remaining -= 1
      return (plan.remaining <= 0 && plan.remaining > -plan.length, plan.error)
    }
    guard due.0 else { return nil }
    guard let error = due.1 else {
      kill(getpid(), SIGKILL)
      return .ioError
    }
    return error
  }
}
