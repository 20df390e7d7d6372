import CasherRecord
import CasherSystem
import Synchronization

/// A stored run as it was decoded when a call was last answered with it, and what was seen of its inputs then.
final class KnownRun: Sendable {
  let id: Digest
  /// Nanoseconds since 1970.
  let created: Int64
  /// Without what is known of the environment, which no answer needs.
  let record: RunRecord
  private let sight: Mutex<Sight>
  private let transcriptBytes = Mutex<[UInt8]?>(nil)
  private let useNumber = Atomic<UInt64>(0)
  private static let uses = Atomic<UInt64>(0)

  private struct Sight {
    /// For each observation what was seen when it last held, nil where that tells nothing; empty until all held once.
    var glimpses: [Glimpse?] = []
    /// The observation that was last found to be different: of many runs of one command most are told apart by it.
    var suspect = 0
  }

  init(id: Digest, created: Int64, record: RunRecord) {
    self.id = id
    self.created = created
    var record = record
    record.environmentNames = []
    record.environmentDigests = []
    self.record = record
    sight = Mutex(Sight())
  }

  /// About how much memory it takes, in observations; some 200 bytes each.
  var weight: Int { 16 + record.observations.count + record.conditions.count + record.outputs.count }

  /// What was printed, once it has been read; kept only while it is small.
  var transcript: [UInt8]? {
    get { transcriptBytes.withLock { $0 } }
    set { transcriptBytes.withLock { $0 = newValue } }
  }

  /// The observation to look at first, and the value that it must have.
  var suspect: (Observation, Value)? {
    let index = sight.withLock { $0.suspect }
    guard index < record.observations.count, index < record.values.count else { return nil }
    return (record.observations[index], record.values[index])
  }

  /// Greater than that of every run that was used before.
  var lastUse: UInt64 { useNumber.load(ordering: .relaxed) }

  /// It is the one used last.
  func use() {
    useNumber.store(KnownRun.uses.add(1, ordering: .relaxed).newValue, ordering: .relaxed)
  }

  /// Whether every observation has the value that it had for the run. Looks at every path, until one is different.
  func holds(in tree: Tree, _ digester: FileDigester) -> Bool {
    guard record.observations.count == record.values.count else { return false }
    let known = sight.withLock { $0.glimpses }
    let comparison = InputComparison(record, known, tree, digester)
    let findings = comparison.run()
    guard let difference = findings.difference else {
      if !findings.glimpses.isEmpty {
        sight.withLock { sight in
          if sight.glimpses.isEmpty { sight.glimpses = Array(repeating: nil, count: record.observations.count) }
          for (index, glimpse) in findings.glimpses { sight.glimpses[index] = glimpse }
        }
      }
      return true
    }
    sight.withLock { $0.suspect = difference }
    return false
  }
}
