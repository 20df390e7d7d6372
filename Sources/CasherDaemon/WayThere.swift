import CasherRecord
import CasherSystem

/// The directories and symlinks that a tracer has told, and that lead there: it names what was used, and neither what was
/// passed on the way nor which inode it was. Where another has moved or exchanged one of these while the command ran, other
/// files stand at the same paths.
struct WayThere {
  private let reader: TreeReader
  /// When the run began, nanoseconds since 1970.
  private let started: Int64
  private var own: Set<FilePath> = []
  private var checked: Set<FilePath> = ["/"]

  init(reader: TreeReader, started: Int64) {
    self.reader = reader
    self.started = started
  }

  /// The command itself has changed what stands at the path.
  mutating func leaveOut(_ path: FilePath) { own.insert(path) }

  /// Throws `inputChanged` with what was moved on the way to `path`, or at it.
  mutating func check(_ path: FilePath) throws(Uncacheable) {
    var hasLink = false
    for place in new(path) {
      if own.contains(place) { return }
      guard let status = (try? reader.status(of: place)) ?? nil, status.type == .directory || status.type == .symlink
      else { continue }
      if status.type == .symlink { hasLink = true }
      // A change of a directory's names moves both times; its own renaming only that of the inode.
      if status.changed >= started, status.type == .symlink || status.changed != status.modified {
        throw .inputChanged(place)
      }
    }
    if hasLink {
      for place in new(OutsideRecording.canonical(path)) where !own.contains(place) {
        guard let status = (try? reader.status(of: place)) ?? nil, status.type == .directory else { continue }
        if status.changed >= started, status.changed != status.modified { throw .inputChanged(place) }
      }
    }
  }

  /// The path and the directories above that were not looked at before, the uppermost first.
  private mutating func new(_ path: FilePath) -> [FilePath] {
    var places: [FilePath] = []
    var place = path
    while !place.isEmpty, checked.insert(place).inserted {
      places.append(place)
      place = place.parent
    }
    return places.reversed()
  }
}
