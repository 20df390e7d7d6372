import CasherDaemon
import CasherSystem
import Glibc

/// Prints the log of a mount's daemon: `casherfs log --daemon`.
struct DaemonLogReader {
  private let directory: FilePath

  /// How long it takes at most until a new line is shown, nanoseconds.
  private static let pause = 200_000_000

  /// `given`: the mounted directory, else the mount that the current directory is in, else the only one there is.
  init(_ given: FilePath?, _ arguments: Arguments) throws(Failure) {
    let work = try DaemonLogReader.workDirectory(given)
    // A daemon that is there knows its cache best.
    if let socket = try? DaemonConnection.socket(servingDirectory: work) {
      directory = socket.parent
    } else {
      let access = try StoreAccess(arguments, for: work)
      directory = access.mountDirectory(DaemonConfiguration.mountID(of: work))
    }
    guard (try? FileDescriptor.workingDirectory.status(of: DaemonLog.path(in: directory))) != nil else {
      throw Failure(.notMounted, "there is no log of \(work): it was never mounted with this cache.")
    }
  }

  private static func workDirectory(_ given: FilePath?) throws(Failure) -> FilePath {
    if let given {
      do throws(Errno) { return try given.resolved() } catch { throw MountFailure.unusable(given, error) }
    }
    let mounts = try MountedDirectory.all()
    let here = (try? FilePath.currentDirectory()) ?? "/"
    if let holder = mounts.filter({ here.isWithin($0) }).max(by: { $0.bytes.count < $1.bytes.count }) { return holder }
    if let only = mounts.first, mounts.count == 1 { return only }
    throw Failure(
      .notMounted,
      mounts.isEmpty
        ? "nothing is mounted; 'casherfs log --daemon DIR' prints the log of a directory that was."
        : "several directories are mounted; say which: casherfs log --daemon DIR")
  }

  /// Prints the last `limit` lines, all when it is nil. `follow`: and what is added, until nobody reads it any more.
  func run(limit: Int?, follow: Bool) {
    var lines: [ArraySlice<UInt8>] = []
    for number in stride(from: DaemonLog.kept, through: 1, by: -1) {
      lines += DaemonLogReader.lines(DaemonLogReader.content(DaemonLog.path(in: directory, earlier: number)))
    }
    let path = DaemonLog.path(in: directory)
    var file = try? FileDescriptor.open(path, O_RDONLY)
    lines += DaemonLogReader.lines(file.flatMap { try? $0.readAll() } ?? [])
    for line in limit.map({ lines.suffix($0) }) ?? lines[...] {
      guard DaemonLogReader.print(Array(line) + [0x0a]) else { return }
    }
    guard follow else { return }
    while true {
      // What was written before the log was begun anew is still in the file that is open.
      guard DaemonLogReader.print(file.flatMap { try? $0.readAll() } ?? []) else { return }
      let present = try? FileDescriptor.workingDirectory.statusIfPresent(of: path)
      if let present, present.key != (try? file?.status())?.key {
        guard DaemonLogReader.print(file.flatMap { try? $0.readAll() } ?? []) else { return }
        file?.close()
        file = try? FileDescriptor.open(path, O_RDONLY)
        continue
      }
      var time = timespec(tv_sec: 0, tv_nsec: DaemonLogReader.pause)
      nanosleep(&time, nil)
    }
  }

  /// False when nobody reads it any more.
  private static func print(_ bytes: [UInt8]) -> Bool {
    if bytes.isEmpty { return true }
    return (try? FileDescriptor.standardOutput.writeAll(bytes)) != nil
  }

  private static func content(_ path: FilePath) -> [UInt8] {
    guard let file = try? FileDescriptor.open(path, O_RDONLY) else { return [] }
    defer { file.close() }
    return (try? file.readAll()) ?? []
  }

  private static func lines(_ text: [UInt8]) -> [ArraySlice<UInt8>] { text.split(separator: 0x0a) }
}
