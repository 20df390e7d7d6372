/// Something that happened to a call, to be counted.
public enum Event: Hashable, Sendable {
  /// `saved`: nanoseconds that the command would have taken more than the replay took.
  case hit(saved: Int64)
  case miss
  /// The run's result was not stored; the code of the reason.
  case uncacheable(code: String)
  /// The cache itself failed.
  case error
}

/// What the cache did since it was made, and what it holds now.
public struct Statistics: Hashable, Sendable {
  public var hits: Int64 = 0
  public var misses: Int64 = 0
  /// Uncacheable runs by the code of the reason.
  public var uncacheableByCode: [String: Int64] = [:]
  public var errors: Int64 = 0
  /// Runs that are stored.
  public var entries: Int64 = 0
  public var blobs: Int64 = 0
  /// Bytes that the store takes: blobs as they lie there, inflated copies, and records.
  public var storedBytes: Int64 = 0
  /// Bytes of all blobs' contents.
  public var logicalBytes: Int64 = 0
  /// Of `storedBytes`, the copies that were inflated to be read; they go first when space is needed.
  public var inflatedBytes: Int64 = 0
  public var limitBytes: Int64 = 0
  /// Nanoseconds.
  public var saved: Int64 = 0

  public init() {}

  public var uncacheable: Int64 { uncacheableByCode.values.reduce(0, &+) }
  public var savedSeconds: Double { Double(saved) / 1e9 }
}
