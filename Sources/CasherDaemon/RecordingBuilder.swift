import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem

/// Everything known of one path: several directories may have stood at the same path during a run.
struct PathState {
  var before: Before
  var facets: Touched.Facets
  var isProduced: Bool
  var isRewritten: Bool
  var modified: Int64?
  /// What was there before the run; nil for what a moved directory brought.
  var touched: Touched?
  var attributes: Value?
  var isCheckedBytecode: Bool
  var mayExtend = false
  var changesAttributes = false
  var isNewInode = false
  /// The run changed the file through another of its names.
  var isChangedElsewhere = false

  /// The content before the run, as soon as it has been taken.
  var digest: Digest? { touched?.digest }
}

/// Makes a recording of what a recorder has seen.
struct RecordingBuilder {
  let recorder: RunRecorder
  let store: Store
  /// Whether modification times are inputs (`--mtime`); those of the run's own outputs never are.
  let withTimes: Bool
  let ignores: (FilePath) -> Bool
  /// Whether a path is no input: then it does not matter that it is as it was before the run, it is an output.
  let isOutputOnly: (FilePath) -> Bool
  var recording = Recording()
  var paths: [FilePath: PathState] = [:]
  /// Content digests of the files that were captured.
  var captured: [FilePath: (Digest, FileStatus)] = [:]
  /// What stood where the run produced something, when it had ended.
  var statuses: [FilePath: FileStatus?] = [:]
  /// Of the outputs that are files, those whose content the run changed.
  var contents: [FilePath: Output.Content] = [:]

  init(
    recorder: RunRecorder, store: Store, withTimes: Bool, ignores: @escaping (FilePath) -> Bool,
    isOutputOnly: @escaping (FilePath) -> Bool
  ) {
    self.isOutputOnly = isOutputOnly
    self.recorder = recorder
    self.store = store
    self.withTimes = withTimes
    self.ignores = ignores
  }

  /// What another hand does to a name that is no input matters only where the run has produced it.
  func isFree(_ path: FilePath) -> Bool {
    ignores(path) || (isOutputOnly(path) && !(paths[path]?.isProduced ?? false))
  }

  // MARK: by path

  mutating func gather() {
    for touched in recorder.entries.values where touched.isObserved && !isIgnored(touched) {
      let present = recorder.presentPath(of: touched.key)
      if let original = touched.path {
        defer { if recorder.isChangedElsewhere(touched) { paths[original]?.isChangedElsewhere = true } }
        merge(original, touched, wasThere: true)
        if touched.isProduced, let present, present != original {
          merge(present, arrivalOf: touched)
        }
      } else if let present {
        merge(present, touched, wasThere: false)
      }
    }
  }

  func isIgnored(_ touched: Touched) -> Bool {
    (touched.path ?? recorder.presentPath(of: touched.key)).map(ignores) ?? false
  }

  mutating func merge(_ path: FilePath, _ touched: Touched, wasThere: Bool) {
    var state = PathState(
      before: touched.before, facets: touched.facets, isProduced: touched.isProduced,
      isRewritten: touched.isRewritten, modified: touched.modified, touched: touched,
      attributes: touched.attributes, isCheckedBytecode: touched.isCheckedBytecode, mayExtend: touched.mayExtend,
      changesAttributes: touched.changesAttributes, isNewInode: touched.isNewInode)
    if let other = paths[path] {
      let (older, newer) = wasThere ? (state, other) : (other, state)
      // What the run learned in a directory that it made or moved there itself tells nothing of what had been there.
      state = older
      state.isProduced = older.isProduced || newer.isProduced
      state.isRewritten = older.isRewritten || newer.isRewritten
      state.modified = newer.modified ?? older.modified
      state.attributes = older.attributes ?? newer.attributes
      state.changesAttributes = older.changesAttributes || newer.changesAttributes
      state.isNewInode = older.isNewInode || newer.isNewInode
    }
    paths[path] = state
  }

  /// What a moved directory brought to a path where nothing of this kind had been.
  mutating func merge(_ path: FilePath, arrivalOf touched: Touched) {
    let state = PathState(
      before: .absent, facets: [.probed], isProduced: true, isRewritten: true, modified: touched.modified, touched: nil,
      attributes: nil, isCheckedBytecode: BytecodeCache.isName(path), isNewInode: true)
    if var other = paths[path] {
      other.isProduced = true
      other.isRewritten = true
      other.isNewInode = true
      other.modified = touched.modified
      paths[path] = other
    } else {
      paths[path] = state
    }
  }

  // MARK: observations, conditions, outputs

  mutating func build() throws(Uncacheable) {
    recording.observations = recorder.outside
    recording.conditions = recorder.outsideConditions
    for path in paths.keys.sorted() {
      guard let state = paths[path], state.isProduced else { continue }
      try produce(path, state)
      // Who appends to a file, or writes into one that may have been there, would have done so to any content.
      let isEmpty = (statuses[path] ?? nil).map { $0.size == 0 } ?? true
      if state.mayExtend { paths[path]?.facets.formUnion(isEmpty ? .probed : .content) }
    }
    for (path, state) in paths {
      if state.isProduced || state.isChangedElsewhere { try condition(path, state) } else { try observe(path, state) }
    }
    addListings()
    addIdentities()
    linkOutputs()
    recording.outputs.append(contentsOf: recorder.outsideOutputs)
    recording.outputs.sort(by: Recording.placingOrder)
    recording.conditions.sort {
      ($0.observation.path, $0.observation.facet.rawValue) < ($1.observation.path, $1.observation.facet.rawValue)
    }
  }
}
