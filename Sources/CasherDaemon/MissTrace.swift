import CasherRecord
import CasherStore
import CasherSystem

/// How far the lookups of one call came: what is known of why it is a miss.
final class MissTrace {
  var reason = MissReason.new
  /// The last lookup's, which has the values of everything that was compared.
  var evaluator: Evaluator?
  /// Keys with so many path sets that it is worth learning all of their runs.
  var longSearches: Set<Digest> = []

  /// Inputs that are named before the rest is only counted.
  private static let limit = 5

  /// Takes note of an obstacle; the one that was met furthest on the way to a hit is the reason.
  func met(_ obstacle: MissReason) {
    reason = .further(reason, obstacle)
  }

  /// Has the store remember the reason, with the inputs in which the newest run of the same key differs.
  func note(_ weakKey: Digest, in store: Store, strictly: Bool) {
    guard reason != .new else { return }
    var lines: [String] = []
    if reason == .inputs || reason == .ownOutputs, var evaluator,
      let run = try? store.runs(weakKey: weakKey, limit: 1).first,
      let record = try? RunRecord(encoded: run.body)
    {
      let differences = InputDifference.all(of: record, &evaluator, strictly: strictly)
      lines = differences.prefix(MissTrace.limit).map(\.description)
      if differences.count > MissTrace.limit { lines.append("and \(differences.count - MissTrace.limit) more") }
    }
    store.noteMiss(weakKey, MissNote(time: Clock.now(), reason: reason.rawValue, detail: lines))
  }
}

extension MissReason {
  /// The obstacle that is met further on the way to a hit.
  static func further(_ one: MissReason, _ other: MissReason) -> MissReason {
    let order: [MissReason] = [.new, .inputs, .expired, .ownOutputs, .standardInput, .contentLost, .notPlaced, .forced]
    return (order.firstIndex(of: other) ?? 0) > (order.firstIndex(of: one) ?? 0) ? other : one
  }
}
