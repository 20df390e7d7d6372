import CasherRecord

/// An input of a recorded run that is not as the run saw it.
public struct InputDifference: Hashable, Sendable, ByteCodable {
  public var observation: Observation
  /// What the run saw.
  public var was: Value
  public var now: Value
  /// For people: what else is to be said about it; empty when nothing is.
  public var note: String

  public init(_ observation: Observation, was: Value, now: Value, note: String = "") {
    self.observation = observation
    self.was = was
    self.now = now
    self.note = note
  }

  /// Everything that keeps the run from being a hit now, standard input aside; empty when nothing does.
  static func all(of record: RunRecord, _ evaluator: inout Evaluator, strictly: Bool) -> [InputDifference] {
    var result: [InputDifference] = []
    for (observation, was) in zip(record.observations, record.values) {
      let now = evaluator.value(of: observation)
      if now != was { result.append(InputDifference(observation, was: was, now: now)) }
    }
    if Condition.hold(record.conditions, strictly: strictly, value: { evaluator.value(of: $0) }) { return result }
    let inputs = result.count
    for condition in record.conditions where condition.role != .left {
      let now = evaluator.value(of: condition.observation)
      if now == condition.before || (!strictly && now == condition.after) { continue }
      let left = strictly || condition.after == condition.before ? "" : "the run left \(condition.after)"
      result.append(InputDifference(condition.observation, was: condition.before, now: now, note: left))
    }
    if result.count > inputs { return result }
    // Each is in order by itself, but some are as before the run and some as it left them.
    for condition in record.conditions where condition.before != condition.after {
      let now = evaluator.value(of: condition.observation)
      let state =
        now == condition.after
        ? "as that run left it" : condition.role == .left ? "not as that run left it" : "as it was before that run"
      result.append(
        InputDifference(condition.observation, was: condition.before, now: now, note: "\(state), and others are not"))
    }
    return result
  }

  /// What it is about: a path, or the names in a directory.
  public var subject: String {
    let path = observation.path.isEmpty ? "." : observation.path.description
    return observation.facet == .listing ? "the names in \(path)" : path
  }

  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(observation)
    encoder.put(was)
    encoder.put(now)
    encoder.put(note)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init(
      try decoder.value(), was: try decoder.value(), now: try decoder.value(), note: try decoder.string())
  }
}

extension InputDifference: CustomStringConvertible {
  /// One line: what was, what is.
  public var description: String {
    if note.hasSuffix("others are not") { return "\(subject): \(note)" }
    let owners = symlinkOwners
    return "\(subject): was \(was)\(owners.was)\(note.isEmpty ? "" : " (\(note))"), is \(now)\(owners.now)"
  }

  /// Of two symlinks to the same, whose they are; nothing of what differs in more than that.
  private var symlinkOwners: (was: String, now: String) {
    guard case .symlink(let target, let user, let group) = was, case .symlink(target, let userNow, let groupNow) = now
    else { return ("", "") }
    return (" owner \(user):\(group)", " owner \(userNow):\(groupNow)")
  }
}
