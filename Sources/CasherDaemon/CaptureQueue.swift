import CasherSystem

/// One file whose content a run's record needs.
struct Capture: @unchecked Sendable {  // of a frozen recorder, whose names are changed by who captures alone
  let inode: InodeKey
  /// Bytes.
  let size: Int64
  /// The names under which the run read it.
  var inputs: [Touched] = []
  /// The paths at which the run left it.
  var outputs: [FilePath] = []
}

/// The files that are read into the store after a run has ended, one after the other.
///
/// acache need not wait for it. Whoever is about to change one of the files does: that file is read next.
final class CaptureQueue: Sendable {
  private struct State: Sendable {
    var waiting: [InodeKey: Capture]
    /// The keys of `waiting` in the order in which nobody is in a hurry, backwards.
    var order: [InodeKey]
    var urgent: [InodeKey] = []
    var current: InodeKey?
    var taken: Set<InodeKey> = []
    var isOver = false

    init(_ captures: [Capture]) {
      waiting = Dictionary(captures.map { ($0.inode, $0) }, uniquingKeysWith: { first, _ in first })
      // The small ones first: so most of them are done with when the first writer comes.
      order = captures.sorted { $0.size > $1.size }.map(\.inode)
    }
  }

  private let state: Monitor<State>
  /// How many files there are to read, and how many bytes they have.
  let files: Int
  let bytes: Int64

  init(_ captures: [Capture]) {
    files = captures.count
    bytes = captures.reduce(0) { $0 &+ $1.size }
    state = Monitor(State(captures))
  }

  /// The next file to read; nil when there is none left.
  func next() -> Capture? {
    state.withLock { state in
      while let inode = state.urgent.popLast() ?? state.order.popLast() {
        guard let capture = state.waiting.removeValue(forKey: inode) else { continue }
        state.current = inode
        return capture
      }
      return nil
    }
  }

  func didTake(_ capture: Capture) {
    state.update { state in
      state.current = nil
      state.taken.insert(capture.inode)
    }
  }

  /// The record is complete, or will never be.
  func end() { state.update { $0.isOver = true } }

  /// Waits until the content of one file has been read. False when the file is not one of those to read.
  func wait(for inode: InodeKey) -> Bool {
    state.wait { state -> Bool? in
      if state.isOver || state.taken.contains(inode) { return true }
      if state.current == inode { return nil }
      guard state.waiting[inode] != nil else { return false }
      if state.urgent.last != inode { state.urgent.append(inode) }
      return nil
    } ?? true
  }

  /// Waits until the record is complete.
  func waitUntilOver() { _ = state.wait { $0.isOver ? true : nil } }
}
