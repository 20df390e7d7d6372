import CasherSystem
import Glibc

/// What a verification found.
public struct VerificationReport: Hashable, Sendable {
  public enum Problem: Hashable, Sendable {
    case missingBlob(Digest)
    case truncatedBlob(Digest)
    case corruptBlob(Digest)
    /// A file in the store that nothing knows.
    case orphan(FilePath)
    /// A run that names blobs that cannot be had, or that cannot be decoded.
    case brokenRun(Digest)
    case damagedPathSet(Digest)
    /// The database itself; SQLite's words.
    case database(String)
    /// A count or a sum that is not what it should be.
    case miscount(String)
  }

  public var problems: [Problem] = []
  public var checkedBlobs: Int64 = 0
  public var checkedRuns: Int64 = 0
  /// Bytes read from blobs.
  public var checkedBytes: Int64 = 0
  /// Problems that were dropped or mended.
  public var repaired: Int64 = 0

  public init() {}

  public var isSound: Bool { problems.isEmpty }
}

extension VerificationReport.Problem: CustomStringConvertible {
  public var description: String {
    switch self {
    case .missingBlob(let digest): "blob \(digest.hexadecimal) is missing"
    case .truncatedBlob(let digest): "blob \(digest.hexadecimal) has the wrong size"
    case .corruptBlob(let digest): "blob \(digest.hexadecimal) has the wrong content"
    case .orphan(let path): "\(path) belongs to nothing"
    case .brokenRun(let id): "run \(id.hexadecimal) cannot be replayed"
    case .damagedPathSet(let digest): "path set \(digest.hexadecimal) is damaged"
    case .database(let words): "the database is damaged: \(words)"
    case .miscount(let what): "\(what) is not what it should be"
    }
  }
}

extension Store {
  /// Nanoseconds since its last change for which a file that nothing knows may still be on its way to a row.
  public static let orphanAge: Int64 = 3_600_000_000_000

  /// Reads everything and compares it with what it should be; with `repair` drops what cannot be trusted: blobs and the
  /// runs that name them, records that cannot be decoded, files that nothing knows, and sets counts right.
  public func verify(
    repair: Bool = false, orphanAge: Int64 = orphanAge, progress: ((_ done: Int64, _ total: Int64) -> Void)? = nil
  ) throws(StoreError) -> VerificationReport {
    try flush()
    var report = VerificationReport()
    try verifyDatabase(&report)
    try verifyBlobs(&report, repair: repair, progress)
    try verifyRecords(&report, repair: repair)
    try verifyCounts(&report, repair: repair)
    try verifyFiles(&report, olderThan: orphanAge, repair: repair)
    if repair { try processRemovals() }
    return report
  }

  private func verifyDatabase(_ report: inout VerificationReport) throws(StoreError) {
    let words = try database.read { connection throws(StoreError) in
      try connection.all("PRAGMA integrity_check(20)") { $0.text(0) }
    }
    for word in words where word != "ok" { report.problems.append(.database(word)) }
  }

  private func verifyBlobs(
    _ report: inout VerificationReport, repair: Bool, _ progress: ((Int64, Int64) -> Void)?
  ) throws(StoreError) {
    let total = try database.read { connection throws(StoreError) in try Totals(connection).blobBytes }
    var last: Int64 = 0
    while true {
      let rows = try database.read { connection throws(StoreError) in
        try connection.all(
          """
          SELECT id, digest, size, stored, form, damaged, boot, inode, modified, changed FROM blobs
          WHERE id > ? ORDER BY id LIMIT 256
          """, .integer(last)
        ) { BlobRow(row: $0) }
      }
      guard let end = rows.last?.id else { return }
      last = end
      for row in rows {
        report.checkedBlobs += 1
        if let problem = try problem(with: row) {
          report.problems.append(problem)
          if repair, try drop(row) { report.repaired += 1 }
        }
        report.checkedBytes &+= row.stored
        progress?(report.checkedBytes, total)
      }
    }
  }

  /// Nil when the blob's content is what its digest says.
  private func problem(with row: BlobRow) throws(StoreError) -> VerificationReport.Problem? {
    if row.form == .inline {
      let data = try database.read { connection throws(StoreError) in
        try connection.first("SELECT data FROM blobs WHERE id = ?", .integer(row.id)) { $0.bytes(0) }
      }
      guard let data else { return nil }  // evicted meanwhile
      guard SHA256.digest(of: data) == row.digest else { return .corruptBlob(row.digest) }
      if row.isDamaged { trust(row, row.stamp) }
      return nil
    }
    let file: FileDescriptor
    do throws(Errno) { file = try layout.root.open(row.path, O_RDONLY | O_NOFOLLOW) } catch {
      guard error == .noSuchFile || error == .tooManySymlinks else { throw StoreError(error, path(row)) }
      return try find(row.digest)?.path == row.path ? .missingBlob(row.digest) : nil
    }
    defer { file.close() }
    let status = try attempt(path(row)) { () throws(Errno) in try file.status() }
    if status.size != row.stored { return .truncatedBlob(row.digest) }
    guard try digest(of: file, row) == row.digest else { return .corruptBlob(row.digest) }
    if row.isDamaged || FileStamp(status) != row.stamp { trust(row, FileStamp(status)) }
    return nil
  }

  /// Removes a blob and the runs that name it. Pins stay with it as a damaged row, so that it can be put again. Returns
  /// whether there was anything left to remove.
  private func drop(_ row: BlobRow) throws(StoreError) -> Bool {
    try database.write { connection throws(StoreError) in
      // Someone may have put it anew since it was looked at.
      guard let present = try BlobRow.find(row.digest, connection), present.stamp == row.stamp else { return true }
      try connection.run("UPDATE blobs SET damaged = 1, reserved = 0 WHERE id = ?", .integer(row.id))
      var blobs = [row.id]
      let runs = try connection.all("SELECT run FROM run_blobs WHERE blob = ?", .integer(row.id)) { $0.integer(0) }
      for run in runs { blobs += try removeRun(run, connection) }
      return try removeUnnamed(blobs, connection) > 0 || !runs.isEmpty || !present.isDamaged
    }
  }

  private func verifyRecords(_ report: inout VerificationReport, repair: Bool) throws(StoreError) {
    var broken: [(row: Int64, id: Digest)] = []
    var last: Int64 = 0
    while true {
      let rows = try database.read { connection throws(StoreError) in
        try connection.all(
          """
          SELECT r.seq, r.id, (SELECT body FROM bodies WHERE run = r.seq),
            EXISTS(SELECT 1 FROM run_blobs n LEFT JOIN blobs b ON b.id = n.blob
              WHERE n.run = r.seq AND (b.id IS NULL OR b.damaged)),
            (SELECT count(*) FROM path_sets p WHERE p.id = r.path_set)
          FROM runs r WHERE r.seq > ? ORDER BY r.seq LIMIT 64
          """, .integer(last)
        ) { row in
          (
            row: row.integer(0), id: row.digest(1),
            isSound: Packed.unpack(row.bytes(2)) != nil && row.integer(3) == 0 && row.integer(4) == 1
          )
        }
      }
      guard let end = rows.last?.row else { break }
      last = end
      report.checkedRuns += Int64(rows.count)
      for row in rows where !row.isSound { broken.append((row.row, row.id ?? SHA256.digest(of: []))) }
    }
    let pathSets = try database.read { connection throws(StoreError) in
      try connection.all("SELECT id, digest, body FROM path_sets") { row -> (id: Int64, digest: Digest)? in
        guard Packed.unpack(row.bytes(2)) == nil else { return nil }
        return (row.integer(0), row.digest(1) ?? SHA256.digest(of: []))
      }
    }
    for run in broken { report.problems.append(.brokenRun(run.id)) }
    for pathSet in pathSets { report.problems.append(.damagedPathSet(pathSet.digest)) }
    guard repair, !broken.isEmpty || !pathSets.isEmpty else { return }
    try database.write { connection throws(StoreError) in
      var rows = broken.map(\.row)
      for pathSet in pathSets {
        rows += try connection.all("SELECT seq FROM runs WHERE path_set = ?", .integer(pathSet.id)) { $0.integer(0) }
      }
      var blobs: [Int64] = []
      for row in Set(rows) { blobs += try removeRun(row, connection) }
      for pathSet in pathSets { try connection.run("DELETE FROM path_sets WHERE id = ?", .integer(pathSet.id)) }
      try removeUnnamed(blobs, connection)
    }
    report.repaired += Int64(broken.count + pathSets.count)
  }

  /// Files without a row. Young ones may be on their way to one. Where the database was lost, the journal of a mount may
  /// be all that names a blob: one that is right gets a row.
  private func verifyFiles(
    _ report: inout VerificationReport, olderThan age: Int64, repair: Bool
  ) throws(StoreError) {
    let limit = Clock.now() &- age
    for area in ["blobs", "inflated"] {
      for path in try files(in: area) {
        if try isKnown(path, area) { continue }
        guard let status = try? layout.root.status(of: path), status.changed < limit else { continue }
        report.problems.append(.orphan(path))
        guard repair else { continue }
        if area == "blobs", let digest = Store.digest(named: path) { _ = try adoptBlob(digest) }
        // A row may come while the file goes, unless nobody else writes.
        try database.write { connection throws(StoreError) in
          if try !isKnown(path, area, connection) { layout.discard(path) }
        }
        report.repaired += 1
      }
    }
  }

  func files(in area: String) throws(StoreError) -> [FilePath] {
    try attempt(directory.appending(area)) { () throws(Errno) in
      var result: [FilePath] = []
      for entry in try layout.root.entries(of: FilePath(area)) {
        let parent = FilePath(area).appending(entry.name)
        guard let files = try? layout.root.entries(of: parent) else {
          result.append(parent)
          continue
        }
        result += files.map { parent.appending($0.name) }
      }
      return result
    }
  }

  private func isKnown(_ path: FilePath, _ area: String) throws(StoreError) -> Bool {
    try database.read { connection throws(StoreError) in try isKnown(path, area, connection) }
  }

  private func isKnown(_ path: FilePath, _ area: String, _ connection: Connection) throws(StoreError) -> Bool {
    guard let digest = Store.digest(named: path), let row = try BlobRow.find(digest, connection) else { return false }
    if area == "blobs" { return row.form != .inline && row.path == path }
    return try connection.first("SELECT 1 FROM inflated WHERE blob = ?", .integer(row.id)) { _ in true } ?? false
  }

  /// The digest that a file in `blobs` or `inflated` is named for.
  static func digest(named path: FilePath) -> Digest? {
    var name = path.lastComponent.bytes
    if name.count == 66 { name.removeLast(4) }
    return Digest(hexadecimal: String(decoding: path.parent.lastComponent.bytes + name, as: UTF8.self))
  }
}
