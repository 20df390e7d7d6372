import CasherRecord
import CasherStore
import CasherSystem

/// Why a call is a miss, for people.
struct MissExplanation {
  private let services: Services
  private let request: CallRequest
  private let weakKey: Digest

  /// Paths that are named before the rest is only counted.
  private static let limit = 10
  /// The newest runs of the command that are compared.
  private static let candidates = 8

  init(_ services: Services, _ request: CallRequest, _ weakKey: Digest) {
    self.services = services
    self.request = request
    self.weakKey = weakKey
  }

  func lines() throws(StoreError) -> [String] {
    let runs = try services.store.runs(weakKey: weakKey, limit: MissExplanation.candidates)
    if runs.isEmpty { return try whyNoCandidate() }
    var evaluator = Evaluator(tree: services.tree, digester: services.digester)
    var nearest: (StoredRun, [String])?
    for run in runs {
      guard let record = try? RunRecord(encoded: run.body) else { continue }
      let differences = InputDifference.all(
        of: record, &evaluator, strictly: request.options.strict
      ).map(\.description)
      if nearest.map({ differences.count < $0.1.count }) ?? true { nearest = (run, differences) }
    }
    guard let (run, differences) = nearest else { return ["no recorded run of this command can be read"] }
    let name = run.id.hexadecimal.prefix(12)
    if differences.isEmpty, isExpired(run) { return ["run \(name) has the same inputs, but is older than it may be"] }
    if differences.isEmpty {
      return ["run \(name) has the same inputs, but standard input differs or its files are no longer in the cache"]
    }
    var result = [
      "compared with run \(name), \(differences.count) input\(differences.count == 1 ? " differs" : "s differ"):"
    ]
    result += differences.prefix(MissExplanation.limit).map { "  \($0)" }
    if differences.count > MissExplanation.limit {
      result.append("  and \(differences.count - MissExplanation.limit) more")
    }
    return result
  }

  private func isExpired(_ run: StoredRun) -> Bool {
    let now = Clock.now()
    if let limit = request.options.timeToLive, run.created < now.subtractingReportingOverflow(limit).partialValue {
      return true
    }
    return (try? RunRecord(encoded: run.body))?.expires.map { $0 <= now } ?? false
  }

  /// No run has the same weak key: tells which part of it is new.
  private func whyNoCandidate() throws(StoreError) -> [String] {
    var filter = RunFilter()
    filter.limit = 200
    let mine = EnvironmentPolicy.relevant(request.environment, request.options)
    let digests = Dictionary(
      uniqueKeysWithValues: mine.map {
        ($0.name, EnvironmentPolicy.digest($0.name, $0.value, salt: services.salt))
      })
    var sameProgram: String?
    for run in try services.store.runs(matching: filter, withBodies: true) {
      guard let record = try? RunRecord(encoded: run.body) else { continue }
      if record.arguments == request.arguments, record.directory == request.directory {
        if record.mount != request.mount { return ["this command has run in another mount only, \(record.mount)"] }
        let theirs = Dictionary(
          zip(record.environmentNames, record.environmentDigests), uniquingKeysWith: { first, _ in first })
        let names = Set(theirs.keys).union(digests.keys).sorted().filter { theirs[$0] != digests[$0] }
        if names.isEmpty {
          return [
            "the user, the umask, standard input, an option, or whether output and errors are one stream differs from run "
              + "\(run.id.hexadecimal.prefix(12))"
          ]
        }
        return names.prefix(MissExplanation.limit).map { name in
          if theirs[name] == nil { return "the environment variable \(name) is new" }
          if digests[name] == nil { return "the environment variable \(name) is no longer set" }
          return "the environment variable \(name) has another value"
        }
      }
      if record.arguments == request.arguments, sameProgram == nil {
        sameProgram =
          "this command has run in another directory only, \(record.directory.isEmpty ? "." : "\(record.directory)")"
      } else if record.arguments.first == request.arguments.first, sameProgram == nil {
        sameProgram = argumentDifference(record.arguments)
      }
    }
    return [sameProgram ?? "no run of this command is recorded yet"]
  }

  private func argumentDifference(_ theirs: [[UInt8]]) -> String {
    let mine = request.arguments
    for index in 0..<max(mine.count, theirs.count) {
      let (was, now) = (index < theirs.count ? theirs[index] : nil, index < mine.count ? mine[index] : nil)
      if was != now {
        func words(_ argument: [UInt8]?) -> String { argument.map { "'\(FilePath($0))'" } ?? "missing" }
        return "argument \(index) differs from the last run of this program: was \(words(was)), is \(words(now))"
      }
    }
    return "no run of this command is recorded yet"
  }
}
