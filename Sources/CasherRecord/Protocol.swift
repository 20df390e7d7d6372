import CasherSystem

/// The conversation between acache and the daemon, over a Unix stream socket.
///
/// Each message is a little-endian UInt32 length, then that many bytes: a kind byte and a body. File descriptors travel
/// with the first byte of the message that names them. The protocol's version is the first thing a caller says; a daemon
/// of another version answers `plain` with a sentence.
///
///     acache                              daemon
///     call ───────────────────────────▶
///     ◀──────────────────────── wantInput      (a pipe on stdin, zero or more times)
///     input ──────────────────────────▶
///     ◀─────────────────────────────── hit     (with the transcript's descriptor when it is not inline)  end
///     ◀─────────────────────────────── plain   (run it without caching, say why)                         end
///     ◀─────────────────────────────── run     (run it in a view, with a spool for its streams)
///     withoutView ────────────────────▶        (no namespace to be had: know the command by its processes)
///     ◀──────────────────────── proceed
///     started ────────────────────────▶        (the command's process id)
///     ◀───────────────────── traceWanted       (a nested call's accesses are in this call's trace)
///     traced ─────────────────────────▶
///     finished ───────────────────────▶
///     ◀─────────────────────────── phase       (with -v, zero or more times)
///     ◀──────────────────────── recorded                                                                 end
public enum ProtocolVersion {
  public static let current: UInt32 = 5
  /// Longest message that either side accepts, in bytes.
  public static let messageLimit = 1 << 30
  /// Name of the extended attribute that every directory of a mount answers with a `MountAnswer`. In the security
  /// namespace, because reading it there asks for no permission on the directory (xattr(7)).
  public static let attribute = "security.casher"
}

/// What a directory in a mount says of the mount it is in (the value of `ProtocolVersion.attribute`).
public struct MountAnswer: Hashable, Sendable {
  public var socket: FilePath
  /// Where the mount was made, as the daemon's mount namespace names it.
  public var mount: FilePath
  /// The directory asked, relative to the mount's root.
  public var directory: FilePath
  /// The view that the directory was asked in; empty for the main view.
  public var view: FilePath

  public init(socket: FilePath, mount: FilePath, directory: FilePath, view: FilePath) {
    self.socket = socket
    self.mount = mount
    self.directory = directory
    self.view = view
  }
}

/// What the caller's standard input is.
public enum StandardInput: Hashable, Sendable {
  /// A terminal, /dev/null or closed: nothing to depend on.
  case none
  /// A regular file; its descriptor comes with the message, its content counts from this offset on.
  case file(offset: Int64)
  /// A pipe or socket, whose consumption is observed.
  case pipe
}

/// The command line's options of one call.
public struct CallOptions: Hashable, Sendable {
  public var force = false
  public var noStore = false
  public var explain = false
  public var strict = false
  public var verbose = false
  public var cacheFailures = false
  public var allowNetwork = false
  public var relocatable = false
  public var check = false
  public var observeTimes = false
  /// Look up and explain only; run nothing.
  public var dryRun = false
  public var synchronous = false
  /// Run and record, but never answer this or any call from the record.
  public var noCache = false
  /// Run nothing: `.answer` says that there is no result.
  public var readOnly = false
  /// Nanoseconds for which the result is good; what is older is not used either.
  public var timeToLive: Int64?
  public var restore: Restore = .always
  /// Files, and directories with all in them, that count as read. As in `Observation`: relative to the mount's root
  /// inside, absolute outside.
  public var inputs: [FilePath] = []
  /// An extended regular expression: of the directories in `inputs` only files with a name that it is found in count.
  public var inputPattern: [UInt8]?
  /// Nothing below these, nor they themselves, is an input. Paths as those in `inputs`.
  public var outputRoots: [FilePath] = []
  /// Numbers of arguments that are left out of the key, the command being number 0.
  public var ignoredArguments: [UInt32] = []
  public var outsideWrites: OutsideWrites = .capture
  public var outside: OutsidePolicy = .automatic
  /// Variables added to, dropped from, or alone kept in the key.
  public var environmentAdded: [FilePath] = []
  public var environmentIgnored: [FilePath] = []
  public var environmentOnly: [FilePath]?
  /// Shell patterns of paths that are neither inputs nor outputs; `*` stands for slashes too.
  public var ignored: [FilePath] = []
  /// Further text in the weak key: salt, declared variables, each already in one unambiguous piece.
  public var extras: [[UInt8]] = []
  public var tags: [[UInt8]] = []
  /// Nanoseconds after which the command is ended.
  public var timeLimit: Int64?
  /// How many times more the command is run while it fails.
  public var retries: UInt32 = 0
  /// Names of the options, without dashes, that the command line or the environment has decided: configuration files do
  /// not change them.
  public var given: [FilePath] = []

  /// Which files a hit puts back.
  public enum Restore: UInt8, Sendable, Hashable {
    case always = 0
    /// Those that are not there.
    case ifMissing
    case never
  }
  /// The exit status of a call that was to run nothing and found no result (EX_TEMPFAIL of sysexits.h).
  public static let nothingRecordedStatus: UInt8 = 75

  public enum OutsideWrites: UInt8, Sendable, Hashable { case capture = 0, refuse, ignore }
  public enum OutsidePolicy: UInt8, Sendable, Hashable { case automatic = 0, view, strace, trust }

  public init() {}

  /// Whether a path, relative to the mount's root or absolute outside, is no input whatever the command did with it.
  public func isOutputOnly(_ path: FilePath) -> Bool { outputRoots.contains { path.isWithin($0) } }

  /// Whether a path, relative to the mount's root or absolute outside, is neither input nor output.
  public func ignores(_ path: FilePath) -> Bool { ignored.contains { path.matches($0) } }
}

public struct CallRequest: Hashable, Sendable {
  public var version: UInt32 = ProtocolVersion.current
  public var arguments: [[UInt8]]
  /// Relative to the mount's root.
  public var directory: FilePath
  /// Where acache sees the mount's root.
  public var mount: FilePath
  /// The view that acache itself is in; empty for the main view. This is how a nested call knows its parent.
  public var parentView: FilePath
  /// `NAME=VALUE` each.
  public var environment: [[UInt8]]
  public var umask: UInt32
  public var input: StandardInput
  /// Whether acache is itself being traced, so that it cannot start a tracer of its own.
  public var isTraced: Bool
  public var options: CallOptions

  public init(
    arguments: [[UInt8]], directory: FilePath, mount: FilePath, parentView: FilePath, environment: [[UInt8]],
    umask: UInt32, input: StandardInput, isTraced: Bool, options: CallOptions
  ) {
    self.arguments = arguments
    self.directory = directory
    self.mount = mount
    self.parentView = parentView
    self.environment = environment
    self.umask = umask
    self.input = input
    self.isTraced = isTraced
    self.options = options
  }
}

/// A hit. The transcript is inline when it is small, else its descriptor comes with the message.
public struct HitReply: Hashable, Sendable {
  public var run: Digest
  public var exitStatus: UInt8
  public var segments: [StreamSegment]
  public var inlineTranscript: [UInt8]?
  /// Bytes to take from the pipe on standard input, as the command would have taken them.
  public var consume: UInt64
  /// Nanoseconds that the recorded run took.
  public var duration: Int64

  public init(
    run: Digest, exitStatus: UInt8, segments: [StreamSegment], inlineTranscript: [UInt8]?, consume: UInt64,
    duration: Int64
  ) {
    self.run = run
    self.exitStatus = exitStatus
    self.segments = segments
    self.inlineTranscript = inlineTranscript
    self.consume = consume
    self.duration = duration
  }
}

/// A miss: run the command. A descriptor for the transcript's spool (read and write) comes with the message, and with
/// `hasRoot` another one.
public struct RunReply: Hashable, Sendable {
  /// Path below the mount's root of the view to bind over the mount; empty: run in the main view, and tell the process.
  public var view: FilePath
  public var run: Digest
  public var outside: CallOptions.OutsidePolicy
  /// Whether the descriptor of a view of the whole root comes after the spool's: the command's root, where it can be.
  public var hasRoot = false
  /// Whether the calls that no filesystem sees are this caller's to watch; else they are told to the call around it.
  public var isWatcher = false
  /// What the command is to see of the machine as it is, also in a view of the root; absolute paths without symlinks.
  public var keptPaths: [FilePath] = []
  /// Why there is no view of the root though one was asked for, as the end of a sentence.
  public var rootObstacle = ""
  /// Accesses below these absolute paths need not be reported: the mount and what never counts.
  public var outsideIgnored: [FilePath]
  /// Lines for `--explain` or `-v`, for stderr before the command starts.
  public var messages: [String]
  /// The variables that the command gets; nil for all.
  public var environmentOnly: [FilePath]?
  /// Nanoseconds after which the command is to be ended.
  public var timeLimit: Int64?
  /// How many times more the command is to be run while it fails.
  public var retries: UInt32 = 0
  /// Why it is a miss, one sentence without a full stop.
  public var reason = ""
  /// The call was made within another run, whose tracer sees this command too.
  public var isWithinRun = false

  public init(
    view: FilePath, run: Digest, outside: CallOptions.OutsidePolicy, outsideIgnored: [FilePath], messages: [String]
  ) {
    self.view = view
    self.run = run
    self.outside = outside
    self.outsideIgnored = outsideIgnored
    self.messages = messages
  }
}

/// How a command that was run came out.
public struct FinishReport: Hashable, Sendable {
  /// As wait(2) gives it for the command itself.
  public var waitStatus: Int32
  public var segments: [StreamSegment]
  /// Nanoseconds.
  public var duration: Int64
  public var accesses: [OutsideAccess]
  /// What the launcher or the tracer found that forbids storing; empty when nothing.
  public var obstacles: [Uncacheable]
  /// Processes of the command are still there.
  public var leftProcesses: Bool
  /// Whether the command had the view of the root that it was offered: then `accesses` is empty.
  public var hadRoot = false
  /// Files outside the mount, empty before, that the command got as its output streams, and found itself in its view of the
  /// root: or it would not have known them again (cat(1) copies no file to itself).
  public var outputFiles: [FilePath] = []
  /// Bytes taken from a pipe on stdin (their content has been sent in `input` messages before this one).
  public var consumed: UInt64
  public var reachedInputEnd: Bool

  public init(
    waitStatus: Int32, segments: [StreamSegment], duration: Int64, accesses: [OutsideAccess], obstacles: [Uncacheable],
    leftProcesses: Bool, consumed: UInt64, reachedInputEnd: Bool
  ) {
    self.waitStatus = waitStatus
    self.segments = segments
    self.duration = duration
    self.accesses = accesses
    self.obstacles = obstacles
    self.leftProcesses = leftProcesses
    self.consumed = consumed
    self.reachedInputEnd = reachedInputEnd
  }
}

/// What acache says.
public enum CallerMessage: Hashable, Sendable {
  case call(CallRequest)
  /// Bytes from the pipe on stdin, in order; `isEnd` when nothing follows.
  case input([UInt8], isEnd: Bool)
  case started(process: Int32)
  /// The command cannot have a view of its own, for this reason: its requests have to be told by their processes, which
  /// descend from acache. It starts after `.proceed`.
  case withoutView(reason: String)
  case traced(process: Int32, accesses: [OutsideAccess], obstacles: [Uncacheable])
  case finished(FinishReport)
  /// From casherfs: a request about the mount, answered by `.answer`.
  case control(String)
}

/// What the daemon says.
public enum DaemonMessage: Hashable, Sendable {
  case hit(HitReply)
  case run(RunReply)
  /// Run it without caching and say why; with `--require-cache` that is a failure.
  case plain(String)
  /// Send the first `count` bytes of the pipe on stdin without taking them, as far as that is possible. One `input`
  /// answers, with those that were not sent before; with fewer when the pipe ends (`isEnd`) or its writer pauses.
  case wantInput(count: UInt64)
  case traceWanted(process: Int32)
  /// Nil: stored. `lines` are for stderr with `-v`.
  case recorded(uncacheable: Uncacheable?, lines: [String])
  /// For `--explain` in a dry run, `--check` and control requests: lines to print and an exit status.
  case answer(lines: [String], status: UInt8)
  /// The command may start in the main view.
  case proceed
  /// What begins now, for `-v`: a word.
  case phase(String)
}
