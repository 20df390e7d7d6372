import CasherRecord
import CasherSystem

/// The order in which a hit's outputs are put in place, but for those that are placed as blobs, all in one step.
///
/// What a command moved has to be in its new place before it goes from the old one, whatever happens in between. So names
/// that are new come first, then the placed files, then what takes another's place, then removals.
struct PlacingSteps {
  struct Step {
    let output: Output
    let directory: OpenDirectory
    /// What stood in lower at the name.
    let former: FileStatus?
    let isNew: Bool
  }

  /// What comes after the placed files.
  private(set) var late: [Step] = []
  private var latePaths: Set<FilePath> = []
  private var made: [Step] = []

  /// The outputs, in three parts: what is put in place first, as far as it is new, with what has to go for a file that is
  /// placed; what has to go from a directory for something else to stand in its place, after the placed files; what goes last.
  static func order(_ outputs: [Output]) -> (first: [Output], middle: [Output], last: [Output]) {
    var (files, others): (Set<FilePath>, Set<FilePath>) = ([], [])
    for output in outputs where output.content.isDirectory == false {
      if case .file = output.content { files.insert(output.path) } else { others.insert(output.path) }
    }
    var result: (first: [Output], middle: [Output], last: [Output]) = ([], [], [])
    for output in outputs {
      if output.content.isDirectory != nil || isWithin(files, output.path) {
        result.first.append(output)
      } else if isWithin(others, output.path) {
        result.middle.append(output)
      } else {
        result.last.append(output)
      }
    }
    return result
  }

  private static func isWithin(_ paths: Set<FilePath>, _ path: FilePath) -> Bool {
    var path = path.parent
    while !path.isEmpty, path != "/" {
      if paths.contains(path) { return true }
      path = path.parent
    }
    return false
  }

  /// Whether the step is to be made now; otherwise it is one of the late ones.
  mutating func take(_ step: Step) -> Bool {
    if step.output.content.isDirectory == false, !step.isNew || isLinkOfLate(step.output) {
      late.append(step)
      latePaths.insert(step.output.path)
      return false
    }
    if step.isNew { made.append(step) }
    return true
  }

  /// The steps that take away what was made at new names.
  var undoing: [Step] {
    made.reversed().compactMap { step in
      guard let isDirectory = step.output.content.isDirectory else { return nil }
      let removal = Output(path: step.output.path, content: .removed(wasDirectory: isDirectory), permissions: 0)
      return Step(output: removal, directory: step.directory, former: nil, isNew: false)
    }
  }

  private func isLinkOfLate(_ output: Output) -> Bool {
    if case .hardLink(let other) = output.content { latePaths.contains(other) } else { false }
  }
}

extension Output.Content {
  /// Nil for what is removed.
  fileprivate var isDirectory: Bool? {
    switch self {
    case .directory: true
    case .file, .symlink, .fifo, .hardLink: false
    case .removed: nil
    }
  }
}
