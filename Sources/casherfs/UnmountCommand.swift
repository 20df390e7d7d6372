import CasherDaemon
import CasherSystem
import Glibc

extension Command {
  static let unmount = Command(
    name: "unmount", operands: "DIR", operandCount: 1...1,
    summary: "end a mount; its files stay, as ordinary files",
    details: """
      Ends the mount of DIR and waits until the daemon is gone. Every file that was seen in the mount is then an \
      ordinary file of the directory. While a process still uses the mount, nothing is done and the exit code is 6.
      What cannot be written is named; then the mount stays, nothing is lost, and the exit code is 1.
      A mount whose daemon was killed is taken away too, and what was only in the cache is written.
      """,
    options: [
      Option(
        "--lazy", short: "-z", "take the mount away now even when processes still use it; they keep what they have open"
      ), Option.cacheDirectory,
    ],
    run: unmountDirectory)
}

private func unmountDirectory(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let directory = try MountedDirectory.find(arguments.operands[0])
  if arguments.has("--lazy") {
    try detachMount(directory, lazily: true)
    return .success
  }
  var unwritten: FreezeOutcome?
  var outcome = FreezeOutcome()
  var isComplete = true
  do throws(Errno) {
    let socket = try DaemonConnection.socket(servingDirectory: directory)
    let watched = try DaemonConnection.watch(socket)
    defer { watched.close() }
    let answer = try FreezeProgress(of: socket).during { () throws(Errno) in
      try DaemonConnection.ask("unmount", at: socket)
    }
    guard answer.refusal == nil else { throw .notPermitted }
    if answer.lines.first == "frozen" {
      unwritten = FreezeOutcome(answer)
    } else {
      guard answer.status == 0 else { throw Errno(rawValue: EBUSY) }
    }
    if unwritten == nil {
      outcome = FreezeOutcome(answer)
      DaemonConnection.waitForEnd(watched)
      // What came to be placed between the freeze and the unmount is written by the daemon as it ends.
      let journal = Daemon.journal(beside: socket)
      isComplete = (try FileDescriptor.workingDirectory.statusIfPresent(of: journal)).map { $0.size == 0 } ?? true
    }
  } catch {
    if error == .notPermitted || error == .accessDenied {
      throw Failure(.failure, "\(directory) was mounted by another user; only that user and root can unmount it.")
    }
    if error == Errno(rawValue: EBUSY) { throw busy(directory) }
    // Its filesystem may be gone before the daemon has answered, and the daemon with it.
    if try !MountedDirectory.all().contains(directory) { return .success }
    // The daemon does not answer any more: the kernel alone is left to be told.
    try detachMount(directory, lazily: DeadMount.isAt(directory))
    let access = try StoreAccess(arguments, for: directory)
    Daemon.tidyFrozen(
      DaemonConfiguration(directory: directory, storeDirectory: access.directory, storeOptions: access.options))
    let outcome = try freezeUnmounted(directory, access)
    outcome.complain()
    return outcome.failures.isEmpty ? .success : .failure
  }
  if let unwritten {
    unwritten.complain()
    throw Failure(
      .failure,
      "\(directory) stays mounted, because these files are only in the cache: make room, or mend what else is wrong.")
  }
  outcome.complain()
  if !isComplete, outcome.failures.isEmpty {
    throw Failure(
      .failure,
      "\(directory) is unmounted, and some files are only in the cache; 'casherfs freeze \(directory)' names them.")
  }
  return isComplete && outcome.failures.isEmpty ? .success : .failure
}

private func busy(_ directory: FilePath) -> Failure {
  Failure(
    .busy,
    "\(directory) is still in use: leave it and close its files, or see who uses it with 'fuser -vm \(directory)'.")
}

/// Takes the mount out of the kernel's table without the daemon's help: umount2(2) as root, else fusermount3(1).
func detachMount(_ directory: FilePath, lazily: Bool) throws(Failure) {
  if geteuid() == 0 {
    let flags = lazily ? Int32(MNT_DETACH) : 0
    if directory.withCString({ umount2($0, flags) }) == 0 { return }
    let error = Errno.current
    if error == Errno(rawValue: EBUSY) { throw busy(directory) }
    throw Failure(.failure, "\(directory) cannot be unmounted: \(error).")
  }
  guard let program = Programs.find("fusermount3") else {
    throw Failure(.noFuse, "fusermount3 is not installed, and only root can unmount without it.")
  }
  do throws(Errno) {
    let child = try ChildProcess.spawn(program, ["fusermount3", lazily ? "-uqz" : "-uq", "--", directory])
    if try child.wait() != 0 { throw Errno(rawValue: EBUSY) }
  } catch {
    if error == Errno(rawValue: EBUSY) { throw busy(directory) }
    throw Failure(.failure, "fusermount3 cannot be run: \(error).")
  }
}
