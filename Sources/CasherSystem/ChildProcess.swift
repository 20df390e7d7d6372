import CLinux
@preconcurrency import Glibc

/// A process that this one has started and must wait for.
public struct ChildProcess: Sendable {
  public let id: Int32

  /// What a new process gets besides its arguments.
  public struct Setup: Sendable {
    /// Descriptors of this process and the numbers that they get in the new one. Every other one is closed there.
    public var descriptors: [(from: FileDescriptor, to: Int32)] = [
      (.standardInput, 0), (.standardOutput, 1), (.standardError, 2),
    ]
    /// Leads a session of its own, without a terminal (setsid(2)).
    public var newSession = false

    public init() {}
  }

  /// Starts `program`, a path, with `arguments` (the first is its name) in this process's environment and directory.
  /// Signals are handled in their default ways and none is blocked. The corresponding C function is `posix_spawn`.
  public static func spawn(_ program: FilePath, _ arguments: [FilePath], _ setup: Setup = Setup()) throws(Errno)
    -> ChildProcess
  {
    var actions = posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    let highest = setup.descriptors.map(\.to).max() ?? -1
    // Taken from above all numbers that are given, so that none is overwritten before it was taken.
    var sources: [Int32] = []
    defer { for source in sources { _ = close(source) } }
    for (from, _) in setup.descriptors {
      sources.append(try check("fcntl") { casher_fcntl(from.rawValue, F_DUPFD_CLOEXEC, Int(highest + 1)) })
    }
    for (source, (_, to)) in zip(sources, setup.descriptors) {
      posix_spawn_file_actions_adddup2(&actions, source, to)
    }
    casher_spawn_close_from(&actions, highest + 1)
    var flags = Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)
    if setup.newSession { flags |= casher_spawn_new_session() }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setflags(&attributes, flags)

    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { argument in
      argument.withCString { strdup($0) }
    }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    var process: pid_t = 0
    let result = program.withCString { posix_spawn(&process, $0, &actions, &attributes, pointers, environ) }
    guard result == 0 else { throw Errno(rawValue: result) }
    return ChildProcess(id: process)
  }

  /// Makes this process run `program`, a path, in place of what it runs now; returns only when that fails, and why.
  /// The corresponding C function is `execv`.
  public static func replaceThis(_ program: FilePath, _ arguments: [FilePath]) -> Errno {
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { argument in argument.withCString { strdup($0) } }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    _ = program.withCString { execv($0, pointers) }
    return Errno.current
  }

  /// Waits for the end of the process. Returns its exit status, or 128 and the signal's number.
  /// The corresponding C function is `waitpid`.
  public func wait() throws(Errno) -> Int32 {
    var status: Int32 = 0
    try check("waitpid") { waitpid(id, &status, 0) }
    return casher_exited(status) != 0 ? casher_exit_status(status) : 128 + casher_term_signal(status)
  }
}

extension FileDescriptor {
  /// A pipe's two ends. The corresponding C function is `pipe2` with O_CLOEXEC.
  public static func makePipe() throws(Errno) -> (reading: FileDescriptor, writing: FileDescriptor) {
    var numbers: [Int32] = [-1, -1]
    try check("pipe2") { casher_pipe2(&numbers, O_CLOEXEC) }
    return (FileDescriptor(rawValue: numbers[0]), FileDescriptor(rawValue: numbers[1]))
  }

  /// Makes `number` another name of this descriptor. The corresponding C function is `dup2`.
  public func duplicate(onto number: FileDescriptor) throws(Errno) {
    try check("dup2") { dup2(rawValue, number.rawValue) }
  }
}
