import CLinux
import Glibc

/// What the running process may use.
public enum ProcessLimits {
  /// Raises the limit of open descriptors as far as this process may, and returns it (setrlimit(2), RLIMIT_NOFILE).
  public static func raiseDescriptorLimit() -> Int { Int(clamping: casher_raise_descriptor_limit()) }
}

/// The running process's memory.
public enum ProcessMemory {
  /// Gives the system back what the allocator holds and nobody uses; takes a tenth of a second for some 100 MB.
  /// The corresponding C function is `malloc_trim`.
  public static func giveBack() { casher_trim_memory() }
}

extension Credentials {
  /// The supplementary groups of a thread, as /proc/<tid>/status has them; nil when it has ended.
  public static func groups(ofThread thread: Int32) -> [UInt32]? {
    guard let file = try? FileDescriptor.open(FilePath("/proc/\(thread)/status"), O_RDONLY) else { return nil }
    defer { file.close() }
    guard let text = try? file.readAll(limit: 1 << 20) else { return nil }
    for line in text.split(separator: UInt8(ascii: "\n")) where line.starts(with: "Groups:".utf8) {
      let words = line.dropFirst(7).split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
      return words.compactMap { UInt32(String(decoding: $0, as: UTF8.self)) }
    }
    return nil
  }
}

/// A thread of this process, to be woken from a wait.
public struct ThreadReference: @unchecked Sendable {  // pthread_t is a number that says nothing of threads to Swift
  private let thread: pthread_t

  /// The calling thread. The corresponding C function is `pthread_self`.
  public static var current: ThreadReference { ThreadReference(thread: pthread_self()) }

  /// Makes the signal do nothing but interrupt system calls, from now on in the whole process (sigaction(2)), and
  /// lets it through in the calling thread.
  public static func makeInterruptible(by signal: Int32) {
    _ = casher_ignore_with_handler(signal)
    var set = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, signal)
    pthread_sigmask(SIG_UNBLOCK, &set, nil)
  }

  /// Sends the signal to the thread, which must not have ended. The corresponding C function is `pthread_kill`.
  public func interrupt(with signal: Int32) { pthread_kill(thread, signal) }
}

extension Credentials {
  /// Calls `body` with the thread acting on files as this user and this group alone, with the thread's supplementary
  /// groups left as they are. To be called by a process that is root.
  ///
  /// The corresponding system calls are `setfsgid` and `setfsuid` (setfsuid(2)); they change the calling thread alone.
  public static func actingOnFilesAs<Result, Failure: Error>(
    user: UInt32, group: UInt32, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    _ = casher_thread_setfsgid(group)
    _ = casher_thread_setfsuid(user)
    defer {
      _ = casher_thread_setfsuid(geteuid())
      _ = casher_thread_setfsgid(getegid())
    }
    return try body()
  }
}

/// Other programs.
public enum ProgramCall {
  /// Runs a program, found by PATH, and waits: its exit status, nil when it could not be run or a signal ended it.
  /// The corresponding C function is `posix_spawnp`.
  public static func run(_ words: [FilePath]) -> Int32? {
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { word in word.withCString { strdup($0) } }
    defer { for argument in arguments { free(argument) } }
    arguments.append(nil)
    let status = casher_run(arguments)
    return status < 0 ? nil : status
  }
}
