import CasherDaemon
import CasherOverlay
import CasherStore
import CasherSystem
import Glibc

/// The process that serves a mount, from its side. Nothing else of casherfs knows the daemon's interface.
enum MountServer {
  /// Makes casherfs serve a mount and report through `reportDescriptor`; not for people.
  static let privateArgument = "__serve"
  static let reportDescriptor = FileDescriptor(rawValue: 3)

  /// The background process: serves the mount that `arguments` describe, and returns its exit status.
  static func run(_ arguments: [FilePath]) -> Int32 {
    do throws(Failure) {
      let parsed = try Arguments(arguments, for: daemonCommand)
      Privilege.adopt(parsed)
      guard let directory = parsed.operands.first else { throw Failure(.usage, "DIR is missing.") }
      let store = try StoreAccess(parsed, for: directory)
      let configuration = try MountConfiguration(parsed, directory: directory, store)
      if configuration.foreground { return try serveInForeground(configuration, store).rawValue }
      // No directory but the mounted one is kept in use, and the terminal only until the mount works.
      try? FilePath("/").makeCurrentDirectory()
      let report = try serve(configuration, store) { log, recovery in
        // Who has started it waits until it says something or ends, and whoever reads what that one prints, until nobody
        // can print there any more.
        do throws(Errno) {
          try sendOutput(to: log)
          try reportDescriptor.writeAll(MountReport.ready(MountReport.lines(recovery)).encoded)
        } catch { Signals.end() }
        reportDescriptor.close()
      }
      return (report.isComplete ? ExitCode.success : .failure).rawValue
    } catch {
      if arguments.contains("--foreground") {
        Console.complain(error.message)
      } else {
        try? reportDescriptor.writeAll(MountReport.failed(error).encoded)
      }
      return error.code.rawValue
    }
  }

  /// What this process prints goes to the log, or nowhere when that cannot be opened.
  private static func sendOutput(to log: FilePath) throws(Errno) {
    let file: FileDescriptor
    do throws(Errno) { file = try FileDescriptor.open(log, O_WRONLY | O_CREAT | O_APPEND, mode: 0o600) } catch {
      file = try FileDescriptor.open("/dev/null", O_WRONLY)
    }
    defer { file.close() }
    try file.duplicate(onto: .standardOutput)
    try file.duplicate(onto: .standardError)
  }

  /// `casherfs mount` with what is told to the daemon alone.
  private static var daemonCommand: Command {
    let mount = Command.mount
    return Command(
      name: mount.name, operands: mount.operands, operandCount: mount.operandCount, summary: mount.summary,
      details: mount.details, options: mount.options + Privilege.daemonOptions, run: mount.run)
  }

  /// `casherfs mount -f` where the capability is left to another program: this process becomes that.
  static func becomeForegroundServer(_ configuration: MountConfiguration, _ store: StoreAccess) throws(Failure) -> Never
  {
    let words = ["casherfs", FilePath(privateArgument)] + configuration.arguments(store: store.directory)
    throw Failure(
      .failure, "the daemon of the mount cannot be started: \(ChildProcess.replaceThis("/proc/self/exe", words)).")
  }

  /// `casherfs mount -f`: serves the mount until it ends.
  static func serveInForeground(_ configuration: MountConfiguration, _ store: StoreAccess) throws(Failure) -> ExitCode {
    let report = try serve(configuration, store) { _, recovery in
      for line in MountReport.lines(recovery) { Console.complain(line) }
    }
    let outcome = FreezeOutcome(report)
    outcome.complain()
    return outcome.failures.isEmpty ? .success : .failure
  }

  /// Serves the mount until it ends. `ready` is called when it works, with the mount's log and what was recovered.
  private static func serve(
    _ configuration: MountConfiguration, _ store: StoreAccess, ready: (FilePath, Recovery) -> Void
  ) throws(Failure) -> FreezeReport {
    var daemon = DaemonConfiguration(
      directory: configuration.directory, storeDirectory: store.directory, storeOptions: store.options)
    daemon.timeout = Double(configuration.options.timeout) / 1e9
    daemon.passthrough = configuration.options.passthrough
    daemon.keepsAwake = configuration.options.keepsAwake
    daemon.threads = configuration.options.threads
    daemon.trace = configuration.debug
    daemon.durability = configuration.options.durability
    daemon.isTransient = configuration.options.isTransient
    daemon.logLimit = try store.logLimit()
    let id = configuration.freeze == nil ? daemon.mountID : daemon.frozenID
    let log = DaemonLog.path(in: store.mountDirectory(id))
    let elsewhere = Daemon.leftInOtherStores(daemon)
    let isReady = { (recovery: Recovery) in
      var recovery = recovery
      recovery.lost += elsewhere
      ready(log, recovery)
    }
    do throws(DaemonError) {
      guard let freeze = configuration.freeze else { return try Daemon.run(daemon, ready: isReady) }
      try Daemon.showFreeze(freeze, daemon, ready: isReady)
      return FreezeReport()
    } catch { throw failure(error, configuration.directory) }
  }

  private static func code(_ code: OverlayError.Code) -> ExitCode {
    switch code {
    case .missing: .missing
    case .notDirectory: .notDirectory
    case .unreadable: .unreadable
    case .alreadyMounted: .alreadyMounted
    case .busy: .busy
    case .noDevice, .noHelper, .notPermitted: .noFuse
    case .disconnected, .failed: .failure
    }
  }

  static func failure(_ error: DaemonError, _ directory: FilePath) -> Failure {
    switch error {
    case .store(let error): StoreAccess.failure(error)
    case .storeInsideMount(let store):
      Failure(
        .storeUnusable,
        "the cache directory \(store) lies in \(directory), which would observe itself; set CASHER_CACHE_DIR elsewhere."
      )
    case .socket(let path, let error):
      Failure(.storeUnusable, "the daemon's socket \(path) cannot be made: \(error).")
    case .stillServed(let directory):
      Failure(
        .busy,
        "the daemon of an earlier mount of \(directory) is still writing its files or kept by who uses it; try again.")
    case .frozen(let reason): Failure(.failure, "\(reason).")
    case .overlay(let error): Failure(code(error.code), "\(error).")
    }
  }
}
