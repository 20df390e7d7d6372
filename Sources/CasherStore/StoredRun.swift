import CasherSystem

/// A name and a value given to a run with `--tag`, not part of its key.
public struct Tag: Hashable, Sendable {
  public var name: String
  public var value: String

  public init(name: String, value: String) {
    self.name = name
    self.value = value
  }
}

/// One run as the store keeps it: what it is found and listed by, and a body that only its owner can decode.
public struct StoredRun: Hashable, Sendable {
  public var id: Digest
  public var weakKey: Digest
  /// Digest of the path set's encoding.
  public var pathSet: Digest
  public var strongKey: Digest
  /// Digest of the conditions on the run's own outputs: two runs of one strong key differ in this, or one replaces
  /// the other.
  public var conditionKey: Digest
  /// Nanoseconds since 1970.
  public var created: Int64
  /// Nanoseconds since 1970: the last hit, or when it was stored.
  public var lastUsed: Int64
  /// Nanoseconds that the command took.
  public var duration: Int64
  public var exitStatus: UInt8
  /// For people and for `log --command`: the arguments as a shell would take them.
  public var command: [UInt8]
  /// Relative to the mount.
  public var directory: FilePath
  public var mount: FilePath
  /// The run that this one was started in.
  public var parent: Digest?
  /// Bytes of all output files together.
  public var outputBytes: Int64
  public var inputCount: Int64
  public var outputCount: Int64
  /// How many times it was replayed.
  public var hits: Int64
  public var tags: [Tag]
  /// The rest, encoded by the caller.
  public var body: [UInt8]
  /// Every blob that a replay needs, each once. Empty in lists (`runs(matching:)`).
  public var blobs: [Digest]
  /// What `runs(leaving:)` finds the run by: a number for each path that it left in another state. Taken by `insert`, and
  /// empty in what the store gives.
  public var outputKeys: [Int64] = []
  /// The runs that were made or replayed within this one. Taken by `insert`, and empty in what the store gives.
  public var innerRuns: [Digest] = []

  public init(
    id: Digest, weakKey: Digest, pathSet: Digest, strongKey: Digest, conditionKey: Digest, created: Int64,
    lastUsed: Int64, duration: Int64, exitStatus: UInt8, command: [UInt8], directory: FilePath, mount: FilePath,
    parent: Digest? = nil, outputBytes: Int64, inputCount: Int64, outputCount: Int64, hits: Int64 = 0,
    tags: [Tag] = [], body: [UInt8], blobs: [Digest]
  ) {
    self.id = id
    self.weakKey = weakKey
    self.pathSet = pathSet
    self.strongKey = strongKey
    self.conditionKey = conditionKey
    self.created = created
    self.lastUsed = lastUsed
    self.duration = duration
    self.exitStatus = exitStatus
    self.command = command
    self.directory = directory
    self.mount = mount
    self.parent = parent
    self.outputBytes = outputBytes
    self.inputCount = inputCount
    self.outputCount = outputCount
    self.hits = hits
    self.tags = tags
    self.body = body
    self.blobs = blobs
  }
}

/// Which runs a list shows; everything that is set must hold.
public struct RunFilter: Hashable, Sendable {
  /// A pattern for the whole command: `*`, `?` and `[…]` as in SQLite's GLOB.
  public var command: String?
  /// The whole command, byte for byte; counts instead of `command`.
  public var exactCommand: [UInt8]?
  public var tag: Tag?
  /// Only runs stored at or after this time, nanoseconds since 1970.
  public var since: Int64?
  /// True: only those that exited 0; false: only the others.
  public var succeeded: Bool?
  public var mount: FilePath?
  /// Where the command ran, relative to the mount.
  public var directory: FilePath?
  public var parent: Digest?
  public var weakKey: Digest?
  /// Only runs that were not started in another one.
  public var isOutermost = false
  public var limit: Int?
  /// How many of the newest to leave out.
  public var skip: Int = 0

  public init() {}
}
