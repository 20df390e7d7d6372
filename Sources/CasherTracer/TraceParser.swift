import CasherRecord
import CasherSystem

/// Reads a trace of strace as it comes and tells what each process did with paths outside the mount.
///
/// Not for several threads at once.
public final class TraceParser {
  /// What is known before the first line.
  public struct Configuration: Sendable {
    /// The traced command's first working directory, absolute.
    public var directory: FilePath
    /// Where the mount is. What is below it is left out, unless a symlink there leads elsewhere.
    public var mount: FilePath?
    /// Further directories of which nothing is told: /proc, /sys, /dev.
    public var ignored: [FilePath]
    /// Unix sockets that a command may connect to without becoming uncacheable: the daemon's own.
    public var trustedSockets: [FilePath]

    public init(
      directory: FilePath, mount: FilePath? = nil, ignored: [FilePath] = [], trustedSockets: [FilePath] = []
    ) {
      self.directory = directory
      self.mount = mount
      self.ignored = ignored
      self.trustedSockets = trustedSockets
    }
  }

  public init(_ configuration: Configuration) {}

  /// Takes the next bytes of the trace, cut anywhere.
  public func consume(_ bytes: UnsafeRawBufferPointer) {}

  /// To be called at the end of the trace.
  public func finish() {}

  /// The command's own process id; nil before its first line.
  public var mainProcess: Int32? { nil }

  /// The command's own status as wait(2) gives it, as soon as its end is in the trace.
  public var mainExit: Int32? { nil }

  /// Whether the end of the process is in the trace.
  public func hasExited(_ process: Int32) -> Bool { false }

  /// Processes and threads that the trace has begun and not ended.
  public var liveProcesses: Int { 0 }

  /// As `liveProcesses`, of `process` and its descendants.
  public func liveProcesses(ofSubtree process: Int32) -> Int { 0 }

  /// What `process` and its descendants did, one for each path; of the whole trace when nil.
  public func accesses(ofSubtree process: Int32? = nil) -> [OutsideAccess] { [] }

  /// What forbids storing what `process` and its descendants did, each once; of the whole trace when nil.
  public func obstacles(ofSubtree process: Int32? = nil) -> [Uncacheable] { [] }
}
