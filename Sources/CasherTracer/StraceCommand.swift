import CLinux
import CasherSystem
import Glibc

/// How strace(1) is started, so that `TraceParser` understands what it writes.
public struct StraceCommand: Sendable {
  /// The tracer's own executable, absolute.
  public var tracer: FilePath

  public init(tracer: FilePath) { self.tracer = tracer }

  /// The argument vector that runs `command` under strace, which writes its trace to the file `output`.
  ///
  /// The command's first element should have a slash in it: a bare name strace looks up in PATH itself, unobserved.
  ///
  /// For a pipe, `output` is `/proc/self/fd/N` with N inherited by strace. The command inherits N as well; when N is an
  /// O_PATH descriptor of the pipe's writing end, it is of no use to anyone and does not hold the pipe open. The caller
  /// keeps its own writing end until the first byte has come, or strace has ended.
  public func arguments(output: FilePath, command: [[UInt8]]) -> [[UInt8]] {
    var result = [tracer.bytes]
    result += Self.options.map { Array($0.utf8) }
    result += [Array("-o".utf8), output.bytes, Array("--".utf8)]
    return result + command
  }

  private static let options = [
    // Follow children, print descriptors' paths, stop only at the calls asked for, say nothing on stderr.
    // Without --decode-pids=pidns, which costs 0.4 ms for each new process: a command that makes a pid namespace is
    // one whose processes cannot be told apart, which the parser reports.
    "-f", "-y", "--seccomp-bpf", "-q",
    // Data and the lengths of arrays, not paths: utimensat has two times.
    "-s", "2",
    // Deaths by a signal are printed for these alone; the four left out end no process.
    "-e", "signal=!SIGCHLD,SIGURG,SIGWINCH,SIGCONT",
    "-e", "verbose=" + TracedCall.decoded,
    // `?`: not every machine and version of strace has every call.
    "-e", "trace=" + TracedCall.names.map { "?" + "\($0.0)" }.joined(separator: ","),
  ]

  /// The first strace in the directories of `path` (the value of PATH); nil when there is none.
  public static func find(path: FilePath) -> StraceCommand? {
    for directory in path.bytes.split(separator: UInt8(ascii: ":")) where directory.first == UInt8(ascii: "/") {
      let candidate = FilePath(directory).appending("strace")
      if candidate.withCString({ access($0, X_OK) }) == 0 { return StraceCommand(tracer: candidate) }
    }
    return nil
  }

  /// Why this process may not have a command traced, as the end of a sentence; nil when it may, as far as can be told
  /// without starting anything (ptrace(2), /proc/sys/kernel/yama/ptrace_scope in the kernel's documentation).
  public static func obstacle() -> String? {
    if isTraced { return "this process is being traced already" }
    // To ask about process 0, which nobody has, is refused by a seccomp filter only.
    let probe = casher_ptrace_probe()
    if probe != ESRCH && probe != 0 { return "ptrace is not permitted: \(Errno(rawValue: probe))" }
    switch scope {
    case 3: return "ptrace is not permitted: kernel.yama.ptrace_scope is 3"
    case 2 where geteuid() != 0: return "ptrace is not permitted: kernel.yama.ptrace_scope is 2"
    default: return nil
    }
  }

  /// Whether this process is being traced (proc(5), TracerPid in /proc/self/status).
  public static var isTraced: Bool {
    guard let status = contents("/proc/self/status") else { return false }
    return status.withUnsafeBufferPointer { text in
      guard let label = text.offset(of: "\nTracerPid:\t") else { return false }
      return label + 12 < text.count && text[label + 12] != UInt8(ascii: "0")
    }
  }

  private static var scope: Int {
    guard let digit = contents("/proc/sys/kernel/yama/ptrace_scope")?.first, digit >= UInt8(ascii: "0") else {
      return 0
    }
    return Int(digit) - Int(UInt8(ascii: "0"))
  }

  private static func contents(_ path: FilePath) -> [UInt8]? {
    do throws(Errno) {
      let file = try FileDescriptor.open(path, O_RDONLY)
      defer { file.close() }
      return try file.readAll(limit: 65536)
    } catch { return nil }
  }
}
