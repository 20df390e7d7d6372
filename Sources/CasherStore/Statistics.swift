/// Something that happened to a call, to be counted.
public enum Event: Hashable, Sendable {
  /// `saved`: nanoseconds that the command would have taken more than the replay took.
  case hit(saved: Int64)
  /// The code of the reason, where it is known.
  case miss(reason: String? = nil)
  /// The run's result was not stored; the code of the reason.
  case uncacheable(code: String)
  /// The cache itself failed.
  case error
}

/// How often which event has happened.
public struct EventCounts: Hashable, Sendable {
  public var hits: Int64 = 0
  public var misses: Int64 = 0
  /// Misses by the code of the reason; those whose reason was not noted are in `misses` alone.
  public var missesByReason: [String: Int64] = [:]
  /// Uncacheable runs by the code of the reason.
  public var uncacheableByCode: [String: Int64] = [:]
  public var errors: Int64 = 0
  /// Nanoseconds.
  public var saved: Int64 = 0

  public init() {}

  public var uncacheable: Int64 { uncacheableByCode.values.reduce(0, &+) }
  public var savedSeconds: Double { Double(saved) / 1e9 }
}

/// What the cache did since it was made, and what it holds now.
public struct Statistics: Hashable, Sendable {
  /// Since the cache was made.
  public var counts = EventCounts()
  /// Since the counts were last set to zero, and when that was (nanoseconds since 1970); nil when they never were.
  public var sinceZero: EventCounts?
  public var zeroed: Int64?
  /// Runs that are stored.
  public var entries: Int64 = 0
  public var blobs: Int64 = 0
  /// Bytes that the store takes: blobs as they lie there, inflated copies, and records.
  public var storedBytes: Int64 = 0
  /// Bytes of all blobs' contents.
  public var logicalBytes: Int64 = 0
  /// Bytes that the blobs take as they lie there.
  public var blobBytes: Int64 = 0
  /// Of `storedBytes`, the copies that were inflated to be read; they go first when space is needed.
  public var inflatedBytes: Int64 = 0
  public var limitBytes: Int64 = 0

  public init() {}

  public var hits: Int64 { counts.hits }
  public var misses: Int64 { counts.misses }
  public var uncacheableByCode: [String: Int64] { counts.uncacheableByCode }
  public var uncacheable: Int64 { counts.uncacheable }
  public var errors: Int64 { counts.errors }
  public var saved: Int64 { counts.saved }
  public var savedSeconds: Double { counts.savedSeconds }
}

/// What became of the calls of one command.
public struct CommandStatistics: Hashable, Sendable {
  /// As a shell would take it; its first `Store.commandLimit` bytes.
  public var command: [UInt8]
  public var hits: Int64
  public var misses: Int64
  public var uncacheable: Int64
  /// Nanoseconds.
  public var saved: Int64
  /// Nanoseconds since 1970: its last call.
  public var used: Int64
}

/// What happened in one hour or one day.
public struct ActivityBucket: Hashable, Sendable {
  public enum Span: Int64, Sendable {
    case hour = 3600
    case day = 86400

    /// Seconds for which buckets are kept: two weeks of hours, three years of days.
    var lifetime: Int64 { self == .hour ? 14 * 86400 : 3 * 366 * 86400 }
  }

  /// Seconds since 1970 of its begin.
  public var start: Int64
  public var hits: Int64
  public var misses: Int64
  public var uncacheable: Int64
  /// Nanoseconds.
  public var saved: Int64
  /// Bytes that the store took after the last event.
  public var storedBytes: Int64
}

/// Why a call was last a miss although the command had run before.
public struct MissNote: Hashable, Sendable {
  /// Nanoseconds since 1970.
  public var time: Int64
  /// The code of the reason.
  public var reason: String
  /// Lines for people, such as the inputs that differ; may be empty.
  public var detail: [String]

  public init(time: Int64, reason: String, detail: [String]) {
    self.time = time
    self.reason = reason
    self.detail = detail
  }
}
