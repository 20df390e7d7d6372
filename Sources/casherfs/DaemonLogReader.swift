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
    var file = oldest()
    var text = DaemonLogReader.rest(of: file)
    while let next = next(after: file) {
      // What was written to it until the next one was begun.
      text += DaemonLogReader.rest(of: file) + DaemonLogReader.rest(of: next)
      file?.close()
      file = next
    }
    let lines = text.split(separator: 0x0a)
    for line in limit.map({ lines.suffix($0) }) ?? lines[...] {
      guard DaemonLogReader.print(Array(line) + [0x0a]) else { return }
    }
    guard follow else { return }
    while true {
      guard DaemonLogReader.print(DaemonLogReader.rest(of: file)) else { return }
      if let next = next(after: file) {
        guard DaemonLogReader.print(DaemonLogReader.rest(of: file)) else { return }
        file?.close()
        file = next
        continue
      }
      var time = timespec(tv_sec: 0, tv_nsec: DaemonLogReader.pause)
      nanosleep(&time, nil)
    }
  }

  // MARK: the logs, of which any may be begun anew meanwhile

  private func oldest() -> FileDescriptor? {
    for number in stride(from: DaemonLog.kept, through: 0, by: -1) {
      if let file = open(number) { return file }
    }
    return nil
  }

  /// The log that was begun after this one, which stays open so that no other gets its number; nil when it is the present
  /// one. The present one when this is none of them any more.
  private func next(after file: FileDescriptor?) -> FileDescriptor? {
    guard let file, let key = try? file.status().key else { return open(0) }
    while true {
      guard let number = (0...DaemonLog.kept).first(where: { self.key($0) == key }) else { return open(0) }
      if number == 0 { return nil }
      guard let next = open(number - 1) else { return nil }
      if self.key(number) == key { return next }
      next.close()
    }
  }

  private func open(_ number: Int) -> FileDescriptor? {
    try? FileDescriptor.open(DaemonLog.path(in: directory, earlier: number), O_RDONLY)
  }

  private func key(_ number: Int) -> InodeKey? {
    (try? FileDescriptor.workingDirectory.statusIfPresent(of: DaemonLog.path(in: directory, earlier: number)))??.key
  }

  private static func rest(of file: FileDescriptor?) -> [UInt8] { file.flatMap { try? $0.readAll() } ?? [] }

  /// False when nobody reads it any more.
  private static func print(_ bytes: [UInt8]) -> Bool {
    if bytes.isEmpty { return true }
    return (try? FileDescriptor.standardOutput.writeAll(bytes)) != nil
  }
}
