import CasherSystem

/// A length of one output stream; the segments in order say how stdout and stderr were interleaved.
public struct StreamSegment: Hashable, Sendable {
  /// 1 for stdout, 2 for stderr.
  public var stream: UInt8
  /// Bytes.
  public var length: UInt64

  public init(stream: UInt8, length: UInt64) {
    self.stream = stream
    self.length = length
  }
}

/// What a run wrote to stdout and stderr: one blob of all bytes in the order in which they came, and whose each is.
public struct Transcript: Hashable, Sendable {
  /// Nil when nothing was written.
  public var blob: Digest?
  public var segments: [StreamSegment]

  public init(blob: Digest?, segments: [StreamSegment]) {
    self.blob = blob
    self.segments = segments
  }
}

/// One path that a run left in another state than it found it in.
public struct Output: Hashable, Sendable {
  public enum Content: Hashable, Sendable {
    /// `inPlace`: the file had several links, so a replay writes into the inode that is there.
    case file(Digest, size: Int64, inPlace: Bool)
    case directory
    case symlink(target: FilePath)
    /// Another name of the file at `of`, which is either an earlier output or a file that the run left as it was.
    case hardLink(of: FilePath)
    case fifo
    /// Nothing is left of what was there.
    case removed(wasDirectory: Bool)
  }

  /// As in `Observation`: relative to the mount's root inside, absolute outside.
  public var path: FilePath
  public var content: Content
  public var permissions: UInt32
  /// Set when it differs from what the creating process would have given it.
  public var owner: Owner?
  /// Nanoseconds since 1970 when the command set the time itself; nil for the time of the replay.
  public var modified: Int64?
  public var attributes: [ExtendedAttribute]
  /// The command wrote into whatever file was there, or took whatever directory, and left its extended attributes alone.
  public var keepsAttributes = false

  public init(
    path: FilePath, content: Content, permissions: UInt32, owner: Owner? = nil, modified: Int64? = nil,
    attributes: [ExtendedAttribute] = []
  ) {
    self.path = path
    self.content = content
    self.permissions = permissions
    self.owner = owner
    self.modified = modified
    self.attributes = attributes
  }
}

public struct Owner: Hashable, Sendable {
  public var user: UInt32
  public var group: UInt32

  public init(user: UInt32, group: UInt32) {
    self.user = user
    self.group = group
  }
}

public struct ExtendedAttribute: Hashable, Sendable {
  public var name: FilePath
  public var value: [UInt8]

  public init(name: FilePath, value: [UInt8]) {
    self.name = name
    self.value = value
  }
}

/// What a run took from a pipe on its standard input.
public struct ConsumedInput: Hashable, Sendable {
  /// Bytes.
  public var count: UInt64
  public var digest: Digest
  /// Whether the command read on until the end of the input.
  public var reachedEnd: Bool

  public init(count: UInt64, digest: Digest, reachedEnd: Bool) {
    self.count = count
    self.digest = digest
    self.reachedEnd = reachedEnd
  }
}

/// Everything about one stored run but its keys: what was told, what was seen, and what came of it.
public struct RunRecord: Hashable, Sendable {
  public var arguments: [[UInt8]]
  /// Relative to the mount's root.
  public var directory: FilePath
  public var mount: FilePath
  /// Names only: values are never stored in the clear.
  public var environmentNames: [FilePath]
  /// Salted digests of the environment's values, beside their names, to tell later which one differs.
  public var environmentDigests: [Digest]
  public var observations: [Observation]
  public var values: [Value]
  public var conditions: [Condition]
  public var input: ConsumedInput?
  public var outputs: [Output]
  public var transcript: Transcript
  public var exitStatus: UInt8
  /// Nanoseconds.
  public var duration: Int64
  /// The run that this one was started in, by id.
  public var parent: Digest?
  /// When the result is no longer good, in nanoseconds since 1970; nil: it stays good.
  public var expires: Int64?
  /// Kept for its history alone: no call is answered with it.
  public var isHistoryOnly = false
  /// The runs that were made or replayed within this one, by id.
  public var innerRuns: [Digest] = []

  public init(
    arguments: [[UInt8]], directory: FilePath, mount: FilePath, environmentNames: [FilePath],
    environmentDigests: [Digest], observations: [Observation], values: [Value], conditions: [Condition],
    input: ConsumedInput?, outputs: [Output], transcript: Transcript, exitStatus: UInt8, duration: Int64,
    parent: Digest?
  ) {
    self.arguments = arguments
    self.directory = directory
    self.mount = mount
    self.environmentNames = environmentNames
    self.environmentDigests = environmentDigests
    self.observations = observations
    self.values = values
    self.conditions = conditions
    self.input = input
    self.outputs = outputs
    self.transcript = transcript
    self.exitStatus = exitStatus
    self.duration = duration
    self.parent = parent
  }

  /// Every blob that a replay needs, each once.
  public var blobs: Set<Digest> {
    var result: Set<Digest> = []
    if let blob = transcript.blob { result.insert(blob) }
    for output in outputs { if case .file(let digest, _, _) = output.content { result.insert(digest) } }
    return result
  }

  /// The strong key's bytes: weak key, path set and the values that the paths had.
  public static func strongKeyBytes(weakKey: Digest, pathSet: Digest, values: [Value]) -> [UInt8] {
    var encoder = ByteEncoder()
    encoder.put("casher strong key 1")
    encoder.put(weakKey)
    encoder.put(pathSet)
    encoder.put(values)
    return encoder.bytes
  }
}
