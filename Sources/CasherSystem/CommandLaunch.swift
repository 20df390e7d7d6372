import CLinux
import Glibc

/// How a command is started: what stands between fork(2) and execve(2). For a process with one thread.
public struct CommandLaunch: Sendable {
  /// The argument vector; the first is looked for as execvp(3) does, in the environment's PATH.
  public var arguments: [[UInt8]]
  /// `NAME=VALUE` each.
  public var environment: [[UInt8]]
  /// The working directory, absolute.
  public var directory: FilePath
  /// A directory that is bound over another in a mount namespace of the command's own.
  public var view: (source: FilePath, mount: FilePath)?
  public var root: Root?
  /// What become standard input, output and error; nil: closed.
  public var streams: [FileDescriptor?]
  public var tracer: Tracer?

  /// A detached mount that becomes the command's root, with the view bound in it.
  public struct Root: Sendable {
    public var mount: FileDescriptor
    /// What stays as it is: absolute paths without symlinks.
    public var kept: [FilePath]
    /// Whether the calls that no filesystem sees are to be told.
    public var isWatched: Bool

    public init(mount: FileDescriptor, kept: [FilePath], isWatched: Bool) {
      self.mount = mount
      self.kept = kept
      self.isWatched = isWatched
    }
  }

  /// A tracer that starts this program in place of the command; the constructor in Launch.c then becomes the command.
  public struct Tracer: Sendable {
    /// The tracer's argument vector, the first its path; the command follows.
    public var arguments: [[UInt8]]
    /// Inherited by the tracer: where its trace goes, and this program's own executable.
    public var trace: FileDescriptor
    public var program: FileDescriptor
    /// The tracer's standard error.
    public var complaints: FileDescriptor

    public init(
      arguments: [[UInt8]], trace: FileDescriptor, program: FileDescriptor, complaints: FileDescriptor
    ) {
      self.arguments = arguments
      self.trace = trace
      self.program = program
      self.complaints = complaints
    }
  }

  /// How a launch came out.
  public enum Outcome: Hashable, Sendable {
    case running
    /// The view could not be entered; the command has not run.
    case noView(Errno)
    /// The root could not be made the command's; the command has not run.
    case noRoot(Errno)
    /// The tracer could not be started, or ended without having started the command; the command has not run.
    case noTracer(Errno?)
    /// No such command, or none that may be executed.
    case notFound(Errno)
    case notExecutable(Errno)
  }

  /// A command's process that has not been let go yet.
  public struct Process: Sendable {
    public let id: Int32
    let reports: FileDescriptor
    let go: FileDescriptor
    let isTraced: Bool
    let isWatched: Bool
    let hasRoot: Bool
    let hasView: Bool
  }

  public init(arguments: [[UInt8]], environment: [[UInt8]], directory: FilePath, streams: [FileDescriptor?]) {
    self.arguments = arguments
    self.environment = environment
    self.directory = directory
    self.streams = streams
  }

  /// Forks a child that does everything up to the last step and waits there. `signals` must be held.
  public func start() throws(Errno) -> Process {
    let reports = try FileDescriptor.makePipe()
    let go: (reading: FileDescriptor, writing: FileDescriptor)
    do throws(Errno) { go = try FileDescriptor.makePipe() } catch {
      reports.reading.close()
      reports.writing.close()
      throw error
    }
    defer {
      reports.writing.close()
      go.reading.close()
    }
    let child = fork(report: reports.writing, go: go.reading)
    guard child > 0 else {
      let error = Errno.current
      reports.reading.close()
      go.writing.close()
      throw error
    }
    return Process(
      id: child, reports: reports.reading, go: go.writing, isTraced: tracer != nil,
      isWatched: root?.isWatched == true, hasRoot: root != nil, hasView: view != nil)
  }

  private func fork(report: FileDescriptor, go: FileDescriptor) -> pid_t {
    let vectors = [
      CStringVector(arguments), CStringVector(environment), CStringVector(tracer?.arguments ?? []),
      CStringVector(root?.kept.map(\.bytes) ?? []),
    ]
    defer { for vector in vectors { vector.free() } }
    return (view?.source ?? FilePath("")).withCString { source in
      (view?.mount ?? FilePath("")).withCString { mount in
        directory.withCString { directory in
          var plan = casher_launch()
          plan.arguments = UnsafePointer(vectors[0].pointer)
          plan.environment = UnsafePointer(vectors[1].pointer)
          plan.view = view == nil ? nil : source
          plan.mount = mount
          plan.directory = directory
          plan.root = root?.mount.rawValue ?? -1
          plan.watch = root?.isWatched == true ? 1 : 0
          plan.kept = UnsafePointer(vectors[3].pointer)
          let numbers = (0..<3).map { streams.indices.contains($0) ? streams[$0]?.rawValue ?? -1 : -1 }
          plan.streams = (numbers[0], numbers[1], numbers[2])
          plan.tracer = tracer == nil ? nil : UnsafePointer(vectors[2].pointer)
          plan.trace = tracer?.trace.rawValue ?? -1
          plan.program = tracer?.program.rawValue ?? -1
          plan.complaints = tracer?.complaints.rawValue ?? -1
          plan.report = report.rawValue
          plan.go = go.rawValue
          return casher_launch(&plan)
        }
      }
    }
  }

  /// Replaces this process with the command: neither streams nor view nor tracer count. Returns only the reason why it
  /// could not. The corresponding C function is `execvpe`.
  public static func replaceProcess(arguments: [[UInt8]], environment: [[UInt8]]) -> Errno {
    let vectors = (CStringVector(arguments), CStringVector(environment))
    defer {
      vectors.0.free()
      vectors.1.free()
    }
    return Errno(rawValue: casher_replace(vectors.0.pointer, vectors.1.pointer))
  }
}

extension CommandLaunch.Process {
  /// How a launch came out, and what is known of it.
  public struct Result: Sendable {
    public var outcome: CommandLaunch.Outcome
    /// Error numbers of the places where the command was looked for, in the order of the search; 0 for the one where it was
    /// found.
    public var candidates: [Int32] = []
    /// Of a command that is watched.
    public var watch: CallWatch?
  }

  /// Lets the child execute the command and waits until it has.
  public func letGo() -> Result {
    defer { reports.close() }
    var result = Result(outcome: .running)
    var handedOver = false
    var outcome: CommandLaunch.Outcome?
    func note(_ report: casher_launch_report) {
      let error = Errno(rawValue: report.value)
      switch Int(report.event) {
      case Int(CASHER_LAUNCH_CANDIDATE.rawValue): result.candidates.append(report.value)
      case Int(CASHER_LAUNCH_VIEW_FAILED.rawValue): outcome = .noView(error)
      case Int(CASHER_LAUNCH_ROOT_FAILED.rawValue): outcome = .noRoot(error)
      case Int(CASHER_LAUNCH_TRACER_FAILED.rawValue): outcome = .noTracer(error)
      case Int(CASHER_LAUNCH_HANDED_OVER.rawValue): handedOver = true
      case Int(CASHER_LAUNCH_WATCHED.rawValue): result.watch = CallWatch(of: id, descriptor: report.value)
      default: outcome = error == .noSuchFile || error == .notDirectory ? .notFound(error) : .notExecutable(error)
      }
    }
    // While the child waits, the notifications can be taken over.
    if isWatched, let report = nextReport() {
      note(report)
      if outcome == nil, result.watch == nil {
        outcome = .noRoot(Errno.current)
        _ = kill(id, SIGKILL)
      }
    }
    _ = try? go.writeAll([0])
    go.close()
    while let report = nextReport() { note(report) }
    result.outcome = withoutDaemon(outcome, result.candidates) ?? (isTraced && !handedOver ? .noTracer(nil) : .running)
    return result
  }

  /// A command that cannot be had in a view whose daemon has gone may well be there without it.
  private func withoutDaemon(_ outcome: CommandLaunch.Outcome?, _ candidates: [Int32]) -> CommandLaunch.Outcome? {
    switch outcome {
    case .notFound(let error), .notExecutable(let error):
      let errors = candidates + [error.rawValue]
      guard hasRoot || hasView, let lost = errors.first(where: { [ENOTCONN, ECONNABORTED].contains($0) }) else {
        return outcome
      }
      return hasRoot ? .noRoot(Errno(rawValue: lost)) : .noView(Errno(rawValue: lost))
    default: return outcome
    }
  }

  private func nextReport() -> casher_launch_report? {
    var report = casher_launch_report()
    var filled = 0
    let size = MemoryLayout<casher_launch_report>.size
    while filled < size {
      let count =
        (try? withUnsafeMutableBytes(of: &report) { buffer throws(Errno) in
          try reports.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]))
        }) ?? 0
      if count == 0 { return nil }
      filled += count
    }
    return report
  }
}

/// A null-terminated array of C strings, as execve(2) wants it; lives until it is freed.
private struct CStringVector {
  let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  private let count: Int

  init(_ strings: [[UInt8]]) {
    count = strings.count
    pointer = .allocate(capacity: strings.count + 1)
    for (index, string) in strings.enumerated() {
      let copy = UnsafeMutablePointer<CChar>.allocate(capacity: string.count + 1)
      for (offset, byte) in string.enumerated() { copy[offset] = CChar(bitPattern: byte) }
      copy[string.count] = 0
      pointer[index] = copy
    }
    pointer[strings.count] = nil
  }

  func free() {
    for index in 0..<count { pointer[index]?.deallocate() }
    pointer.deallocate()
  }
}
