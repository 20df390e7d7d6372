import Foundation
import Testing

/// A temporary directory with a work directory and a cache of its own.
final class Place {
  let base: String
  /// The directory to be mounted, without symlinks in its path.
  let work: String
  var environment: [String: String]

  init() throws {
    let made = try FileManager.default.url(
      for: .itemReplacementDirectory, in: .userDomainMask, appropriateFor: URL(fileURLWithPath: "/tmp"), create: true)
    base = made.resolvingSymlinksInPath().path
    work = base + "/work"
    try FileManager.default.createDirectory(atPath: work, withIntermediateDirectories: true)
    chmod(base, 0o755)
    environment = [
      "PATH": Programs.directory + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "HOME": base,
      "CASHER_CACHE_DIR": base + "/cache",
    ]
  }

  deinit { try? FileManager.default.removeItem(atPath: base) }

  func casherfs(_ arguments: String..., in directory: String = "/") throws -> Outcome {
    try run(Programs.casherfs, arguments, in: directory, environment: environment)
  }

  /// A shell's script in the work directory, without acache.
  @discardableResult
  func shell(_ script: String, in directory: String? = nil) throws -> Outcome {
    try run("/bin/sh", ["-c", script], in: directory ?? work, environment: environment)
  }

  /// A shell's script in the work directory under acache.
  @discardableResult
  func acache(_ script: String, options: [String] = [], in directory: String? = nil, input: String? = nil) throws
    -> Outcome
  {
    try run(
      Programs.acache, options + ["--", "/bin/sh", "-c", script], in: directory ?? work, input: input,
      environment: environment)
  }

  func write(_ text: String, to name: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: work + "/" + name))
  }

  /// The content of a file of the work directory; nil when it is not there.
  func read(_ name: String) -> String? {
    FileManager.default.contents(atPath: work + "/" + name).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Hits and misses so far.
  func counts() throws -> Counts {
    let statistics = try casherfs("stats", "--json").json(as: [String: Any].self)
    return Counts(hits: statistics["hits"] as? Int ?? -1, misses: statistics["misses"] as? Int ?? -1)
  }
}

struct Counts: Equatable {
  var hits: Int
  var misses: Int
}

/// Calls `body` in a place whose work directory is mounted, and unmounts it whatever happens.
func withMount(_ options: String..., body: (Place) throws -> Void) throws {
  let place = try Place()
  let mounted = try run(
    Programs.casherfs, ["mount"] + options + [place.work], environment: place.environment)
  try #require(mounted.status == 0, "\(mounted.error)")
  defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
  try body(place)
}
