import Foundation
import Testing

/// How a call under acache was answered.
enum Answer: Equatable {
  case hit
  case miss
  /// Run, and not stored for the reason of that code.
  case notStored(String)
}

/// Two equal trees: a mounted one, whose commands run under acache, and a plain one, whose commands do not.
///
/// After every step output, status and the whole tree must be the same. `../out` is a directory of
/// the twin's own that is outside the mount, also named by `$OUT`; it is compared too.
final class Twins {
  let place: Place
  let plain: String
  let outside: String
  let plainOutside: String
  /// Options of every call of acache.
  var options: [String] = []
  /// The program with its arguments under which a script runs, on both sides.
  var shell = ["/bin/sh", "-c"]

  fileprivate init(_ place: Place) throws {
    self.place = place
    (plain, outside, plainOutside) = (
      place.base + "/plain/work", place.base + "/out", place.base + "/plain/out"
    )
    for directory in [plain, outside, plainOutside] {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }
    place.environment["OUT"] = outside
  }

  private var plainEnvironment: [String: String] { place.environment.merging(["OUT": plainOutside]) { $1 } }

  /// A script that changes both trees, without acache.
  func edit(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let mounted = try place.shell(script)
    let plainly = try run("/bin/sh", ["-c", script], in: plain, environment: plainEnvironment)
    #expect(mounted == plainly, sourceLocation: sourceLocation)
    #expect(mounted.status == 0, "\(mounted.error)", sourceLocation: sourceLocation)
  }

  func hit(
    _ script: String, _ options: String..., in directory: String = ".", input: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try call(script, .hit, options, in: directory, input: input, sourceLocation: sourceLocation)
  }

  func miss(
    _ script: String, _ options: String..., in directory: String = ".", input: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try call(script, .miss, options, in: directory, input: input, sourceLocation: sourceLocation)
  }

  /// A miss and then a hit.
  func missThenHit(
    _ script: String, _ options: String..., in directory: String = ".", input: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try call(script, .miss, options, in: directory, input: input, sourceLocation: sourceLocation)
    try call(script, .hit, options, in: directory, input: input, sourceLocation: sourceLocation)
  }

  func notStored(
    _ script: String, _ reason: String, _ options: String..., in directory: String = ".", input: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try call(script, .notStored(reason), options, in: directory, input: input, sourceLocation: sourceLocation)
  }

  /// A call that may be answered in any way, as long as it comes out as without acache.
  func call(
    either script: String, _ options: String..., in directory: String = ".", input: String? = nil,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try call(script, nil, options, in: directory, input: input, sourceLocation: sourceLocation)
  }

  private func call(
    _ script: String, _ wanted: Answer?, _ options: [String], in directory: String, input: String?,
    sourceLocation: SourceLocation
  ) throws {
    let before = try Statistics(place)
    // A hit says nothing; what should have been one says why it is none.
    let explained = wanted == .hit ? ["--explain"] : []
    var outcome = try run(
      Programs.acache, self.options + options + explained + ["--"] + shell + [script],
      in: place.work + "/" + directory, input: input, environment: place.environment)
    let after = try Statistics(place)
    let plainly = try run(
      "/usr/bin/env", shell + [script], in: plain + "/" + directory, input: input, environment: plainEnvironment)
    let answer = after.answer(since: before)
    if let wanted, answer != wanted {
      Issue.record(
        "'\(script)' was \(answer.map { "\($0)" } ?? "several things"), not \(wanted)\n\(outcome.error)",
        sourceLocation: sourceLocation)
      let lines = outcome.error.split(separator: "\n", omittingEmptySubsequences: false)
      outcome.error = lines.filter { !$0.hasPrefix("acache: ") }.joined(separator: "\n")
    }
    #expect(outcome == plainly, "\(script)", sourceLocation: sourceLocation)
    try compare("after '\(script)'", sourceLocation: sourceLocation)
  }

  /// That both trees are the same: names, types, permission bits, owners, links and contents.
  func compare(_ comment: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    for (mounted, plainly) in [(place.work, plain), (outside, plainOutside)] {
      let (one, other) = try (Twins.tree(mounted), Twins.tree(plainly))
      #expect(one == other, "\(comment)", sourceLocation: sourceLocation)
    }
  }

  private static func tree(_ directory: String) throws -> [String] {
    let script = """
      find . \\( -type d -printf '%m %U:%G %P/\\0' \\) -o -printf '%y %m %U:%G %n %P -> %l\\0' | sort -z
      find . -type f -print0 | sort -z | xargs -0 -r sha256sum -z
      """
    let environment = ["LC_ALL": "C", "PATH": "/usr/bin:/bin"]
    return try run("/bin/sh", ["-c", script], in: directory, environment: environment).output
      .split(separator: "\0").map(String.init)
  }
}

/// Calls `body` with twins, and unmounts whatever happens. `prepare` makes what both trees hold before.
func withTwins(_ mountOptions: String..., prepare: String = "", body: (Twins) throws -> Void) throws {
  let place = try Place()
  let twins = try Twins(place)
  if !prepare.isEmpty { for directory in [place.work, twins.plain] { try place.shell(prepare, in: directory) } }
  let mounted = try run(
    Programs.casherfs, ["mount"] + mountOptions + [place.work], environment: place.environment)
  try #require(mounted.status == 0, "\(mounted.error)")
  defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
  try body(twins)
}

/// What `casherfs stats` counts.
struct Statistics: Equatable {
  var hits: Int
  var misses: Int
  var uncacheable: Int
  var reasons: [String: Int]

  init(_ place: Place) throws {
    let statistics = try place.casherfs("stats", "--json").json(as: [String: Any].self)
    hits = statistics["hits"] as? Int ?? -1
    misses = statistics["misses"] as? Int ?? -1
    uncacheable = statistics["uncacheable"] as? Int ?? -1
    reasons = statistics["uncacheable_by_reason"] as? [String: Int] ?? [:]
  }

  /// The answer of the one call since then; nil when there were several or none.
  func answer(since before: Statistics) -> Answer? {
    guard hits + misses == before.hits + before.misses + 1 else { return nil }
    if hits > before.hits { return .hit }
    if uncacheable == before.uncacheable { return .miss }
    let reason = reasons.first { $0.value != before.reasons[$0.key] ?? 0 }
    return .notStored(reason?.key ?? "")
  }
}
