import CLinux
import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem
import Glibc
import Synchronization

/// What the daemon of one mount is told.
public struct DaemonConfiguration: Sendable {
  /// The directory to mount over itself, absolute and without symlinks.
  public var directory: FilePath
  public var storeDirectory: FilePath
  public var storeOptions: StoreOptions
  /// Seconds that the main view's names and attributes are cached.
  public var timeout: Double
  public var passthrough: Bool
  /// Whether idle processors are kept awake while many requests come.
  public var keepsAwake = true
  public var threads: Int?
  /// A line for each request, to stderr.
  public var trace: Bool
  public var durability = Durability.normal
  /// The mount ends when none of those who have asked for it uses it any more.
  public var isTransient: Bool
  /// Bytes that the mount's log grows to before it is begun anew.
  public var logLimit: Int64
  /// Where the second copy of what is placed is kept; nil: nowhere.
  public var stateDirectory = DaemonConfiguration.standardStateDirectory

  public init(directory: FilePath, storeDirectory: FilePath, storeOptions: StoreOptions) {
    self.directory = directory
    self.storeDirectory = storeDirectory
    self.storeOptions = storeOptions
    timeout = 1
    passthrough = true
    threads = nil
    trace = false
    isTransient = false
    logLimit = DaemonLog.standardLimit
  }

  /// The name of the mount's directory in the store: of 16 hexadecimal digits, the same for the same directory.
  public var mountID: String { DaemonConfiguration.mountID(of: directory) }

  public static func mountID(of directory: FilePath) -> String {
    String(SHA256.digest(of: directory.bytes).hexadecimal.prefix(16))
  }

  /// `$XDG_STATE_HOME/casher`, else `~/.local/state/casher`.
  private static var standardStateDirectory: FilePath? {
    if let state = Environment.nonEmptyValue("XDG_STATE_HOME"), state.isAbsolute { return state.appending("casher") }
    guard let home = Environment.nonEmptyValue("HOME"), home.isAbsolute else { return nil }
    return home.appending(".local/state/casher")
  }

  /// A file outside of the store that belongs to this directory in this store, and not to another that was at the same
  /// path before. None where it would lie in the directory itself: it would be seen there.
  func stateFile(_ name: String) -> FilePath? {
    guard let stateDirectory, !stateDirectory.isWithin(directory),
      let status = try? FileDescriptor.workingDirectory.status(of: directory)
    else { return nil }
    return stateDirectory.appending("\(name)-\(statePrefix)\(String(status.key.inode, radix: 16))")
  }

  private var statePrefix: String {
    "\(mountID)-\(SHA256.digest(of: storeDirectory.bytes).hexadecimal.prefix(8))-"
  }

  /// Removes what belonged to a directory that was at the same path before.
  func removeStaleState() {
    guard let stateDirectory, let entries = try? FileDescriptor.workingDirectory.entries(of: stateDirectory) else {
      return
    }
    let present = ["placed", "socket"].compactMap { stateFile($0)?.lastComponent }
    for entry in entries where entry.name.bytes.contains(bytes: Array(statePrefix.utf8)) {
      if !present.contains(entry.name) {
        try? FileDescriptor.workingDirectory.remove(stateDirectory.appending(entry.name))
      }
    }
  }

  /// Copies of this directory's journals in other stores.
  var journalCopiesOfOtherStores: [JournalCopy] {
    guard let stateDirectory, let own = stateFile("placed")?.lastComponent,
      let inode = own.bytes.split(separator: 45).last,
      let entries = try? FileDescriptor.workingDirectory.entries(of: stateDirectory)
    else { return [] }
    let (start, end) = (Array("placed-\(mountID)-".utf8), Array("-".utf8) + inode)
    return entries.map(\.name).filter {
      $0 != own && $0.bytes.starts(with: start) && $0.bytes.suffix(end.count).elementsEqual(end)
    }.map { JournalCopy(at: stateDirectory.appending($0)) }
  }

  /// The copy of this directory's journal in this store.
  var journalCopy: JournalCopy? { stateFile("placed").map { JournalCopy(at: $0) } }
}

/// Why a mount could not be made or served.
public enum DaemonError: Error {
  case overlay(OverlayError)
  case store(StoreError)
  /// The store's directory lies in the directory to mount: it would observe itself.
  case storeInsideMount(FilePath)
  case socket(FilePath, Errno)
  /// The daemon of an earlier mount of the directory is still there, and may still be writing.
  case stillServed(FilePath)
  /// A freeze cannot be shown; why, as a sentence without its full stop.
  case frozen(String)
}

/// Serves one mount: its filesystem and its calls, until it is unmounted or told to stop.
public enum Daemon {
  /// Mounts, calls `ready` once the mount works, serves, and returns when the mount has ended.
  ///
  /// To be called on the main thread before any other was started: SIGTERM, SIGINT and SIGHUP end the mount from then
  /// on, in whichever thread they arrive.
  public static func run(
    _ configuration: DaemonConfiguration, ready: (Recovery) -> Void
  ) throws(DaemonError) -> FreezeReport {
    if configuration.storeDirectory.isWithin(configuration.directory) {
      throw .storeInsideMount(configuration.storeDirectory)
    }
    let connections = ConnectionGuard.start()
    defer { connections.end() }
    Faults.armFromEnvironment()
    Signals.blockForWaiting([SIGTERM, SIGINT, SIGHUP])
    Signals.ignore(SIGPIPE)
    let state = try MountState(configuration)
    defer { state.close() }
    let (store, mountDirectory, log) = (state.store, state.directory, state.log)
    let socketPath = mountDirectory.appending("socket")
    let socket = DaemonSocket(at: socketPath, fallback: configuration.stateFile("socket"))
    let runs = RunTable { directory in
      MountAnswer(
        socket: socket.path, mount: configuration.directory, directory: directory.path, view: directory.view.token
      ).encoded
    }
    let overlay = try state.makeOverlay(recorder: runs)
    let recovery = state.recover(overlay)
    do throws(OverlayError) { try overlay.mount() } catch { throw .overlay(error) }
    if let device = overlay.device { connections.add(device: device) }
    let tree = Tree(root: overlay.rootDescriptor, placements: overlay.placements)
    let digester = state.makeDigester(overlay)
    let freezing = state.freezing(overlay, digester)
    let services = Services(
      overlay: overlay, store: store, socket: socket, blobs: state.blobs, runs: runs, made: state.runs,
      freezing: freezing,
      flights: SingleFlight(), digester: digester,
      pathSets: PathSetCache(), known: KnownRuns(), tree: tree, configuration: configuration,
      salt: Salt.load(from: store.directory),
      mountDevice: overlay.device, log: log, leases: Leases(isTransient: configuration.isTransient),
      callConfiguration: CallConfiguration(workDirectory: configuration.directory, tree: tree),
      rootView: RootView(configuration, runs: runs, connections) { overlay.usesPassthrough })
    do throws(Errno) {
      try socket.open { listener throws(Errno) in
        let server = Server(services: services, listener: listener)
        try SystemThread.start { server.serve() }
      }
      try state.blobs.startTidying(overlay)
      let watch = try MountTableWatch()
      let watcher = MountWatcher(
        overlay: overlay, rootView: services.rootView, directory: configuration.directory)
      try SystemThread.start { watcher.run(watch) }
      try SystemThread.start {
        Signals.wait(for: [SIGTERM, SIGINT, SIGHUP])
        overlay.stop()
      }
    } catch {
      overlay.unmount()
      throw .socket(socketPath, error)
    }
    if configuration.isTransient {
      try? SystemThread.start {
        if services.leases.waitForFirst() { _ = ControlHandler(services: services).endMount() }
      }
    }
    log.write("mounted", [("directory", "\(configuration.directory)"), ("cache", "\(store.directory)")])
    ready(recovery)
    overlay.serve()
    if let device = overlay.device { connections.remove(device: device) }
    for run in runs.inFlight { run.captures?.waitUntilOver() }
    services.rootView.stop()
    log.write("unmounted")
    socket.remove()
    state.blobs.close()
    overlay.endPlacing()
    let report = freezing.run(.unmount)
    state.settle(overlay)
    return report
  }
}

/// The store's secret that makes digests of environment variables say nothing to who does not have it.
private enum Salt {
  static func load(from directory: FilePath) -> [UInt8] {
    let path = directory.appending("salt")
    if let bytes = read(path) { return bytes }
    let bytes = Randomness.bytes(32)
    do throws(Errno) {
      let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
      defer { file.close() }
      try file.writeAll(bytes)
      return bytes
    } catch {
      return read(path) ?? bytes
    }
  }

  private static func read(_ path: FilePath) -> [UInt8]? {
    guard let file = try? FileDescriptor.open(path, O_RDONLY) else { return nil }
    defer { file.close() }
    guard let bytes = try? file.readAll(limit: 64), bytes.count == 32 else { return nil }
    return bytes
  }
}
