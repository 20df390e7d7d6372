import CasherRecord
import CasherSystem
import Synchronization

/// Something that happened to a call on a mount, as `casherfs top` shows it.
public struct MountEvent: Hashable, Sendable {
  public enum Kind: String, Sendable, CaseIterable {
    case hit
    /// A command has begun to run.
    case run
    case stored
    case uncacheable
  }

  public var kind: Kind
  /// The beginning of the run's id.
  public var run: String
  /// Nanoseconds: what a hit took, or what a run took that has ended; 0 for one that begins.
  public var duration: Int64
  public var command: String
  /// Why a run was a miss, or was not stored: the code of the reason; empty otherwise.
  public var reason: String
}

/// What happened on a mount lately, and how often what happened since it was made.
final class EventFeed: Sendable {
  private struct State {
    var events: [MountEvent] = []
    /// The number of the first of `events`.
    var first: UInt64 = 0
    var counts: [MountEvent.Kind: UInt64] = [:]
    var saved: Int64 = 0
  }

  private static let limit = 512
  private let state = Mutex(State())

  func note(_ event: MountEvent, saved: Int64 = 0) {
    state.withLock { state in
      state.events.append(event)
      state.counts[event.kind, default: 0] &+= 1
      state.saved &+= saved
      if state.events.count > EventFeed.limit {
        let surplus = state.events.count - EventFeed.limit / 2
        state.events.removeFirst(surplus)
        state.first += UInt64(surplus)
      }
    }
  }

  /// Lines of the answer to a `watch` request: the counts, and the events from the given number on.
  fileprivate func lines(since: UInt64) -> [String] {
    let (events, next, counts, saved) = state.withLock { state in
      let skipped = Int(clamping: since > state.first ? since - state.first : 0)
      return (
        Array(state.events.dropFirst(skipped)), state.first + UInt64(state.events.count), state.counts, state.saved
      )
    }
    return ["next=\(next)", "saved=\(saved)"]
      + MountEvent.Kind.allCases.map { "count.\($0.rawValue)=\(counts[$0] ?? 0)" }
      + events.map { event in
        "event="
          + [event.kind.rawValue, event.run, "\(event.duration)", event.reason, event.command]
          .joined(separator: WatchRequest.separator)
      }
  }
}

/// The request of `casherfs top` on a mount's socket, `watch NUMBER`: what there is to know of the mount now, and the
/// events from that number on.
public enum WatchRequest {
  static let word = "watch "
  fileprivate static let separator = "\u{1f}"

  public static func text(since: UInt64) -> String { "\(word)\(since)" }

  static func answer(_ request: String, _ services: Services) -> DaemonMessage {
    let since = UInt64(request.dropFirst(word.count)) ?? 0
    let requests = services.overlay.counters.reduce(0) { $1.name.hasPrefix("requests.") ? $0 &+ $1.value : $0 }
    let now = Clock.now()
    let running = services.runs.inFlight.map { run in
      "running=\(now &- run.started)\(separator)\(CommandText.make(run.command))"
    }
    return .answer(lines: ["requests=\(requests)"] + running + services.events.lines(since: since), status: 0)
  }
}

/// What a mount answers to a `watch` request.
public struct MountActivity: Sendable {
  /// Filesystem requests since the mount was made.
  public var requests: Int64 = 0
  /// Commands under way, and for how many nanoseconds.
  public var running: [(command: String, elapsed: Int64)] = []
  public var events: [MountEvent] = []
  /// Since the mount was made.
  public var counts: [MountEvent.Kind: Int64] = [:]
  /// Nanoseconds that hits have saved since the mount was made.
  public var saved: Int64 = 0
  /// The number to ask for next.
  public var next: UInt64 = 0

  /// From the lines `key=value` of the answer; others are passed over.
  public init(_ pairs: [(key: String, value: String)]) {
    for (key, value) in pairs {
      let parts = value.components(separatedBy: WatchRequest.separator)
      switch key {
      case "requests": requests = Int64(value) ?? 0
      case "saved": saved = Int64(value) ?? 0
      case "next": next = UInt64(value) ?? 0
      case "running" where parts.count == 2: running.append((parts[1], Int64(parts[0]) ?? 0))
      case "event" where parts.count == 5:
        guard let kind = MountEvent.Kind(rawValue: parts[0]) else { continue }
        events.append(
          MountEvent(kind: kind, run: parts[1], duration: Int64(parts[2]) ?? 0, command: parts[4], reason: parts[3]))
      default:
        guard key.hasPrefix("count."), let kind = MountEvent.Kind(rawValue: String(key.dropFirst(6))) else { continue }
        counts[kind] = Int64(value) ?? 0
      }
    }
  }
}

extension String {
  /// The parts between separators, empty ones too.
  fileprivate func components(separatedBy separator: String) -> [String] {
    split(separator: separator, omittingEmptySubsequences: false).map(String.init)
  }
}
