import CLinux
import Glibc

/// The signals of a process that waits for a command in its own process group.
public enum CommandSignals {
  /// Remembers every disposition and the mask, and blocks all signals until `forward` or `restore`.
  public static func hold() { casher_signals_hold() }

  /// Passes on to `process` what is sent to this process alone, to nobody when it is 0. What the terminal sends reaches
  /// the process anyway.
  public static func forward(to process: Int32) { casher_signals_forward(process) }

  /// Whether SIGHUP, SIGINT, SIGQUIT or SIGTERM has come while a command ran: the user, or who acts for him, wants an end.
  public static var wasInterrupted: Bool { casher_signals_interrupted() != 0 }

  /// Whether a child has ended; its status stays to be waited for. The corresponding C function is `waitid`.
  public static func hasEnded(_ child: Int32) -> Bool { casher_has_ended(child) != 0 }

  /// Nothing that would be passed on ends or stops this process any more.
  public static func ignore() { casher_signals_ignore() }

  /// Dispositions and mask as they were found.
  public static func restore() { casher_signals_restore() }

  /// Ends this process as a writer whose reader has gone ends; returns when SIGPIPE was ignored all along.
  public static func dieOfBrokenPipe() { casher_die_of_sigpipe() }

  /// Stops this process until it is continued (SIGSTOP).
  public static func stop() { kill(getpid(), SIGSTOP) }

  /// Adopts the orphans among this process's descendants (prctl(2), PR_SET_CHILD_SUBREAPER).
  public static func adoptOrphans() { _ = casher_prctl(Int32(CASHER_PR_SET_CHILD_SUBREAPER), 1) }

  /// A descriptor that becomes readable when a child changes its state, and with `windows` when the terminal's size
  /// changes; once `hold` was called. The corresponding C function is `signalfd`.
  public static func childChanges(windows: Bool = false) throws(Errno) -> FileDescriptor {
    FileDescriptor(rawValue: try check("signalfd") { casher_child_signal(windows ? 1 : 0) })
  }

  /// Whether what was read from `childChanges` tells of a changed size.
  public static func tellsWindow(_ bytes: [UInt8]) -> Bool { casher_tells_window(bytes, bytes.count) != 0 }

  /// Tells this process's group and the terminal's foreground group that the terminal has another size (SIGWINCH).
  public static func tellWindow(of terminal: FileDescriptor) {
    casher_signal_foreground(terminal.rawValue, SIGWINCH)
  }

  /// What a child has come to.
  public enum ChildChange: Hashable, Sendable {
    /// `status` as wait(2) gives it.
    case ended(Int32, status: Int32)
    case stopped(Int32)
    /// There are children, and nothing new of them.
    case none
    case noChildren
  }

  /// The next change of any child, without waiting for it. The corresponding C function is `waitpid`.
  public static func nextChange() -> ChildChange {
    var status: Int32 = 0
    let process = casher_wait_any(&status)
    if process < 0 { return .noChildren }
    if process == 0 { return .none }
    return casher_stopped(status) != 0 ? .stopped(process) : .ended(process, status: status)
  }

  /// Waits for the end of a child. Returns its status as wait(2) gives it; nil when it is no child.
  public static func waitForEnd(of child: Int32) -> Int32? {
    var status: Int32 = 0
    let result = try? check("waitpid") { casher_wait_for(child, &status) }
    return result == nil ? nil : status
  }

  /// Whether a status of wait(2) is that of a process that a signal ended.
  public static func isSignal(_ waitStatus: Int32) -> Bool { casher_signaled(waitStatus) != 0 }

  /// What a shell makes of a status of wait(2): the exit status, or 128 and the signal's number.
  public static func shellStatus(_ waitStatus: Int32) -> Int32 {
    casher_signaled(waitStatus) != 0 ? 128 + casher_term_signal(waitStatus) : casher_exit_status(waitStatus)
  }

  /// A copy of this process that goes on by itself: true in the copy. The corresponding C function is `fork`; for a
  /// process with one thread.
  public static func split() throws(Errno) -> Bool { try check("fork") { casher_fork() } == 0 }

  /// The process that traces this one; 0 when there is none (proc_pid_status(5)).
  public static func tracer() -> Int32 { tracer(of: "/proc/self/status") }

  /// The process that traces another one; 0 when there is none.
  public static func tracer(of process: Int32) -> Int32 { tracer(of: FilePath("/proc/\(process)/status")) }

  private static func tracer(of path: FilePath) -> Int32 {
    guard let status = try? FileDescriptor.open(path, O_RDONLY) else { return 0 }
    defer { status.close() }
    let text = (try? status.readAll(limit: 4096)) ?? []
    let label = Array("TracerPid:\t".utf8)
    for line in text.split(separator: UInt8(ascii: "\n")) where line.starts(with: label) {
      return Int32(String(decoding: line.dropFirst(label.count), as: UTF8.self)) ?? 0
    }
    return 0
  }
}
