import CasherDaemon
import CasherStore
import CasherSystem

/// Compares stored runs with the files there are now: through the daemon where the directory is mounted with the same
/// cache, else by looking at the files.
struct ChangeLookup {
  let store: Store

  /// Runs that are asked about at once.
  private static let batch = 64

  /// The changes by run asked for; none for runs whose directory is not there or whose record is damaged.
  func changes(of runs: [StoredRun], nearest: Bool) throws(Failure) -> [Digest: RunChange] {
    var result: [Digest: RunChange] = [:]
    var byMount: [FilePath: [Digest]] = [:]
    for run in runs { byMount[run.mount, default: []].append(run.id) }
    for (mount, ids) in byMount {
      var rest = ids[...]
      if let socket = socket(of: mount) {
        while !rest.isEmpty, let changes = ask(Array(rest.prefix(ChangeLookup.batch)), nearest, at: socket) {
          result.merge(changes) { first, _ in first }
          rest = rest.dropFirst(ChangeLookup.batch)
        }
      }
      guard !rest.isEmpty, var detector = try? ChangeDetector(directory: mount, store: store) else { continue }
      defer { detector.close() }
      for id in rest {
        result[id] = try StoreAccess.reading { () throws(StoreError) in
          try detector.change(of: id, nearest: nearest)
        }
      }
    }
    return result
  }

  /// Where the daemon listens that serves the directory with this cache.
  private func socket(of mount: FilePath) -> FilePath? {
    guard let socket = try? DaemonConnection.socket(servingDirectory: mount) else { return nil }
    return socket.isWithin(store.directory) ? socket : nil
  }

  /// Nil when the daemon does not answer.
  private func ask(_ ids: [Digest], _ nearest: Bool, at socket: FilePath) -> [Digest: RunChange]? {
    guard let answer = try? DaemonConnection.ask(ChangeRequest.text(of: ids, nearest: nearest), at: socket),
      answer.refusal == nil, answer.status == 0, answer.lines.count == ids.count
    else { return nil }
    var result: [Digest: RunChange] = [:]
    for (id, line) in zip(ids, answer.lines) { result[id] = ChangeRequest.change(line) }
    return result
  }
}
