import CasherOverlay
import CasherRecord
import CasherSystem

/// What a nested call that was a hit depended on and put back: the run around it depends on the same, and it has made
/// the same.
extension RunRecorder {
  /// Notes an observation of the hit, from the state that is there now.
  func replayObserves(_ observation: Observation, value: Value) {
    guard observation.isInside else {
      if outside[observation] == nil { outside[observation] = value }
      return
    }
    switch observation.facet {
    case .listing, .matching:
      guard let status = try? tree.status(of: observation.path), status.type == .directory else { return }
      listed(.located(status.key, observation.path))
    case .attributes:
      guard let parent = locate(observation.path.parent), !observation.path.isEmpty else { return }
      attributesRead(observation.path.lastComponent, in: parent)
    default:
      guard let touched = walk(to: observation.path) else { return }
      observe(touched, RunRecorder.facets(observation.facet))
      pin(touched)
    }
  }

  /// Before an output of the hit is put in its place.
  func willReplace(_ name: FilePath, in directory: DirectoryReference, _ facets: Touched.Facets) {
    let touched = touch(directory, name)
    observe(touched, facets)
    if let status = touched.before.status { pinNames(of: status.key) }
    pin(touched)
  }

  /// After it was put there.
  func didReplace(_ name: FilePath, in directory: DirectoryReference, status: FileStatus?, modified: Int64?) {
    let touched = touch(directory, name)
    touched.isProduced = true
    touched.isRewritten = true
    touched.modified = modified
    guard let status else {
      if let old = touched.before.status, old.type == .directory { forgetDirectory(old.key) }
      return
    }
    if let modified { givenTimes[status.key] = modified }
    if byInode[status.key] == nil { producedInodes.insert(status.key) }
    if status.type != .directory, status.links > 1 { willChangeInPlace(status.key) }
    if status.type == .directory, originalPaths[status.key] == nil {
      born.insert(status.key)
      gone.remove(status.key)
      homes[status.key] = touched.key
    }
  }

  static func facets(_ facet: Facet) -> Touched.Facets {
    switch facet {
    case .ownership: .ownership
    case .kind: .kind
    case .replaceable: .replaceable
    case .entry, .target, .listing, .bytecode, .attributes, .stamp, .identity, .matching: .probed
    }
  }

  /// Touches every directory on the way, as looking the path up would; nil for the root and where the way ends early.
  private func walk(to path: FilePath) -> Touched? {
    var directory = FilePath([])
    var result: Touched?
    for name in path.components {
      guard let reference = locate(directory) else { return nil }
      if let result { observe(result, .probed) }
      result = touch(reference, name)
      directory = directory.appending(name)
    }
    return result
  }

  private func locate(_ path: FilePath) -> DirectoryReference? {
    guard let status = try? tree.status(of: path), status.type == .directory else { return nil }
    return .located(status.key, path)
  }
}
