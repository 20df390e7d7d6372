import CLinux
import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem
import Glibc

/// Whether a call like a recorded run's would be a hit now, and what is in the way.
public struct RunChange: Hashable, Sendable, ByteCodable {
  /// The run that is compared with what is there now.
  public var run: Digest
  /// Its inputs that are not as they were, at most `limit` of them.
  public var differences: [InputDifference]
  /// How many there are.
  public var count: UInt64
  /// A stored run would be the answer, this one or another of the same command.
  public var isAnswered: Bool
  /// What else keeps the run from being the answer, whatever its inputs are.
  public var obstacle: Obstacle

  public enum Obstacle: UInt8, Hashable, Sendable {
    case none = 0
    /// Contents of the run's result are no longer in the cache.
    case lost
    /// The result is older than it may be.
    case expired
    /// The run was recorded for its history alone.
    case historyOnly
  }

  private static let limit = 1000

  init(_ run: Digest, _ differences: [InputDifference], _ obstacle: Obstacle) {
    self.run = run
    self.differences = Array(differences.prefix(RunChange.limit))
    count = UInt64(differences.count)
    isAnswered = differences.isEmpty && obstacle == .none
    self.obstacle = obstacle
  }

  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(run)
    encoder.put(differences)
    encoder.put(count)
    encoder.put(isAnswered)
    encoder.put(obstacle.rawValue)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    run = try decoder.digest()
    differences = try decoder.list()
    count = try decoder.uint64()
    isAnswered = try decoder.bool()
    guard let obstacle = Obstacle(rawValue: try decoder.byte()) else { throw DecodingFailure("unknown obstacle") }
    self.obstacle = obstacle
  }
}

/// Compares recorded runs with the files that are there now.
public struct ChangeDetector {
  private let store: Store
  private var evaluator: Evaluator
  private let root: FileDescriptor?

  /// Runs of one command that are compared, those used last.
  private static let runsPerKey = 64

  /// Looks at the files of a directory that no daemon serves. `close()` ends it.
  public init(directory: FilePath, store: Store) throws(Errno) {
    let root = try FileDescriptor.open(directory, Int32(CASHER_O_PATH) | O_DIRECTORY)
    self.root = root
    self.store = store
    let placements = Placements.none
    evaluator = Evaluator(
      tree: Tree(root: root, placements: placements),
      digester: FileDigester(store: store, placements: placements) { _ in false })
  }

  init(_ services: Services) {
    root = nil
    store = services.store
    evaluator = Evaluator(tree: services.tree, digester: services.digester)
  }

  public func close() { root?.close() }

  /// Nil when no such run is stored. Standard input is taken to be what it was, and options to be those of the call that
  /// was recorded.
  ///
  /// `nearest`: answers for the run of the same key that has the fewest differences instead of for this one.
  public mutating func change(of id: Digest, nearest: Bool) throws(StoreError) -> RunChange? {
    guard let run = try store.run(id) else { return nil }
    guard var result = try compare(run) else { return nil }
    if result.isAnswered { return result }
    for other in try store.runs(weakKey: run.weakKey, limit: ChangeDetector.runsPerKey) where other.id != id {
      guard let change = try compare(other) else { continue }
      if change.isAnswered {
        result.isAnswered = true
        return nearest ? change : result
      }
      if nearest, change.count < result.count { result = change }
    }
    return result
  }

  /// Nil when the record is damaged.
  private mutating func compare(_ run: StoredRun) throws(StoreError) -> RunChange? {
    guard let record = try? RunRecord(encoded: run.body) else { return nil }
    let differences = InputDifference.all(of: record, &evaluator, strictly: false)
    return RunChange(run.id, differences, try obstacle(run, record, isWorthAsking: differences.isEmpty))
  }

  private func obstacle(
    _ run: StoredRun, _ record: RunRecord, isWorthAsking: Bool
  ) throws(StoreError) -> RunChange.Obstacle {
    if record.isHistoryOnly { return .historyOnly }
    if let expires = record.expires, expires <= Clock.now() { return .expired }
    guard isWorthAsking else { return .none }
    do throws(StoreError) { return try store.unusableBlobs(of: run.id).isEmpty ? .none : .lost } catch {
      guard error.isAboutOneBlob else { throw error }
      return .lost
    }
  }
}

/// The request for changes on a mount's socket: `changed MODE ID...`, ids in hexadecimal. Each line of the answer is a
/// `RunChange` in hexadecimal, in the order of the ids; that of a run which is not stored is empty.
public enum ChangeRequest {
  static let word = "changed "
  private static let nearest = "nearest"
  private static let exact = "exact"

  public static func text(of runs: [Digest], nearest: Bool) -> String {
    word + (nearest ? self.nearest : exact) + runs.map { " " + $0.hexadecimal }.joined()
  }

  static func answer(_ request: String, _ services: Services) -> DaemonMessage {
    let words = request.split(separator: " ").dropFirst()
    var detector = ChangeDetector(services)
    var lines: [String] = []
    do throws(StoreError) {
      for word in words.dropFirst() {
        let id = Digest(hexadecimal: String(word))
        let change = try id.flatMap { id throws(StoreError) in
          try detector.change(of: id, nearest: words.first == Substring(nearest))
        }
        lines.append(change.map { $0.encoded.map(hexadecimal).joined() } ?? "")
      }
    } catch { return .answer(lines: ["\(error)"], status: 1) }
    return .answer(lines: lines, status: 0)
  }

  private static func hexadecimal(_ byte: UInt8) -> String {
    String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
  }

  /// A line of the answer; nil when it is none.
  public static func change(_ line: String) -> RunChange? {
    let digits = Array(line.utf8)
    guard digits.count % 2 == 0 else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(digits.count / 2)
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let high = Character(Unicode.Scalar(digits[index])).hexDigitValue,
        let low = Character(Unicode.Scalar(digits[index + 1])).hexDigitValue
      else { return nil }
      bytes.append(UInt8(truncatingIfNeeded: high << 4 | low))
    }
    return try? RunChange(encoded: bytes)
  }
}
