import CasherSystem
import Glibc
import Synchronization

/// A second copy of a placement journal, outside of the store: when the store's directory is lost, it still tells what
/// was shown and where.
///
/// It is there while something is placed, and counts only where the journal itself is not, or has lost its end: that one
/// is always written first, and emptied last. What cannot be written is given up, since a copy that lacks a step is worse than none.
public final class JournalCopy: Sendable {
  private let path: FilePath
  private let state = Mutex(State())

  private struct State {
    var file: FileDescriptor?
    var isGivenUp = false
  }

  /// The copy at an absolute path; its directory is made when it is needed.
  public init(at path: FilePath) { self.path = path }

  deinit { state.withLock { $0.file?.close() } }

  /// What it holds; nil when it is not there or holds nothing.
  var bytes: [UInt8]? {
    guard let file = try? FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW) else { return nil }
    defer { file.close() }
    guard let bytes = try? file.readAll(), !bytes.isEmpty else { return nil }
    return bytes
  }

  /// Whether there is one that holds something.
  public var isThere: Bool {
    let status = try? FileDescriptor.workingDirectory.statusIfPresent(of: path)
    return (status ?? nil).map { $0.size > 0 } ?? false
  }

  /// Adds what the journal, of `size` bytes before, has just been given.
  func append(_ bytes: [UInt8], at size: Int64, of journal: FileDescriptor) {
    attempt { state throws(Errno) in
      if let file = state.file {
        try file.seek(to: size)
        try file.writeAll(bytes)
        return
      }
      let before = try FileDescriptor.open(journal.procPath, O_RDONLY)
      defer { before.close() }
      state.file = try write(Array(try before.readAll(limit: Int(clamping: size))) + bytes)
    }
  }

  /// Makes these bytes all that it holds.
  func replace(with bytes: [UInt8]) {
    state.withLock { $0.isGivenUp = false }
    attempt { state throws(Errno) in
      let file = try write(bytes)
      state.file?.close()
      state.file = file
    }
  }

  /// To be called before the journal, in `directory`, is emptied.
  func remove(before directory: FilePath) {
    state.withLock { state in
      state.file?.close()
      state = State()
      guard (try? FileDescriptor.workingDirectory.remove(path)) != nil else { return }
      // One filesystem keeps the order of the two by itself. With two, a loss of power must not leave the copy alone.
      let devices = [path.parent, directory].map { try? FileDescriptor.workingDirectory.status(of: $0).key.device }
      if devices[0] != devices[1] { try? PlacementJournal.synchronizeDirectory(of: path) }
    }
  }

  private func write(_ bytes: [UInt8]) throws(Errno) -> FileDescriptor {
    try path.parent.makeDirectories()
    // Not synced: it is not what a loss of power is survived with.
    return try PlacementJournal.write(bytes, inPlaceOf: path, synchronizing: false)
  }

  private func attempt(_ body: (inout State) throws(Errno) -> Void) {
    state.withLock { state in
      if state.isGivenUp { return }
      do throws(Errno) { try body(&state) } catch {
        state.file?.close()
        state = State(isGivenUp: true)
        try? FileDescriptor.workingDirectory.remove(path)
      }
    }
  }
}
