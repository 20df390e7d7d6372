import CLinux
import Glibc

/// A terminal for one of a command's output streams, in place of the real one that the output goes to in the end.
///
/// It carries output alone. The real terminal stays the controlling one and the command's standard input, so that
/// job control and the keyboard are as without this; settings that the command makes here are made there.
public final class PseudoTerminal {
  /// Where the command's output is read, a packet at a time (ioctl_tty(2), TIOCPKT); does not wait.
  public let master: FileDescriptor
  private let real: FileDescriptor
  private var state: casher_terminal
  /// The end for the command, as long as writers may be held up.
  private var slave: FileDescriptor?

  /// Makes one like the terminal `real`. Returns also the end that is for the command.
  public static func make(like real: FileDescriptor) throws(Errno) -> (PseudoTerminal, FileDescriptor) {
    var (master, slave) = (Int32(-1), Int32(-1))
    var state = casher_terminal()
    try check("posix_openpt") { casher_terminal_open(&state, real.rawValue, &master, &slave) }
    return (
      PseudoTerminal(FileDescriptor(rawValue: master), real, state), FileDescriptor(rawValue: slave)
    )
  }

  private init(_ master: FileDescriptor, _ real: FileDescriptor, _ state: casher_terminal) {
    self.master = master
    self.real = real
    self.state = state
  }

  /// Keeps the end for the command, so that its writers can be held up.
  public func keep(_ end: FileDescriptor) throws(Errno) {
    slave = FileDescriptor(rawValue: try check("fcntl") { casher_fcntl(end.rawValue, F_DUPFD_CLOEXEC, 3) })
  }

  /// Lets the command's writes wait, or go on. The corresponding C function is `tcflow`.
  public func hold(_ holds: Bool) {
    if let slave { _ = casher_terminal_hold(slave.rawValue, holds ? 1 : 0) }
  }

  /// Writers are not held up any more, and the end for the command is let go: once nobody else has it, `master` is at
  /// its end.
  public func release() {
    hold(false)
    slave?.close()
    slave = nil
  }

  /// Takes the real terminal's size over, and tells the command when it is another.
  public func adoptSize() {
    if casher_terminal_size(&state, real.rawValue, master.rawValue) == 1 { CommandSignals.tellWindow(of: real) }
  }

  /// What a packet is.
  public enum Packet: Equatable, Sendable {
    /// Everything behind the packet's first byte is output.
    case output
    /// The command has changed the settings: `adoptSettings`.
    case settings
    case other
  }

  public static func packet(_ first: UInt8) -> Packet {
    first == 0 ? .output : Int32(first) & Int32(CASHER_PACKET_SETTINGS) != 0 ? .settings : .other
  }

  /// Makes the settings of the command's terminal those of the real one.
  ///
  /// Where the command would be stopped for this in the background, this process is (SIGTTOU); not when it is its own
  /// descendants that have the terminal.
  public func adoptSettings() {
    let foreground = tcgetpgrp(real.rawValue)
    let isOwn = foreground > 0 && foreground != getpgrp() && ProcessTree.descendants().contains(foreground)
    var (set, old) = (sigset_t(), sigset_t())
    sigemptyset(&set)
    if isOwn { sigaddset(&set, SIGTTOU) }
    sigprocmask(SIG_BLOCK, &set, &old)
    _ = try? check("tcsetattr") { casher_terminal_settings(&state, real.rawValue, master.rawValue) }
    sigprocmask(SIG_SETMASK, &old, nil)
  }
}
