import CLinux
import Glibc

/// CAP_SYS_ADMIN (capabilities(7)) of this process, which a FUSE server needs to register files for passthrough.
///
/// Root has it all the time. Another user's process may have been given it, by the program's file or as an ambient
/// capability: then no thread has it in effect but inside `using`, and no child is given it.
public enum SystemAdministration {
  /// What a process does with what it was given.
  public enum Use: Sendable {
    /// It is gone for good.
    case dropped
    /// What this process executes has it, if it is an ambient one; this process itself does not use it.
    case passedOn
    /// It is used by `using` alone.
    case lent
  }

  /// Whether it is there for `using` only: what the process may do is what its user may do, everywhere else.
  nonisolated(unsafe) public private(set) static var isLent = false  // written once, before any thread is started

  /// Whether it can be used at all.
  public static var isAvailable: Bool { isLent || casher_has_sys_admin() == 1 }

  /// Whether this program has been started with more than who started it has: then nothing that the environment says
  /// may be trusted. The corresponding C function is `getauxval` of AT_SECURE.
  public static var isSecureExecution: Bool { casher_is_secure_execution() != 0 }

  /// To be called first of all by a program whose file may carry the capability. Root is left as it is.
  public static func settle(_ use: Use) {
    if geteuid() == 0 { return }
    switch use {
    case .dropped: _ = casher_settle_sys_admin(CASHER_CAPABILITY_DROPPED)
    case .passedOn: _ = casher_settle_sys_admin(CASHER_CAPABILITY_PASSED_ON)
    case .lent: isLent = casher_settle_sys_admin(CASHER_CAPABILITY_LENT) == 1
    }
  }

  /// Calls `body`, which must be one system call, with the capability in effect in the calling thread.
  public static func using<Result>(_ body: () -> Result) -> Result {
    guard isLent, casher_lend_sys_admin(1) == 0 else { return body() }
    defer { _ = casher_lend_sys_admin(0) }
    return body()
  }
}
