import CasherStore
import CasherSystem
import Glibc

extension Command {
  static let mount = Command(
    name: "mount", operands: "DIR", operandCount: 1...2, summary: "mount a directory over itself and observe it",
    details: """
      Mounts DIR over itself. Everything in it works as before; commands run in it under 'acache --' are remembered, \
      and replayed when nothing they depend on has changed. A daemon in the background serves the mount until \
      'casherfs unmount DIR'; the files that are there then are ordinary files.
      With --frozen it shows the results of one freeze at DIR instead ('casherfs freezes' lists them), read-only, in \
      front of whatever DIR holds. Their contents come from the cache, which keeps them while they are shown; those that \
      are no longer there are named. Nothing is remembered in such a mount, and commands run there as without acache.
      With two operands, as mount(8) gives them, both must name the same directory.
      """,
    options: [
      Option("--foreground", short: "-f", "stay in the foreground until the mount ends"),
      Option("--debug", short: "-d", "print every request to stderr; implies -f"),
      Option("--frozen", value: "ID", "show this freeze at DIR, read-only, instead of DIR itself"),
      Option("--options", short: "-o", value: "NAME=VALUE,...", "mount options: \(MountOptions.help)"),
      Option.cacheDirectory,
    ],
    run: mountDirectory)
}

private func mountDirectory(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let directory = try target(arguments)
  let store = try StoreAccess(arguments, for: directory)
  let configuration = try MountConfiguration(arguments, directory: directory, store)
  if let freeze = configuration.freeze { try checkFreeze(freeze, store) }
  for warning in store.configuration.warnings { Console.complain("\(warning).") }
  try checkFuse()
  let standsInside = ((try? FilePath.currentDirectory())?.isWithin(directory)) ?? false
  if configuration.foreground, Privilege.isLeftToOthers {
    try MountServer.becomeForegroundServer(configuration, store)
  }
  let ended = try DeadMount.namingUnwritten(directory, store) { () throws(Failure) -> ExitCode? in
    if configuration.foreground { return try MountServer.serveInForeground(configuration, store) }
    try startServer(configuration, store)
    return nil
  }
  if let ended { return ended }
  if standsInside {
    Console.complain(
      "this shell still stands in the directory beneath the mount; 'cd .' takes it into the mount.")
  }
  return .success
}

/// The directory to mount, absolute and without symlinks, after everything was checked that can be checked beforehand.
private func target(_ arguments: Arguments) throws(Failure) -> FilePath {
  var resolved: [FilePath] = []
  for given in arguments.operands {
    // What the killed daemon of an earlier mount had placed is placed again by the new one.
    if let path = try? MountedDirectory.path(of: given), DeadMount.isAt(path) { try DeadMount.detach(path) }
    do throws(Errno) {
      resolved.append(try given.resolved())
      try FileDescriptor.open(given, O_RDONLY | O_DIRECTORY).close()
    } catch { throw MountFailure.unusable(given, error) }
  }
  guard let directory = resolved.first else { throw Failure(.usage, "DIR is missing.") }
  if resolved.contains(where: { $0 != directory }) {
    throw Failure(.usage, "a directory can only be mounted over itself: give one directory, or the same one twice.")
  }
  let top: MountEntry?
  do throws(Errno) { top = try MountTable.top(at: directory) } catch {
    throw Failure(.failure, "the mount table cannot be read (\(error)): is /proc mounted?")
  }
  if top?.type == MountEntry.casherType {
    throw Failure(
      .alreadyMounted, "\(directory) is already mounted; 'casherfs status' shows it, 'casherfs unmount' ends it.")
  }
  return directory
}

/// Whether there is such a freeze, and anything of it to be shown.
private func checkFreeze(_ id: Int64, _ access: StoreAccess) throws(Failure) {
  guard let store = try access.open() else {
    throw Failure(.noSuchFreeze, "there is no cache in \(access.directory) yet, and so no freeze \(id).")
  }
  defer { store.close() }
  let record = try Freezes.record(of: try Freezes.find("\(id)", in: store))
  let isThere = try StoreAccess.reading { () throws(StoreError) in
    for result in record.results {
      guard case .file(let digest, _) = result.content else { return true }
      if try store.hasBlob(digest) { return true }
    }
    return record.results.isEmpty
  }
  if !isThere {
    throw Failure(.failure, "nothing of freeze \(id) can be shown: all of its contents were evicted from the cache.")
  }
}

/// Sentences for what can be wrong with a directory that is to be mounted.
enum MountFailure {
  static func unusable(_ directory: FilePath, _ error: Errno) -> Failure {
    switch error {
    case .noSuchFile:
      Failure(.missing, "\(directory) is not there; make it first: mkdir -p \(directory)")
    case .notDirectory:
      Failure(.notDirectory, "\(directory) is not a directory; only a directory can be mounted.")
    case .accessDenied, .notPermitted:
      Failure(.unreadable, "\(directory) cannot be read; mount a directory that you may read and enter.")
    case Errno(rawValue: ENOTCONN):
      Failure(
        .dead,
        "\(directory) is a mount whose daemon is gone; 'casherfs mount \(directory)' goes on with it, "
          + "'casherfs unmount \(directory)' ends it.")
    default:
      Failure(.failure, "\(directory) cannot be mounted: \(error).")
    }
  }
}

/// Whether this user can mount with FUSE at all.
private func checkFuse() throws(Failure) {
  do throws(Errno) { try FileDescriptor.open("/dev/fuse", O_RDWR).close() } catch {
    let remedy =
      switch error {
      case .accessDenied, .notPermitted: "as root, 'chmod 666 /dev/fuse' lets every user mount"
      default: "as root, 'modprobe fuse' loads the kernel's part of it"
      }
    throw Failure(.noFuse, "/dev/fuse cannot be opened (\(error)): \(remedy).")
  }
  if geteuid() != 0, Programs.find("fusermount3") == nil {
    throw Failure(
      .noFuse, "fusermount3 is not installed; the package fuse3 has it, and only root can mount without it.")
  }
}

/// Starts the process that serves the mount and waits until the mount works or has failed.
private func startServer(_ configuration: MountConfiguration, _ store: StoreAccess) throws(Failure) {
  let report: [UInt8]
  let child: ChildProcess
  do throws(Errno) { (report, child) = try spawnServer(configuration, store) } catch {
    throw Failure(.failure, "the daemon of the mount cannot be started: \(error).")
  }
  if let outcome = MountReport(encoded: report) {
    switch outcome {
    case .failed(let failure): throw failure
    case .ready(let lines): for line in lines { Console.complain(line) }
    }
    return
  }
  let status = (try? child.wait()) ?? -1
  throw Failure(
    .failure,
    "the daemon of the mount ended (status \(status)) before the mount worked; 'casherfs mount -d' shows more.")
}

private func spawnServer(_ configuration: MountConfiguration, _ store: StoreAccess) throws(Errno) -> (
  [UInt8], ChildProcess
) {
  let null = try FileDescriptor.open("/dev/null", O_RDONLY)
  defer { null.close() }
  let pipe = try FileDescriptor.makePipe()
  defer { pipe.reading.close() }
  var setup = ChildProcess.Setup()
  setup.descriptors = [
    (pipe.writing, MountServer.reportDescriptor.rawValue), (null, 0), (.standardOutput, 1), (.standardError, 2),
  ]
  setup.newSession = true
  let child: ChildProcess
  do throws(Errno) {
    child = try ChildProcess.spawn(
      "/proc/self/exe",
      ["casherfs", FilePath(MountServer.privateArgument)] + configuration.arguments(store: store.directory), setup)
  } catch {
    pipe.writing.close()
    throw error
  }
  pipe.writing.close()
  return (try pipe.reading.readAll(limit: 1 << 26), child)
}
