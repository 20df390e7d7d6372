import CasherRecord
import CasherStore
import CasherSystem

/// The inputs that a call declares (`--input`), as they are before its command runs.
///
/// They are held like what the command reads itself, except that nobody sees it read them: so they have to be the same
/// when it has ended, but for what it has produced itself.
struct DeclaredInputs {
  /// What a directory held.
  private struct Listed {
    let observation: Observation
    let entries: [(name: FilePath, type: FileType)]
  }

  private let tree: Tree
  private let digester: FileDigester
  private let ignores: (FilePath) -> Bool
  private let pattern: [UInt8]?
  private let expression: RegularExpression?
  private(set) var values: [Observation: Value] = [:]
  private var directories: [Listed] = []

  init(_ options: CallOptions, tree: Tree, digester: FileDigester) {
    self.tree = tree
    self.digester = digester
    ignores = { options.ignores($0) || options.isOutputOnly($0) }
    pattern = options.inputPattern
    expression = pattern.flatMap { try? RegularExpression($0) }
    for path in options.inputs { add(path) }
  }

  private mutating func add(_ path: FilePath) {
    let status = try? tree.status(of: path)
    guard let status, status.type == .directory else {
      note(Observation(path: path, facet: .entry))
      return
    }
    addDirectory(path)
  }

  private mutating func addDirectory(_ path: FilePath) {
    let entries = ((try? tree.entries(of: path)) ?? []).filter { !ignores(path.appending($0.name)) }
    directories.append(
      Listed(
        observation: Observation(path: path, facet: pattern == nil ? .listing : .matching),
        entries: entries.map { ($0.name, $0.type) }))
    for entry in entries {
      let child = path.appending(entry.name)
      if entry.type == .directory {
        addDirectory(child)
      } else if expression?.isFound(in: entry.name.bytes) ?? true {
        note(Observation(path: child, facet: .entry))
      }
    }
  }

  private mutating func note(_ observation: Observation) {
    values[observation] = Evaluator.evaluate(observation, tree, digester)
  }

  /// Tells the run around the call's that it depends on the same.
  func note(in run: Run) {
    if values.isEmpty, directories.isEmpty { return }
    for outer in run.lineage {
      outer.record { recorder in
        for (observation, value) in values { recorder.replayObserves(observation, value: value) }
        for directory in directories { recorder.replayObserves(directory.observation, value: .absent) }
      }
    }
  }

  /// Adds them to what the run depended on. Throws when one has changed by another hand than the run's.
  func merge(into recording: inout Recording) throws(Uncacheable) {
    let produced = Set(recording.outputs.map(\.path))
    for (observation, before) in values {
      let after = Evaluator.evaluate(observation, tree, digester)
      if produced.contains(observation.path) {
        recording.conditions.append(Condition(observation, before: before, after: after, role: .decisive))
      } else if after != before {
        throw .inputChanged(observation.path)
      } else {
        recording.observations[observation] = before
      }
    }
    for directory in directories { try merge(directory, produced, into: &recording) }
    recording.conditions.sort {
      ($0.observation.path, $0.observation.facet.rawValue) < ($1.observation.path, $1.observation.facet.rawValue)
    }
  }

  /// Names that the run has produced are left out of the listing and held by themselves.
  private func merge(
    _ directory: Listed, _ produced: Set<FilePath>, into recording: inout Recording
  ) throws(Uncacheable) {
    let path = directory.observation.path
    let present = (try? tree.entries(of: path)) ?? []
    let names = Set(present.map(\.name)).union(directory.entries.map(\.name))
    let own = names.filter { produced.contains(path.appending($0)) }
    let except = names.filter { own.contains($0) || ignores(path.appending($0)) }.sorted()
    let observation = Observation(
      path: path, facet: directory.observation.facet, except: (pattern.map { [FilePath($0)] } ?? []) + except)
    let before = Value.listing(Evaluator.listingDigest(directory.entries, of: observation))
    if produced.contains(path) {
      recording.conditions.append(
        Condition(
          observation, before: before, after: Evaluator.evaluate(observation, tree, digester), role: .decisive))
    } else if Evaluator.evaluate(observation, tree, digester) != before {
      throw .inputChanged(path)
    } else {
      recording.observations[observation] = before
    }
    for name in own.sorted() where expression?.isFound(in: name.bytes) ?? true {
      let kind = Observation(path: path.appending(name), facet: .kind)
      let was = directory.entries.first { $0.name == name }.map { Value.kind($0.type) } ?? .absent
      recording.conditions.append(
        Condition(kind, before: was, after: Evaluator.evaluate(kind, tree, digester), role: .decisive))
    }
  }
}
