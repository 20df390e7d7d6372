import CasherRecord
import CasherStore
import CasherSystem
import Glibc

/// Where a file comes from: the run that made it, as far as it is known, and whether it is still what that run left.
struct Provenance {
  /// What stands at the path now.
  enum Present: Equatable {
    case file(Digest, size: Int64, permissions: UInt32)
    case symlink(target: FilePath)
    case directory
    case special
    case absent
  }

  enum State: String {
    case same
    /// Something else stands there now.
    case changed
    /// Nothing stands there now.
    case gone
  }

  struct Made {
    var run: StoredRun
    var record: RunRecord
    var output: Output
  }

  enum Origin {
    case run(Made)
    /// Known from a freeze alone: the run is no longer stored.
    case forgotten(FreezeRecord.Maker, FreezeRecord.Result, StoredFreeze)
  }

  /// Absolute.
  let path: FilePath
  let present: Present
  private(set) var origin: Origin?
  private(set) var state = State.same
  /// Runs around the one that made the file, innermost first.
  private(set) var around: [StoredRun] = []
  /// The run that last left the present content, when it is known from another path, and that path.
  private(set) var elsewhere: (made: Made, path: FilePath)?

  /// Candidates that are looked at: many runs may leave the same content, or leave something at the same path.
  private static let limit = 64

  /// Nil when nothing is known of the file.
  init(of given: FilePath, in store: Store) throws(Failure) {
    let paths = RunPaths.absolute(given)
    path = paths.last ?? given
    present = try Provenance.look(path)
    let search = MakerSearch(paths: paths, store: store, limit: Provenance.limit)
    let present = present
    let found = try StoreAccess.reading { () throws(StoreError) in
      let left = try search.runs(leaving: Provenance.digest(of: present))
      if let made = search.innermost(left.filter { Provenance.fits($0, present) }) { return Origin?.some(.run(made)) }
      return nil
    }
    origin = found
    if found == nil { origin = try search.frozen { Provenance.fits($0, present) } }
    if origin == nil {
      let past = try changed(search)
      if past.0 != nil { (origin, state) = past }
      if case .file(let digest, _, _) = present {
        elsewhere = try StoreAccess.reading { () throws(StoreError) in try search.elsewhere(digest) }
      }
    }
    if case .run(let made) = origin {
      around = try StoreAccess.reading { () throws(StoreError) in try Provenance.runs(around: made.run, store) }
    }
  }

  /// Whether anything is known.
  var isKnown: Bool { origin != nil || elsewhere != nil }

  /// The run that last left something else at the path.
  private func changed(_ search: MakerSearch) throws(Failure) -> (Origin?, State) {
    let state: State = present == .absent ? .gone : .changed
    let made = try StoreAccess.reading { () throws(StoreError) in
      var left = try search.runs(leaving: nil)
      if state == .changed {
        left.removeAll { if case .removed = $0.output.content { true } else { false } }
      }
      return search.innermost(left)
    }
    if let made { return (.run(made), state) }
    return (try search.frozen { _ in true }, state)
  }

  private static func look(_ path: FilePath) throws(Failure) -> Present {
    do throws(Errno) {
      guard let status = try FileDescriptor.workingDirectory.statusIfPresent(of: path) else { return .absent }
      switch status.type {
      case .symlink: return .symlink(target: try FileDescriptor.workingDirectory.readLink(path))
      case .directory: return .directory
      case .regular:
        let file = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        defer { file.close() }
        let digest = try SHA256.digest(of: file).digest
        return .file(digest, size: status.size, permissions: status.permissions)
      default: return .special
      }
    } catch { throw Failure(.failure, "\(path) cannot be read: \(error).") }
  }

  private static func digest(of present: Present) -> Digest? {
    if case .file(let digest, _, _) = present { return digest }
    return nil
  }

  private static func fits(_ made: Made, _ present: Present) -> Bool {
    switch (made.output.content, present) {
    case (.symlink(let target), .symlink(let now)): target == now
    case (.directory, .directory), (.fifo, .special): true
    case (_, .file(let digest, _, _)): StoredContent.file(made.output, of: made.record)?.digest == digest
    default: false
    }
  }

  private static func fits(_ result: FreezeRecord.Result, _ present: Present) -> Bool {
    switch (result.content, present) {
    case (.symlink(let target), .symlink(let now)): target == now
    case (.file(let digest, _), .file(let now, _, _)): digest == now
    default: false
    }
  }

  private static func runs(around run: StoredRun, _ store: Store) throws(StoreError) -> [StoredRun] {
    var result: [StoredRun] = []
    var current = run
    while result.count < limit,
      let next = try store.runs(around: current.id).filter({ $0.created >= current.created }).min(by: {
        $0.created < $1.created
      }), next.id != run.id, !result.contains(where: { $0.id == next.id })
    {
      result.append(next)
      current = next
    }
    return result
  }
}
