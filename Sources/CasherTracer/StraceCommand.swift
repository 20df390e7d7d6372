import CasherSystem

/// How strace(1) is started, so that `TraceParser` understands what it writes.
public struct StraceCommand: Sendable {
  /// The tracer's own executable, absolute.
  public var tracer: FilePath

  public init(tracer: FilePath) { self.tracer = tracer }

  /// The argument vector that runs `command` (its first element: the program, with a slash in it, else strace looks it
  /// up itself, unobserved) under strace, which writes its trace to the file `output`.
  public func arguments(output: FilePath, command: [[UInt8]]) -> [[UInt8]] { [] }

  /// The first strace of the directories of `path` (the value of PATH); nil when there is none.
  public static func find(path: FilePath) -> StraceCommand? { nil }

  /// Why this process may not trace a command, as the end of a sentence; nil when it may. Starts nothing.
  public static func obstacle() -> String? { nil }
}
