import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem

/// What a run depended on and what it left, when it has ended: its part of a `RunRecord`.
struct Recording {
  var observations: [Observation: Value] = [:]
  var conditions: [Condition] = []
  var outputs: [Output] = []

  /// What a run left, taken when it has no writable handle left and its recorder is frozen: then nothing of the recorder
  /// changes but the digests that are taken later, and the obstacles.
  ///
  /// Reads no content. Throws what forbids storing the run.
  static func begin(
    from recorder: RunRecorder, store: Store, withTimes: Bool, ignores: @escaping (FilePath) -> Bool,
    isOutputOnly: @escaping (FilePath) -> Bool
  ) throws(Uncacheable) -> PendingRecording {
    var builder = RecordingBuilder(
      recorder: recorder, store: store, withTimes: withTimes, ignores: ignores, isOutputOnly: isOutputOnly)
    builder.gather()
    try check(recorder, builder.isFree)
    try builder.takeStatuses()
    try builder.checkLinks()
    return PendingRecording(builder: builder, captures: CaptureQueue(builder.captures))
  }

  /// Nothing of the state before of these paths counts.
  mutating func leaveOutInputs(where isOutputOnly: (FilePath) -> Bool) {
    observations = observations.filter { !isOutputOnly($0.key.path) }
    conditions.removeAll { isOutputOnly($0.observation.path) }
  }

  /// `isFree`: whether another hand may do with a path what it likes.
  static func check(_ recorder: RunRecorder, _ isFree: (FilePath) -> Bool) throws(Uncacheable) {
    let obstacle = recorder.obstacles.first { obstacle in
      if case .inputChanged(let path) = obstacle { return !isFree(path) }
      if case .inputUnreadable(let path, _) = obstacle { return !isFree(path) }
      return true
    }
    if let obstacle { throw obstacle }
  }
}

/// A run's recording whose content is still to be digested and stored.
struct PendingRecording {
  fileprivate var builder: RecordingBuilder
  /// What is to be read, in which order; others that want to change one of the files wait here.
  let captures: CaptureQueue

  /// Takes all content into the store, and with it the values of all observations. `captures` is not over after that:
  /// whoever stores the record ends it.
  mutating func complete() throws(Uncacheable) -> Recording {
    while let capture = captures.next() {
      defer { captures.didTake(capture) }
      for touched in capture.inputs { builder.recorder.pin(touched) }
      for path in capture.outputs { try builder.capture(path) }
    }
    try Recording.check(builder.recorder, builder.isFree)
    try builder.build()
    // Another hand may have changed an input or an output while these were read.
    try Recording.check(builder.recorder, builder.isFree)
    return builder.recording
  }
}
