import CLinux
import Glibc

/// Signals, for a process that waits for them on a thread of its own.
public enum Signals {
  /// Blocks the signals in this thread and those it will start (pthread_sigmask(3)).
  public static func blockForWaiting(_ signals: [Int32]) {
    var set = set(of: signals)
    pthread_sigmask(SIG_BLOCK, &set, nil)
  }

  /// Waits until one of the signals, which must be blocked, arrives (sigwait(3)).
  @discardableResult
  public static func wait(for signals: [Int32]) -> Int32 {
    var set = set(of: signals)
    var signal: Int32 = 0
    while sigwait(&set, &signal) != 0 {}
    return signal
  }

  /// Asks this process to end as another would (kill(2), SIGTERM).
  public static func end() { kill(getpid(), SIGTERM) }

  /// The signal is dropped from now on (signal(2), SIG_IGN).
  public static func ignore(_ signal: Int32) { Glibc.signal(signal, SIG_IGN) }

  private static func set(of signals: [Int32]) -> sigset_t {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals { sigaddset(&set, signal) }
    return set
  }
}
