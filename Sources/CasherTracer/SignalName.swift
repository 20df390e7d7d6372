import Glibc

/// Signals' names as strace prints them.
enum SignalName {
  private static let numbers: [(StaticString, Int32)] = [
    ("SIGHUP", SIGHUP), ("SIGINT", SIGINT), ("SIGQUIT", SIGQUIT), ("SIGILL", SIGILL), ("SIGTRAP", SIGTRAP),
    ("SIGABRT", SIGABRT), ("SIGBUS", SIGBUS), ("SIGFPE", SIGFPE), ("SIGKILL", SIGKILL), ("SIGUSR1", SIGUSR1),
    ("SIGSEGV", SIGSEGV), ("SIGUSR2", SIGUSR2), ("SIGPIPE", SIGPIPE), ("SIGALRM", SIGALRM), ("SIGTERM", SIGTERM),
    ("SIGSTKFLT", 16), ("SIGXCPU", SIGXCPU), ("SIGXFSZ", SIGXFSZ), ("SIGVTALRM", SIGVTALRM), ("SIGPROF", SIGPROF),
    ("SIGIO", SIGIO), ("SIGPOLL", SIGIO), ("SIGPWR", SIGPWR), ("SIGSYS", SIGSYS),
  ]

  /// The number of the signal whose name `text` begins with; SIGKILL's for a name that is not known.
  static func number(_ text: UnsafeBufferPointer<UInt8>) -> Int32 {
    let name = UnsafeBufferPointer(rebasing: text.prefix { $0 != UInt8(ascii: " ") })
    for (known, number) in numbers where known.utf8CodeUnitCount == name.count && name.starts(with: known) {
      return number
    }
    if name.starts(with: "SIGRT_") || name.starts(with: "SIGRTMIN") {
      // strace counts real-time signals from the kernel's first, 32.
      var offset: Int32 = 0
      for byte in name where byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") {
        offset = offset &* 10 &+ Int32(byte &- UInt8(ascii: "0"))
      }
      return 32 + min(offset, 32)
    }
    return SIGKILL
  }
}
