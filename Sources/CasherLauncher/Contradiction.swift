import CasherSystem

/// Options that cannot both be meant.
struct Contradiction: Sendable {
  let first: String
  let second: String
  /// What is wrong with both, as a part of a sentence.
  let reason: String

  private init(_ first: String, _ second: String, _ reason: String) {
    self.first = first
    self.second = second
    self.reason = reason
  }

  private static let all = [
    Contradiction("read-only", "force", "one never runs the command, the other always does"),
    Contradiction("read-only", "no-cache", "one never runs the command, the other always does"),
    Contradiction("read-only", "check", "one never runs the command, the other always does"),
    Contradiction("no-cache", "force", "one stores a result to answer from, the other one that is never answered from"),
    Contradiction("no-cache", "no-store", "one records the run, the other does not"),
    Contradiction("check", "force", "one stores nothing, the other a new result"),
    Contradiction("check", "no-cache", "one stores nothing, the other records the run"),
    Contradiction("check", "retries", "what is compared is one run"),
    Contradiction("quiet", "verbose", "one says nothing, the other more"),
    Contradiction("quiet", "explain", "one says nothing, the other why the command runs"),
  ]

  static func between(_ one: Option, _ other: Option) -> Contradiction? {
    all.first {
      ($0.first == one.name && $0.second == other.name) || ($0.first == other.name && $0.second == one.name)
    }
  }

  /// Throws when two of the settings, or the values of two, contradict each other, or one is nothing without another.
  static func check(_ settings: [Setting], _ invocation: Invocation) throws(UsageError) {
    for (index, setting) in settings.enumerated() {
      for other in settings.dropFirst(index + 1) {
        guard let found = between(setting.option, other.option) else { continue }
        throw UsageError("\(setting.origin) and \(other.origin) contradict each other: \(found.reason)")
      }
    }
    if invocation.options.inputPattern != nil, invocation.inputs.isEmpty {
      throw UsageError("--input-pattern says nothing without --input")
    }
    let ignored = Set(invocation.options.environmentIgnored)
    let counted = invocation.options.environmentAdded + (invocation.options.environmentOnly ?? [])
    if let name = counted.first(where: { ignored.contains($0) }) {
      throw UsageError("\(name) both counts and is left out: --ignore-env \(name) contradicts --env and --only-env")
    }
  }
}
