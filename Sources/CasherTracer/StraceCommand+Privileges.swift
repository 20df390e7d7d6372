import CasherSystem

extension StraceCommand {
  /// Whether a program can be run under strace only with fewer privileges than by itself: the kernel gives a traced
  /// process, and one with a seccomp filter, none by executing (ptrace(2), seccomp(2)).
  public static func wouldTakePrivileges(from program: FilePath) -> Bool {
    ExecutableReader.changesPrivileges(program)
  }
}
