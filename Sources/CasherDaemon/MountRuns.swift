import CasherSystem
import Glibc
import Synchronization

/// The runs whose results a mount was given since it was last frozen, made or replayed, in that order.
///
/// They are in a file, so that they outlive a killed daemon: their ids one after the other, each appended by one write.
/// What cannot be written is known to this process alone.
final class MountRuns: Sendable {
  private let path: FilePath
  private let state: Mutex<State>

  private struct State {
    var file: FileDescriptor?
    var ids: [Digest] = []
    var distinct: Set<Digest> = []
    /// How often entries were left out.
    var era = 0
  }

  /// Entries, to be forgotten when what they say is on record.
  struct Taken {
    /// Each run once, where it was last.
    let runs: [Digest]
    fileprivate let entries: Int
    fileprivate let era: Int
  }

  /// So many entries more than there are runs are let be before the file is written anew.
  private static let slack = 1024
  private static let entrySize = 32

  init(in directory: FilePath) {
    path = MountRuns.path(in: directory)
    var state = State()
    state.file = try? FileDescriptor.open(path, O_RDWR | O_CREAT | O_APPEND, mode: 0o600)
    state.ids = state.file.flatMap { try? $0.readAll() }.map(MountRuns.parse) ?? []
    state.distinct = Set(state.ids)
    // An entry that was not completed would shift what follows it.
    try? state.file?.truncate(to: Int64(state.ids.count * MountRuns.entrySize))
    self.state = Mutex(state)
  }

  deinit { state.withLock { $0.file?.close() } }

  private static func path(in directory: FilePath) -> FilePath { directory.appending("runs") }

  /// Whether the daemon of a mount left word of runs that no freeze has recorded.
  static func hasAny(in directory: FilePath) -> Bool {
    let status = try? FileDescriptor.workingDirectory.statusIfPresent(of: path(in: directory))
    return (status ?? nil).map { $0.size >= Int64(entrySize) } ?? false
  }

  private static func parse(_ bytes: [UInt8]) -> [Digest] {
    bytes.withUnsafeBytes { buffer in
      (0..<buffer.count / entrySize).map { index in
        func word(_ position: Int) -> UInt64 {
          UInt64(
            bigEndian: buffer.loadUnaligned(fromByteOffset: index * entrySize + position * 8, as: UInt64.self))
        }
        return Digest(words: (word(0), word(1), word(2), word(3)))
      }
    }
  }

  func add(_ run: Digest) {
    state.withLock { state in
      if state.ids.last == run { return }
      state.ids.append(run)
      state.distinct.insert(run)
      if state.ids.count > 2 * state.distinct.count + MountRuns.slack {
        state.ids = MountRuns.latest(state.ids)
        state.era += 1
        rewrite(&state)
      } else {
        try? state.file?.writeAll(run.bytes)
      }
    }
  }

  /// Everything that there is now.
  var all: Taken {
    state.withLock { Taken(runs: MountRuns.latest($0.ids), entries: $0.ids.count, era: $0.era) }
  }

  /// Forgets what was taken, and not what has come since. Where entries were left out meanwhile, all stay: what is
  /// recorded twice does no harm.
  func forget(_ taken: Taken) {
    state.withLock { state in
      guard taken.era == state.era else { return }
      state.era += 1
      state.ids.removeFirst(taken.entries)
      state.distinct = Set(state.ids)
      rewrite(&state)
    }
  }

  private static func latest(_ ids: [Digest]) -> [Digest] {
    var seen: Set<Digest> = []
    return Array(ids.reversed().filter { seen.insert($0).inserted }.reversed())
  }

  private func rewrite(_ state: inout State) {
    try? state.file?.truncate(to: 0)
    if !state.ids.isEmpty { try? state.file?.writeAll(state.ids.flatMap(\.bytes)) }
  }
}
