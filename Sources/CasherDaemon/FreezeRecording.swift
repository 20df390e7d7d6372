import CasherOverlay
import CasherRecord
import CasherStore
import CasherSystem

/// What a directory was frozen by.
public enum FreezeCause: String, Sendable, CaseIterable {
  /// `casherfs freeze`.
  case freeze
  /// The end of a mount, however it came.
  case unmount
  /// What a killed daemon had left was written.
  case recovery
}

/// Puts on record which results stand in a directory when it is frozen: what the runs that the mount was given had left,
/// and what the freeze before has, as far as it is still so.
struct FreezeRecording: Sendable {
  let mount: FilePath
  let tree: Tree
  let store: Store
  let digester: FileDigester
  let runs: MountRuns

  /// A file changed less than this many nanoseconds ago may change again with the same times (see `FileDigester`).
  private static let granularity: Int64 = 20_000_000

  /// Records the freeze, and gives its number and how many results it has.
  func record(_ cause: FreezeCause) throws(StoreError) -> (id: Int64, results: Int) {
    let recent = runs.all
    var results = Results()
    if let last = try store.lastFreeze(of: mount) { results.add(try? FreezeRecord(encoded: last.body)) }
    for id in recent.runs {
      guard let run = try store.run(id), let record = try? RunRecord(encoded: run.body) else { continue }
      results.add(run, record)
    }
    let record = results.record { isThere($0) }
    let id = try store.insert(
      StoredFreeze(
        mount: mount, created: Clock.now(), cause: cause.rawValue, files: Int64(record.results.count),
        bytes: record.bytes, body: record.encoded))
    runs.forget(recent)
    return (id, record.results.count)
  }

  /// The result as it stands in the tree; nil when it is no longer there.
  private func isThere(_ result: FreezeRecord.Result) -> FreezeRecord.Result? {
    guard let status = (try? tree.status(of: result.path)) ?? nil else { return nil }
    var result = result
    switch result.content {
    case .symlink(let target):
      guard status.type == .symlink, (try? tree.readLink(result.path)) == target else { return nil }
      result.stamp = nil
    case .file(let digest, let size):
      guard status.type == .regular, status.size == size else { return nil }
      let stamp = FreezeRecord.Stamp(status)
      if result.stamp != stamp || result.modified != status.modified {
        let path = result.path
        let found = try? digester.digest(status) { () throws(Errno) in try tree.open(path) }
        guard let found, found.0 == digest else { return nil }
        let isSettled = Clock.now() - max(status.modified, status.changed) > FreezeRecording.granularity
        result.stamp = isSettled && !status.key.isPlaced && found.1.isSameGeneration(as: status) ? stamp : nil
      }
    }
    (result.permissions, result.modified) = (status.permissions, status.modified)
    return result
  }
}

/// Results by path, the latest of each, with the runs that made them.
private struct Results {
  private var makers: [FreezeRecord.Maker] = []
  private var numbers: [Digest: Int] = [:]
  private var found: [FilePath: FreezeRecord.Result] = [:]

  mutating func add(_ record: FreezeRecord?) {
    for result in record?.results ?? [] {
      var result = result
      result.maker = number(of: record?.maker(of: result))
      found[result.path] = result
    }
  }

  mutating func add(_ run: StoredRun, _ record: RunRecord) {
    let maker = number(
      of: FreezeRecord.Maker(run: run.id, command: run.command, directory: run.directory, created: run.created))
    let inner = Set(record.innerRuns)
    for output in record.outputs where !output.path.isAbsolute {
      guard let content = content(of: output) else {
        found[output.path] = nil
        continue
      }
      if let present = found[output.path], present.content == content {
        // It was made within this run, by another: that one tells more.
        if inner.contains(makers[present.maker].run) || makers[present.maker].run == run.id { continue }
      }
      found[output.path] = FreezeRecord.Result(
        path: output.path, content: content, permissions: output.permissions, maker: maker)
    }
  }

  /// Nil for what is no result: directories, special files, what was removed.
  private func content(of output: Output) -> FreezeRecord.Content? {
    switch output.content {
    case .file(let digest, let size, _): .file(digest, size: size)
    case .symlink(let target): .symlink(target: target)
    case .hardLink(let other): found[other]?.content
    case .directory, .fifo, .removed: nil
    }
  }

  private mutating func number(of maker: FreezeRecord.Maker?) -> Int {
    guard let maker else { return 0 }
    if let number = numbers[maker.run] { return number }
    numbers[maker.run] = makers.count
    makers.append(maker)
    return makers.count - 1
  }

  /// What `isThere` gives of the results, with the runs that are needed.
  func record(_ isThere: (FreezeRecord.Result) -> FreezeRecord.Result?) -> FreezeRecord {
    var record = FreezeRecord()
    var kept: [Int: Int] = [:]
    for path in found.keys.sorted() {
      guard let candidate = found[path], var result = isThere(candidate) else { continue }
      if let number = kept[result.maker] {
        result.maker = number
      } else {
        kept[result.maker] = record.makers.count
        record.makers.append(makers[result.maker])
        result.maker = record.makers.count - 1
      }
      record.results.append(result)
    }
    return record
  }
}
