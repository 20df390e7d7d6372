import CasherRecord
import CasherStore
import CasherSystem

/// Between paths as a user writes them and as runs record them: relative to the mount's root inside, absolute outside.
enum RunPaths {
  /// The absolute paths that a user may mean: the one written, and the one that it leads to with all symlinks followed
  /// but a last one.
  static func absolute(_ given: FilePath) -> [FilePath] {
    let current = (try? FilePath.currentDirectory()) ?? "/"
    let written = normalized(given.isAbsolute ? given : current.appending(given))
    guard written.bytes.count > 1, let parent = try? written.parent.resolved() else { return [written] }
    let resolved = parent.appending(written.lastComponent)
    return resolved == written ? [written] : [written, resolved]
  }

  /// Without empty names, `.` and `..`.
  private static func normalized(_ path: FilePath) -> FilePath {
    var names: [FilePath] = []
    for name in path.components where name != "." && !name.isEmpty {
      if name == ".." { _ = names.popLast() } else { names.append(name) }
    }
    return names.reduce(FilePath("/")) { $0.appending($1) }
  }

  /// The absolute path of what a run recorded.
  static func absolute(_ recorded: FilePath, in run: StoredRun) -> FilePath {
    if recorded.isAbsolute { return recorded }
    return recorded.isEmpty ? run.mount : run.mount.appending(recorded)
  }

  /// The output that the user names: as `show` prints it, or by a path that leads there.
  static func output(_ given: FilePath, of record: RunRecord, _ run: StoredRun) -> Output? {
    if let output = record.outputs.first(where: { $0.path == given }) { return output }
    let paths = absolute(given)
    return record.outputs.first { paths.contains(absolute($0.path, in: run)) }
  }

  /// Whether the run's result depends on what is at one of the absolute paths, or below it.
  static func reads(_ record: RunRecord, _ run: StoredRun, anyOf paths: [FilePath]) -> Bool {
    func fits(_ observation: Observation) -> Bool {
      switch observation.facet {
      case .ownership, .kind, .replaceable: return false
      case .entry, .listing, .bytecode, .attributes, .stamp, .target, .identity, .matching: break
      }
      let path = absolute(observation.path, in: run)
      return paths.contains { path.isWithin($0) }
    }
    return record.observations.contains(where: fits)
      || record.conditions.contains { $0.role == .decisive && fits($0.observation) }
  }
}
