import CasherRecord
import CasherSystem

/// Whether a run that was recorded in a mount elsewhere (`--relocatable`) is an answer in this one.
///
/// What it used outside of its mount it may have named from there, as `../common.mk`: in this mount the same name means
/// another path. An absolute path does not tell how it was named, so what is at both has to be alike.
struct Elsewhere {
  /// The mount that the run was recorded in.
  let recorded: FilePath
  let here: FilePath
  /// The cache's directory: that acache finds its daemon there is nothing that the command does.
  let cache: FilePath

  func isAnswered(by record: RunRecord, value: (Observation) -> Value) -> Bool {
    for (observation, recordedValue) in zip(record.observations, record.values) where !observation.isInside {
      guard let counterpart = counterpart(of: observation.path) else { continue }
      // Of the directories around the mount and the cache that they are there says nothing.
      let isOnTheWay = recorded.isWithin(observation.path) || cache.isWithin(observation.path)
      if isOnTheWay, [.entry, .target, .kind].contains(observation.facet) { continue }
      if counterpart.isAround, recordedValue != .absent { continue }
      var same = observation
      same.path = counterpart.path
      if value(same) != recordedValue { return false }
    }
    // What was written must not be written beside the other mount.
    let written = record.outputs.lazy.map(\.path) + record.conditions.lazy.map(\.observation.path)
    return !written.contains { path in path.isAbsolute && counterpart(of: path).map { !$0.isAround } ?? false }
  }

  private struct Counterpart {
    let path: FilePath
    /// The directory around the recorded mount that both begin in is one around this mount too, so that the path was more
    /// likely named absolutely: what is there is the same to both, what is missing has to be missing in both places.
    let isAround: Bool
  }

  /// What a path outside becomes here when it was named from the mount; nil when it is the same, or begins in the root.
  private func counterpart(of path: FilePath) -> Counterpart? {
    let (mount, names, other) = (recorded.components, path.components, here.components)
    let common = zip(mount, names).prefix { $0 == $1 }.count
    guard common > 0, common < mount.count else { return nil }
    let base = other.dropLast(mount.count - common)
    let counterpart = (base + names.dropFirst(common)).reduce(FilePath("/")) { $0.appending($1) }
    if counterpart == path { return nil }
    return Counterpart(path: counterpart, isAround: other.starts(with: mount.prefix(common)))
  }
}
