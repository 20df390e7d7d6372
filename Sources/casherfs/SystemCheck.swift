import CasherSystem
import CasherTracer
import Glibc

/// Checks of the machine: what mounting and observing take.
enum SystemCheck {
  /// Makes casherfs try to separate its mounts and exit with the error number; not for people.
  static let privateArgument = "__separate"

  static func device() -> [Finding] {
    do throws(Errno) {
      try FileDescriptor.open("/dev/fuse", O_RDWR).close()
      return [Finding("fuse", .ok, "/dev/fuse can be opened")]
    } catch {
      let remedy =
        error == .accessDenied || error == .notPermitted
        ? "as root: chmod 666 /dev/fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"
        : "as root: modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"
      return [Finding("fuse", .problem, "/dev/fuse cannot be opened (\(error))", remedy)]
    }
  }

  static func helper() -> Finding {
    let remedy = "apt install fuse3, or your system's package of that name"
    guard let helper = Programs.find("fusermount3") else {
      return geteuid() == 0
        ? Finding("fusermount3", .ok, "not installed; root mounts without it")
        : Finding("fusermount3", .problem, "not installed, and only root mounts without it", remedy)
    }
    let target = (try? helper.resolved()) ?? helper
    guard let status = try? FileDescriptor.workingDirectory.status(of: target) else {
      return Finding("fusermount3", .problem, "\(helper) cannot be looked at", remedy)
    }
    if geteuid() != 0, status.permissions & 0o4000 == 0 || status.owner != 0 {
      return Finding("fusermount3", .problem, "\(helper) is not set-uid root", "as root: chmod u+s \(target)")
    }
    return Finding("fusermount3", .ok, "\(helper)")
  }

  static func namespaces() -> Finding {
    let what = geteuid() == 0 ? "mount namespaces" : "user namespaces"
    let status = run("/proc/self/exe", ["casherfs", FilePath(privateArgument)]).status
    if status == 0 { return Finding("namespaces", .ok, "every run gets a view of its own, by \(what)") }
    let remedy =
      geteuid() == 0
      ? "in a container: --cap-add SYS_ADMIN"
      : "as root: sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0"
    return Finding(
      "namespaces", .warning,
      "no \(what) (\(Errno(rawValue: status))): runs are told apart by their processes, which is slower", remedy)
  }

  /// `casherfs __separate`: the error number of the attempt.
  static func separate() -> Int32 {
    do throws(Errno) {
      try Namespaces.separateMounts()
      return 0
    } catch { return error.rawValue }
  }

  static func tracer() -> [Finding] {
    let remedy = "apt install strace; until then acache --outside=trust takes what is outside for unchanging"
    guard let strace = Programs.find("strace") else {
      return [Finding("strace", .problem, "not installed: what commands use outside the mount is not seen", remedy)]
    }
    var result = [Finding("strace", .ok, "\(strace)")]
    let trial = run(strace, ["strace", "-f", "--seccomp-bpf", "-e", "trace=execve", "-o", "/dev/null", "/bin/true"])
    if let obstacle = StraceCommand.obstacle() {
      result.append(
        Finding(
          "ptrace", .problem, obstacle,
          "as root: sysctl kernel.yama.ptrace_scope=1; in a container: --cap-add SYS_PTRACE"))
    } else if trial.status != 0 {
      let line = trial.output.split(separator: "\n").first.map(String.init) ?? "status \(trial.status)"
      result.append(
        Finding(
          "ptrace", .problem, "strace does not work here: \(line)",
          "strace must know --seccomp-bpf (5.3 or newer); in a container: --cap-add SYS_PTRACE"))
    } else {
      result.append(Finding("ptrace", .ok, "commands may be traced"))
    }
    return result
  }

  /// Mounts a temporary directory, asks the daemon about passthrough, and unmounts it.
  static func trialMount(_ access: StoreAccess) -> [Finding] {
    let base = (Environment.nonEmptyValue("TMPDIR") ?? "/tmp").appending("casher-doctor-\(getpid())")
    let (work, cache) = (base.appending("work"), base.appending("cache"))
    do throws(Errno) {
      try FileDescriptor.workingDirectory.makeDirectory(base, mode: 0o700)
      try FileDescriptor.workingDirectory.makeDirectory(work, mode: 0o700)
    } catch {
      return [Finding("mount", .problem, "\(base) cannot be made (\(error))", "set TMPDIR to a directory of yours")]
    }
    defer { remove(base) }
    // The state directory is the trial's own too; nothing after it needs the user's.
    _ = base.appending("state").withCString { setenv("XDG_STATE_HOME", $0, 1) }
    let mounted = run("/proc/self/exe", ["casherfs", "mount", "--cache-dir", cache, "--", work])
    guard mounted.status == 0 else {
      let line = mounted.output.split(separator: "\n").first.map(String.init) ?? "status \(mounted.status)"
      return [Finding("mount", .problem, "a directory cannot be mounted: \(line.trimmed)", "mend that first")]
    }
    var answer: DaemonAnswer?
    if let socket = try? DaemonConnection.socket(servingDirectory: work) {
      answer = try? DaemonConnection.ask("status", at: socket)
    }
    _ = run("/proc/self/exe", ["casherfs", "unmount", "--", work])
    func value(_ key: String) -> String { answer?.pairs.first { $0.key == key }?.value ?? "" }
    let mount =
      value("passthrough") == "true"
      ? Finding("mount", .ok, "works, with passthrough: \(value("passthrough_reason"))")
      : Finding(
        "mount", .warning,
        "works, but files are read and written through the daemon, which is slower: \(value("passthrough_reason"))",
        "passthrough takes Linux 6.9 or newer, and root or 'scripts/install --with-capability'")
    return [mount, Finding("outside", .ok, "what commands use outside the mount is seen \(value("outside"))")]
  }

  /// Runs a program to its end; its output and messages are kept. Status 127 when it cannot be started.
  private static func run(_ program: FilePath, _ words: [FilePath]) -> (status: Int32, output: String) {
    do throws(Errno) {
      let null = try FileDescriptor.open("/dev/null", FileDescriptor.readOnly)
      defer { null.close() }
      let pipe = try FileDescriptor.makePipe()
      defer { pipe.reading.close() }
      var setup = ChildProcess.Setup()
      setup.descriptors = [(null, 0), (pipe.writing, 1), (pipe.writing, 2)]
      let child: ChildProcess
      do throws(Errno) { child = try ChildProcess.spawn(program, words, setup) } catch {
        pipe.writing.close()
        throw error
      }
      pipe.writing.close()
      let text = try pipe.reading.readAll(limit: 1 << 16)
      return (try child.wait(), String(decoding: text, as: UTF8.self))
    } catch { return (127, "\(program): \(error)") }
  }

  /// Removes a directory with all in it; what cannot be removed stays.
  private static func remove(_ directory: FilePath) {
    for entry in (try? FileDescriptor.workingDirectory.entries(of: directory)) ?? [] {
      let path = directory.appending(entry.name)
      if entry.type == .directory { remove(path) } else { try? FileDescriptor.workingDirectory.remove(path) }
    }
    try? FileDescriptor.workingDirectory.remove(directory, directory: true)
  }
}

extension String {
  /// Without the program's name before and the full stop behind.
  fileprivate var trimmed: String {
    let text = hasPrefix("casherfs: ") ? String(dropFirst(10)) : self
    return text.hasSuffix(".") ? String(text.dropLast()) : text
  }
}
