import CasherDaemon
import CasherSystem
import Glibc

/// The process that serves a mount, from its side.
enum MountServer {
  /// Makes casherfs serve a mount and report through `reportDescriptor`; not for people.
  static let privateArgument = "__serve"
  static let reportDescriptor = FileDescriptor(rawValue: 3)

  /// The background process: serves the mount that `arguments` describe, and returns its exit status.
  static func run(_ arguments: [FilePath]) -> Int32 {
    do throws(Failure) {
      let parsed = try Arguments(arguments, for: .mount)
      guard let directory = parsed.operands.first else { throw Failure(.usage, "DIR is missing.") }
      let configuration = try MountConfiguration(parsed, directory: directory)
      // The terminal is given up, and no directory but the mounted one is kept in use.
      try? FilePath("/").makeCurrentDirectory()
      return serve(configuration) { report in
        try? reportDescriptor.writeAll(report.encoded)
        reportDescriptor.close()
      }
    } catch {
      try? reportDescriptor.writeAll(MountReport.failed(error).encoded)
      return error.code.rawValue
    }
  }

  /// `casherfs mount -f`: serves the mount until it ends.
  static func serveInForeground(_ configuration: MountConfiguration) throws(Failure) -> ExitCode {
    var failure: Failure?
    let status = serve(configuration) { report in
      if case .failed(let reported) = report { failure = reported }
    }
    if let failure { throw failure }
    return status == 0 ? .success : .failure
  }

  /// Serves the mount until it ends; `report` is called once, when it works or has failed.
  private static func serve(_ configuration: MountConfiguration, report: (MountReport) -> Void) -> Int32 {
    report(.failed(Failure(.failure, "the daemon is not there yet.")))
    return 1
  }
}
