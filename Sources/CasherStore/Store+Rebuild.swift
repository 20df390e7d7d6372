import CasherSystem
import Glibc

extension Store {
  /// How long blobs that were found without a database are kept for whoever pins them again, nanoseconds: 30 days.
  private static let adoption: Int64 = 30 * 86_400_000_000_000

  /// `open` and `verify`, for a store whose database may be so damaged that it cannot be opened. With `repair` a
  /// damaged one is moved aside, to `casher.sqlite.damaged`, and a new one begun that adopts every blob that is still
  /// right: what is placed in a mount is named by the mount's journal, not by the database alone.
  public static func verify(
    at path: FilePath, options: StoreOptions = StoreOptions(), repair: Bool,
    progress: ((_ done: Int64, _ total: Int64) -> Void)? = nil
  ) throws(StoreError) -> VerificationReport {
    var report = VerificationReport()
    do throws(StoreError) {
      let store = try open(at: path, options: options)
      defer { store.close() }
      report = try store.verify(repair: false, progress: nil)
      if !report.isDatabaseDamaged {
        return repair && !report.isSound ? try store.verify(repair: true, progress: progress) : report
      }
    } catch {
      guard error.code == .corruptDatabase else { throw error }
      report.problems.append(.database(error.detail ?? "it cannot be opened"))
    }
    if repair { try rebuild(at: path, options: options, &report, progress) }
    return report
  }

  private static func rebuild(
    at path: FilePath, options: StoreOptions, _ report: inout VerificationReport,
    _ progress: ((Int64, Int64) -> Void)?
  ) throws(StoreError) {
    let store = try StoreLayout.open(path, options) { layout throws(StoreError) in
      for name in StoreLayout.databaseFiles {
        try attempt(path.appending(name)) { () throws(Errno) in
          guard try layout.root.statusIfPresent(of: name) != nil else { return }
          if name == "casher.sqlite" {
            try layout.root.rename(name, to: layout.root, as: "casher.sqlite.damaged")
          } else {
            try layout.root.remove(name)
          }
        }
      }
      return Store(layout: layout, database: try Database(directory: path, options: options), options: options)
    }
    defer { store.close() }
    let files = try store.files(in: "blobs")
    for (index, file) in files.enumerated() {
      if try !store.adopt(file) {
        store.layout.discard(file)
        report.problems.append(.orphan(file))
      }
      progress?(Int64(index + 1), Int64(files.count))
    }
    for copy in try store.files(in: "inflated") { store.layout.discard(copy) }
    report.repaired = Int64(report.problems.count)
  }

  /// Makes a row for a blob's file that has none, when its content is right; false when there is no such file.
  public func adoptBlob(_ digest: Digest) throws(StoreError) -> Bool {
    guard try find(digest) == nil else { return false }
    for isCompressed in [false, true] {
      if try adopt(StoreLayout.path("blobs", digest, compressed: isCompressed)) { return true }
    }
    return false
  }

  /// Makes a row for a file of `blobs` whose content is what its name says; false when it is not.
  private func adopt(_ path: FilePath) throws(StoreError) -> Bool {
    guard let digest = Store.digest(named: path),
      let file = try? layout.root.open(path, O_RDONLY | O_NOFOLLOW)
    else { return false }
    defer { file.close() }
    let status = try attempt(directory.appending(path)) { () throws(Errno) in try file.status() }
    let stamp = FileStamp(status)
    let isCompressed = path == StoreLayout.path("blobs", digest, compressed: true)
    guard status.type == .regular, isCompressed || path == StoreLayout.path("blobs", digest) else { return false }
    var row = BlobRow(
      id: 0, digest: digest, size: .max, stored: status.size, form: isCompressed ? .zstd : .plain, isDamaged: false,
      boot: nil, stamp: stamp)
    var hash = SHA256()
    if isCompressed {
      var size: Int64 = 0
      let whole = try inflate(file, row) { bytes throws(StoreError) in
        hash.update(bytes)
        size += Int64(bytes.count)
      }
      guard whole, hash.finalize() == digest else { return false }
      row.size = size
    } else {
      let found = try attempt(directory.appending(path)) { () throws(Errno) in try SHA256.digest(of: file) }
      guard found.digest == digest else { return false }
      row.size = found.count
    }
    let adopted = row
    try database.write { connection throws(StoreError) in
      try connection.run(
        """
        INSERT OR IGNORE INTO blobs(digest, size, stored, form, reserved, boot, inode, modified, changed)
        VALUES(?, ?, ?, ?, ?, NULL, ?, ?, ?)
        """, .digest(digest), .integer(adopted.size), .integer(adopted.stored), .integer(adopted.form.rawValue),
        .integer(Clock.now() &+ Store.adoption), .integer(stamp.inode), .integer(stamp.modified),
        .integer(stamp.changed))
    }
    return true
  }
}

extension VerificationReport {
  var isDatabaseDamaged: Bool {
    problems.contains { if case .database = $0 { true } else { false } }
  }
}
