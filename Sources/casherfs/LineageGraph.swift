import CasherRecord
import CasherStore
import CasherSystem

/// Which run made which file from which files. A file is a path with one content: another content of the same path is
/// another node.
struct LineageGraph {
  struct File: Hashable {
    /// Absolute.
    var path: FilePath
    var digest: Digest
    /// The path below the mount's root; nil outside.
    var inside: FilePath?

    static func == (left: File, right: File) -> Bool { left.path == right.path && left.digest == right.digest }

    func hash(into hasher: inout Hasher) {
      hasher.combine(path)
      hasher.combine(digest)
    }

    /// For people: as short as it is clear.
    var name: FilePath { inside ?? path }
  }

  struct Run {
    var stored: StoredRun
    /// Index of the run around it, when that is in the graph.
    var parent: Int?
    var children: [Int] = []
    /// Indexes of files.
    var inputs: [Int] = []
    var outputs: [Int] = []
  }

  private(set) var files: [File] = []
  /// A parent stands before its children.
  private(set) var runs: [Run] = []
  /// There were more runs than the limit.
  private(set) var isCut = false

  private var fileIndexes: [File: Int] = [:]
  private var runIndexes: [Digest: Int] = [:]

  /// Candidates that are looked at for the run that made a file: many runs may leave the same content.
  private static let makers = 64

  // MARK: what is taken in

  /// The runs given, with bodies, and what they have to do with each other.
  ///
  /// `upstream`: also the runs that made their inputs, and those that made theirs, as far as they are stored, and the
  /// runs that any of them started or was started in; at most `limit` in all. `outside`: with all input files outside
  /// the mount, not only those that a run made.
  init(_ given: [StoredRun], upstream: Bool, outside: Bool, limit: Int, store: Store) throws(StoreError) {
    var known: [Digest: (run: StoredRun, record: RunRecord)] = [:]
    var waiting = given
    var index = 0
    while index < waiting.count {
      let run = waiting[index]
      index += 1
      guard known[run.id] == nil, let record = try? RunRecord(encoded: run.body) else { continue }
      if known.count >= limit {
        isCut = true
        break
      }
      known[run.id] = (run, record)
      guard upstream else { continue }
      var filter = RunFilter()
      filter.parent = run.id
      filter.limit = limit
      waiting += try store.runs(matching: filter, withBodies: true)
      for file in LineageGraph.inputs(of: record, run) {
        if let maker = try LineageGraph.maker(of: file, for: run, store) { waiting.append(maker) }
      }
    }
    if upstream {
      for run in known.values.map(\.run) { try addOuterRuns(of: run, &known, store) }
    }
    insert(known, outside)
  }

  private func addOuterRuns(
    of run: StoredRun, _ known: inout [Digest: (run: StoredRun, record: RunRecord)], _ store: Store
  ) throws(StoreError) {
    var current = run
    while let parent = current.parent, known[parent] == nil, let outer = try store.run(parent),
      let record = try? RunRecord(encoded: outer.body)
    {
      known[parent] = (outer, record)
      current = outer
    }
  }

  /// The newest run before this one that left the file with this content; the innermost of those around it.
  private static func maker(of file: File, for run: StoredRun, _ store: Store) throws(StoreError) -> StoredRun? {
    for candidate in try store.runs(naming: file.digest, limit: makers) {
      guard candidate.id != run.id, candidate.created <= run.created, candidate.id != run.parent else { continue }
      guard let whole = try store.run(candidate.id), let record = try? RunRecord(encoded: whole.body),
        outputs(of: record, whole).contains(file)
      else { continue }
      return whole
    }
    return nil
  }

  /// The newest run that left the file at this path with this content; nil when none is stored.
  static func maker(of path: [FilePath], _ digest: Digest, _ store: Store) throws(StoreError) -> StoredRun? {
    for candidate in try store.runs(naming: digest, limit: makers) {
      guard let whole = try store.run(candidate.id), let record = try? RunRecord(encoded: whole.body),
        outputs(of: record, whole).contains(where: { path.contains($0.path) })
      else { continue }
      return whole
    }
    return nil
  }

  private static func file(_ path: FilePath, _ digest: Digest, _ run: StoredRun) -> File {
    File(path: RunPaths.absolute(path, in: run), digest: digest, inside: path.isAbsolute ? nil : path)
  }

  /// The files that the run's result came from.
  static func inputs(of record: RunRecord, _ run: StoredRun) -> [File] {
    var result: [File] = []
    for (observation, value) in zip(record.observations, record.values) {
      if case .file(let digest, _) = value { result.append(file(observation.path, digest, run)) }
    }
    for condition in record.conditions where condition.role == .decisive {
      if case .file(let digest, _) = condition.before {
        result.append(file(condition.observation.path, digest, run))
      }
    }
    return result
  }

  static func outputs(of record: RunRecord, _ run: StoredRun) -> [File] {
    record.outputs.compactMap { output in
      StoredContent.file(output, of: record).map { file(output.path, $0.digest, run) }
    }
  }

  // MARK: putting it together

  private mutating func insert(_ known: [Digest: (run: StoredRun, record: RunRecord)], _ outside: Bool) {
    let order = known.values.sorted {
      ($0.run.created, $0.run.id.hexadecimal) < ($1.run.created, $1.run.id.hexadecimal)
    }
    // A run is stored after those that it started.
    for (run, _) in order.reversed() {
      runIndexes[run.id] = runs.count
      runs.append(Run(stored: run))
    }
    for index in runs.indices {
      guard let parent = runs[index].stored.parent.flatMap({ runIndexes[$0] }), parent != index else { continue }
      runs[index].parent = parent
      runs[parent].children.append(index)
    }
    // Those that were started first stand first.
    for index in runs.indices { runs[index].children.reverse() }
    let made = Set(order.flatMap { LineageGraph.outputs(of: $0.record, $0.run) })
    for (run, record) in order {
      guard let index = runIndexes[run.id] else { continue }
      runs[index].outputs = unique(LineageGraph.outputs(of: record, run))
      runs[index].inputs = unique(
        LineageGraph.inputs(of: record, run).filter { outside || $0.inside != nil || made.contains($0) })
    }
    for index in runs.indices where !runs[index].children.isEmpty { leaveToChildren(index) }
  }

  /// What a run inside reads or makes is drawn there, and not once more at the run around it.
  private mutating func leaveToChildren(_ index: Int) {
    var inside = runs[index].children
    var (inputs, outputs): (Set<Int>, Set<Int>) = ([], [])
    while let child = inside.popLast() {
      inputs.formUnion(runs[child].inputs)
      outputs.formUnion(runs[child].outputs)
      inside += runs[child].children
    }
    runs[index].inputs.removeAll { inputs.contains($0) || outputs.contains($0) }
    runs[index].outputs.removeAll { outputs.contains($0) }
  }

  private mutating func unique(_ list: [File]) -> [Int] {
    var result: [Int] = []
    for file in list {
      let index = fileIndexes[file] ?? files.count
      if index == files.count {
        fileIndexes[file] = index
        files.append(file)
      }
      if !result.contains(index) { result.append(index) }
    }
    return result
  }
}
