import CasherSystem

/// Who has an output file open, as far as this process can tell.
///
/// A shell may open a command's output for itself and start the command then (dash), so that it has the file too. It does
/// not write to it while it waits for the command and has no other child.
struct OpenFileHolders {
  /// The path as it was opened: the same for all who share the open file. Asking for it asks no filesystem.
  private let path: FilePath
  /// The processes above this one that have the file and wait.
  private var waiting: Set<Int32> = []

  /// Processes above this one that are looked at.
  private static let ancestorLimit = 32
  /// How often, a millisecond apart, a parent is looked at that does not wait yet.
  private static let patience = 10

  /// Nil when someone may write to the file besides this process, which has it as `descriptors`, and what it starts.
  init?(of file: FileDescriptor, as descriptors: [FileDescriptor]) {
    guard let path = try? FileDescriptor.workingDirectory.readLink(file.procPath), !OpenFileHolders.haveChildren()
    else {
      return nil
    }
    self.path = path
    let ancestors = ProcessEntry.ancestors(limit: OpenFileHolders.ancestorLimit)
    // A parent that may not be looked at may have anything.
    guard let parent = ancestors.first, !parent.descriptors.isEmpty else { return nil }
    var child = ProcessEntry.ownIdentifier
    for ancestor in ancestors {
      guard holds(ancestor) else { break }
      guard OpenFileHolders.waits(ancestor, for: child) else { return nil }
      waiting.insert(ancestor.process)
      child = ancestor.process
    }
    guard areAll(besides: descriptors) else { return nil }
  }

  /// Whether none of the session has the file but those who wait, and this process as `own`.
  func areAll(besides own: [FileDescriptor]) -> Bool {
    !ProcessEntry.ofSession().contains { entry in
      !waiting.contains(entry.process) && holds(entry, besides: entry.isThisProcess ? own : [])
    }
  }

  private func holds(_ entry: ProcessEntry, besides own: [FileDescriptor] = []) -> Bool {
    entry.descriptors.contains { number in
      !own.contains { $0.rawValue == number } && entry.target(of: number) == path
    }
  }

  private static func waits(_ parent: ProcessEntry, for child: Int32) -> Bool {
    for attempt in 0..<patience {
      if parent.waits(forOnly: child) { return true }
      var nothing: [PollItem] = []
      if attempt + 1 < patience { _ = try? PollItem.wait(&nothing, timeout: 1) }
    }
    return false
  }

  /// Whether this process has children that it did not start: a shell's, which it has become.
  private static func haveChildren() -> Bool {
    while true {
      switch CommandSignals.nextChange() {
      case .noChildren: return false
      case .none: return true
      case .ended, .stopped: continue
      }
    }
  }
}
