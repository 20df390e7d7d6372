import CFuse
import CLinux
import CasherSystem
import Glibc

/// One line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
struct MountEntry {
  let directory: FilePath
  let type: FilePath
  let device: UInt64

  var isCasher: Bool { type == "fuse.casherfs" }

  /// What is mounted at exactly this path, the topmost when there are several; nil when nothing is.
  static func top(at path: FilePath) throws(Errno) -> MountEntry? {
    let file = try FileDescriptor.open("/proc/self/mountinfo", O_RDONLY)
    defer { file.close() }
    var result: MountEntry?
    for line in try file.readAll().split(separator: UInt8(ascii: "\n")) {
      let fields = line.split(separator: UInt8(ascii: " "))
      guard fields.count > 6, let dash = fields.firstIndex(where: { $0.elementsEqual([UInt8(ascii: "-")]) }),
        dash + 1 < fields.count, unescaped(fields[4]) == path
      else { continue }
      let numbers = fields[2].split(separator: UInt8(ascii: ":")).compactMap {
        UInt64(String(decoding: $0, as: UTF8.self))
      }
      guard numbers.count == 2 else { continue }
      result = MountEntry(
        directory: path, type: unescaped(fields[dash + 1]),
        device: casher_makedev(UInt32(truncatingIfNeeded: numbers[0]), UInt32(truncatingIfNeeded: numbers[1])))
    }
    return result
  }

  /// Space, tab, newline and backslash stand as three octal digits after a backslash.
  private static func unescaped(_ field: some Sequence<UInt8>) -> FilePath {
    var result: [UInt8] = []
    var bytes = Array(field)[...]
    while let byte = bytes.popFirst() {
      if byte == UInt8(ascii: "\\"), bytes.count >= 3 {
        let value = bytes.prefix(3).reduce(0) { $0 * 8 + Int($1) - 48 }
        result.append(UInt8(truncatingIfNeeded: value))
        bytes.removeFirst(3)
      } else {
        result.append(byte)
      }
    }
    return FilePath(result)
  }
}

enum DescriptorLimit {
  /// Raises the number of open files as far as this process may, and returns it (setrlimit(2)).
  static func raise() -> Int {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    // Root may go beyond the hard limit, up to what the kernel allows at all.
    let most = min(rlim_t(1 << 20), systemLimit)
    if geteuid() == 0, limit.rlim_max < most {
      var wanted = rlimit(rlim_cur: most, rlim_max: most)
      if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &wanted) == 0 { return Int(most) }
    }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    return Int(clamping: limit.rlim_cur)
  }

  private static var systemLimit: rlim_t {
    guard let file = try? FileDescriptor.open("/proc/sys/fs/nr_open", O_RDONLY) else { return 1 << 20 }
    defer { file.close() }
    let text = String(decoding: (try? file.readAll(limit: 32)) ?? [], as: UTF8.self)
    return rlim_t(text.prefix { $0.isNumber }) ?? 1 << 20
  }
}

enum FuseConfiguration {
  /// Whether an ordinary user may let others use a mount (/etc/fuse.conf, user_allow_other).
  static var allowsOthers: Bool {
    guard let file = try? FileDescriptor.open("/etc/fuse.conf", O_RDONLY) else { return false }
    defer { file.close() }
    let text = String(decoding: (try? file.readAll(limit: 1 << 16)) ?? [], as: UTF8.self)
    return text.split(separator: "\n").contains { $0.split(separator: " ").joined() == "user_allow_other" }
  }
}

enum FuseArguments {
  /// Calls `body` with the arguments as libfuse wants them, and frees them.
  static func with<Result>(_ words: [String], _ body: (UnsafeMutablePointer<fuse_args>) -> Result) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    let count = Int32(truncatingIfNeeded: words.count)
    return pointers.withUnsafeMutableBufferPointer { buffer in
      var arguments = fuse_args(argc: count, argv: buffer.baseAddress, allocated: 0)
      return body(&arguments)
    }
  }
}

/// A signal that does nothing but end a wait in a system call.
enum WakingSignal {
  static let number = SIGUSR2

  static func prepare() {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in }
    sigaction(number, &action, nil)
  }
}

enum Unmounting {
  /// As root by umount2(2), else by fusermount3. False when the mount is in use or the attempt failed.
  static func unmount(_ directory: FilePath, lazily: Bool) -> Bool {
    if geteuid() == 0 {
      return directory.withCString { umount2($0, lazily ? Int32(MNT_DETACH) : 0) } == 0
    }
    return run("fusermount3", lazily ? ["-u", "-z", "-q", "--"] : ["-u", "-q", "--"], directory)
  }

  private static func run(_ program: String, _ options: [String], _ directory: FilePath) -> Bool {
    var words: [UnsafeMutablePointer<CChar>?] = ([program] + options).map { strdup($0) }
    words.append(directory.withCString { strdup($0) })
    words.append(nil)
    defer { for word in words { free(word) } }
    var process: pid_t = 0
    guard posix_spawnp(&process, program, nil, nil, words, environ) == 0 else { return false }
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 { if errno != EINTR { return false } }
    return casher_exited(status) != 0 && casher_exit_status(status) == 0
  }
}
