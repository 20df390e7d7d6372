import CasherRecord
import CasherStore
import CasherSystem

/// What two stored runs differ in.
struct RunDifference {
  /// A path that the runs saw or left in different states; nil where one of them has nothing to do with it.
  struct Path {
    var path: FilePath
    var observed: Facet?
    var was: String?
    var now: String?
    /// Both runs left a file there.
    var contents: (was: Digest, now: Digest)?
  }

  /// Names of environment variables.
  struct Environment {
    var removed: [FilePath] = []
    var added: [FilePath] = []
    var changed: [FilePath] = []

    var isEmpty: Bool { removed.isEmpty && added.isEmpty && changed.isEmpty }
  }

  let was: StoredRun
  let now: StoredRun
  let wasRecord: RunRecord
  let nowRecord: RunRecord
  var environment = Environment()
  var inputs: [Path] = []
  var outputs: [Path] = []

  init(_ was: StoredRun, _ now: StoredRun) throws(Failure) {
    (self.was, self.now) = (was, now)
    wasRecord = try RunReference.record(of: was)
    nowRecord = try RunReference.record(of: now)
    compareEnvironment()
    compareInputs()
    compareOutputs()
  }

  private mutating func compareEnvironment() {
    func values(_ record: RunRecord) -> [FilePath: Digest] {
      Dictionary(zip(record.environmentNames, record.environmentDigests), uniquingKeysWith: { first, _ in first })
    }
    let (was, now) = (values(wasRecord), values(nowRecord))
    for name in Set(was.keys).union(now.keys).sorted() where was[name] != now[name] {
      if now[name] == nil {
        environment.removed.append(name)
      } else if was[name] == nil {
        environment.added.append(name)
      } else {
        environment.changed.append(name)
      }
    }
  }

  private struct Input: Hashable {
    var path: FilePath
    var facet: Facet
  }

  private mutating func compareInputs() {
    func values(_ record: RunRecord) -> [Input: Value] {
      var result: [Input: Value] = [:]
      for (observation, value) in zip(record.observations, record.values) {
        result[Input(path: observation.path, facet: observation.facet)] = value
      }
      for condition in record.conditions where condition.role != .left {
        result[Input(path: condition.observation.path, facet: condition.observation.facet)] = condition.before
      }
      return result
    }
    let (was, now) = (values(wasRecord), values(nowRecord))
    let all = Set(was.keys).union(now.keys).sorted { ($0.path, $0.facet.rawValue) < ($1.path, $1.facet.rawValue) }
    for input in all where was[input] != now[input] {
      inputs.append(
        Path(
          path: input.path, observed: input.facet, was: was[input]?.description, now: now[input]?.description))
    }
  }

  private mutating func compareOutputs() {
    func byPath(_ record: RunRecord) -> [FilePath: Output] {
      Dictionary(record.outputs.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
    }
    let (was, now) = (byPath(wasRecord), byPath(nowRecord))
    for path in Set(was.keys).union(now.keys).sorted() where !RunDifference.isSame(was[path], now[path]) {
      var difference = Path(
        path: path, was: was[path].map { RunJSON.words($0) }, now: now[path].map { RunJSON.words($0) })
      if let old = was[path].flatMap({ StoredContent.file($0, of: wasRecord)?.digest }),
        let new = now[path].flatMap({ StoredContent.file($0, of: nowRecord)?.digest }), old != new
      {
        difference.contents = (old, new)
      }
      outputs.append(difference)
    }
  }

  /// Times are not compared: they differ in any two runs.
  private static func isSame(_ was: Output?, _ now: Output?) -> Bool {
    guard let was, let now else { return was == nil && now == nil }
    guard was.permissions == now.permissions, was.owner == now.owner else { return false }
    if case .file(let old, _, _) = was.content, case .file(let new, _, _) = now.content { return old == new }
    return was.content == now.content
  }
}
