import CasherDaemon
import CasherSystem

extension Command {
  static let freeze = Command(
    name: "freeze", operands: "DIR", operandCount: 1...1,
    summary: "make every file in a directory an ordinary one, without unmounting it",
    details: """
      Files that commands under acache left may be shown without being in the directory yet: their content is in the \
      cache alone. This writes all of them into DIR, and syncs as the mount's durability option says. Unmounting does \
      the same. It works too when the daemon of the mount was killed: then the dead mount is taken away and DIR is an \
      ordinary directory with all its files.
      What cannot be written or had is named, and kept in mind for the next time; the exit code is then 1.
      """,
    options: [
      Option("--forget-missing", "forget files whose content is no longer to be had, after naming them"),
      Option.cacheDirectory,
    ], run: freezeDirectory)
}

private func freezeDirectory(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let directory = try MountedDirectory.path(of: arguments.operands[0])
  let forgets = arguments.has("--forget-missing")
  if try MountedDirectory.all().contains(directory) {
    if let answer = try? askToFreeze(directory, forgets: forgets) {
      if let refusal = answer.refusal { throw Failure(.failure, "\(directory): \(refusal).") }
      return FreezeOutcome(answer).report(directory)
    }
    guard DeadMount.isAt(directory) else {
      throw Failure(.dead, "the daemon of \(directory) does not answer; 'casherfs status' says more.")
    }
    // Its mount goes too, and what it had placed is written from here.
    try DeadMount.detach(directory)
  }
  return try freezeUnmounted(directory, try StoreAccess(arguments, for: directory), forgets: forgets).report(directory)
}

private func askToFreeze(_ directory: FilePath, forgets: Bool) throws(Errno) -> DaemonAnswer {
  let socket = try DaemonConnection.socket(servingDirectory: directory)
  return try FreezeProgress(of: socket).during { () throws(Errno) in
    try DaemonConnection.ask(forgets ? "freeze-giving-up" : "freeze", at: socket)
  }
}

/// Writes what the killed daemon of a directory had placed.
func freezeUnmounted(
  _ directory: FilePath, _ store: StoreAccess, forgets: Bool = false
) throws(Failure) -> FreezeOutcome {
  let configuration = DaemonConfiguration(
    directory: directory, storeDirectory: store.directory, storeOptions: store.options)
  guard Daemon.hasJournal(configuration) else { return FreezeOutcome() }
  return try DeadMount.namingUnwritten(directory, store) { () throws(Failure) in
    do throws(DaemonError) {
      let report = try Daemon.freezeUnmounted(configuration, givingUp: forgets) { left, freeze in
        FreezeProgress {
          let left = left()
          return FreezeProgress.Left(files: Int64(left.files), bytes: left.bytes)
        }.during { freeze() }
      }
      return FreezeOutcome(report)
    } catch { throw MountServer.failure(error, directory) }
  }
}

/// What came of a freeze, for people.
struct FreezeOutcome {
  private var files = 0
  private var bytes: Int64 = 0
  private(set) var failures: [String] = []
  private var forgotten: [String] = []
  /// The number that it is on record under.
  private var record: Int64?
  private var unrecorded: String?

  init() {}

  init(_ report: FreezeReport) {
    files = report.files
    bytes = report.bytes
    (record, unrecorded) = (report.record, report.unrecorded)
    failures = (report.failures + report.lost).map { "\($0.path): \($0.reason)" }
    forgotten = report.forgotten.map { "\($0.path): \($0.reason)" }
  }

  /// From a daemon's lines.
  init(_ answer: DaemonAnswer) {
    for (key, value) in answer.pairs {
      switch key {
      case "files": files = Int(value) ?? 0
      case "bytes": bytes = Int64(value) ?? 0
      case "record": record = Int64(value)
      case "unrecorded": unrecorded = value
      case "failed": failures.append(value)
      case "forgotten": forgotten.append(value)
      default: break
      }
    }
  }

  /// Prints it, and gives the exit code.
  func report(_ directory: FilePath) -> ExitCode {
    if files > 0 || (failures.isEmpty && forgotten.isEmpty) {
      Console.print(
        files == 0
          ? "\(directory): every file is an ordinary one"
          : "\(directory): \(files) file\(files == 1 ? "" : "s") written, \(Quantity.size(bytes))"
            + (record.map { "; freeze \($0)" } ?? ""))
    }
    if let unrecorded { Console.complain("the freeze could not be put on record: \(unrecorded)") }
    complain()
    return failures.isEmpty ? .success : .failure
  }

  /// Names what is not an ordinary file.
  func complain() {
    for failure in failures { Console.complain(failure) }
    for file in forgotten { Console.complain("\(file); forgotten") }
  }
}
