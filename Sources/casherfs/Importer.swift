import CasherDaemon
import CasherRecord
import CasherStore
import CasherSystem

/// One import on its way: takes an archive over entry by entry. Nothing in the archive is believed.
struct Importer {
  private(set) var imported: [Digest] = []
  /// Runs that the store had already.
  private(set) var present = 0
  /// Bytes of contents taken over.
  private(set) var bytes: Int64 = 0
  private(set) var skipped: [(name: FilePath, reason: String)] = []

  private var archive: TarReader
  private let path: FilePath
  private let store: Store
  private let isTrusted: Bool
  /// Bytes of contents that the archive has brought, taken over or not.
  private var brought: Int64 = 0
  private var piece: [UInt8]

  /// Contents up to this size are held in memory on their way, in bytes.
  private static let smallContent: Int64 = 1 << 20

  init(from source: FileDescriptor, named path: FilePath, into store: Store, isTrusted: Bool) {
    archive = TarReader(from: source)
    (self.path, self.store, self.isTrusted) = (path, store, isTrusted)
    piece = Array(repeating: 0, count: 1 << 18)
  }

  mutating func run() throws(Failure) {
    guard let first = try next(), first.isRegular, first.name == FilePath(ExportedRun.formatName),
      first.size <= Importer.smallContent
    else { throw damaged("it was not written by 'casherfs export'") }
    guard try content(first) == Array(ExportedRun.format.utf8) else {
      throw damaged("it was written by another version of casherfs")
    }
    let progress = Progress("importing")
    defer { progress.end() }
    while let entry = try next() {
      progress.show(imported.count + present)
      if let reason = try take(entry) { skipped.append((entry.name, reason)) }
    }
  }

  /// Takes one entry over; gives the reason when it cannot be.
  private mutating func take(_ entry: TarReader.Entry) throws(Failure) -> String? {
    guard entry.isRegular else { return "it is no regular file" }
    let names = entry.name.bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard names.count == 2, let digest = Digest(hexadecimal: String(decoding: names[1], as: UTF8.self)) else {
      return "an export has no such entry"
    }
    switch String(decoding: names[0], as: UTF8.self) {
    case "blobs": return try takeBlob(digest, entry)
    case "runs": return try takeRun(digest, entry)
    default: return "an export has no such entry"
    }
  }

  // MARK: contents

  private mutating func takeBlob(_ digest: Digest, _ entry: TarReader.Entry) throws(Failure) -> String? {
    let sum = brought.addingReportingOverflow(entry.size)
    guard !sum.overflow, sum.partialValue <= store.options.limit else {
      throw Failure(
        .failure,
        "the contents in \(path) are more than the cache may hold (\(Quantity.size(store.options.limit))); "
          + "set CASHER_MAX_CACHE_BYTES to more.")
    }
    brought = sum.partialValue
    if entry.size <= Importer.smallContent {
      let bytes = try content(entry)
      guard SHA256.digest(of: bytes) == digest else { return "its content has another digest" }
      _ = try storing { store throws(StoreError) in try store.putBlob(bytes) }
    } else {
      guard try takeLarge(digest) else { return "its content has another digest" }
    }
    bytes += entry.size
    return nil
  }

  /// By way of a nameless file, so that content with another digest never comes into the store.
  private mutating func takeLarge(_ digest: Digest) throws(Failure) -> Bool {
    let spool: FileDescriptor
    do throws(Errno) { spool = try Spool.make(in: store.directory) } catch { throw unstorable(error) }
    defer { spool.close() }
    var hash = SHA256()
    while true {
      let count = try read()
      if count == 0 { break }
      hash.update(piece[..<count])
      do throws(Errno) { try spool.writeAll(Array(piece[..<count])) } catch { throw unstorable(error) }
    }
    guard hash.finalize() == digest else { return false }
    return try storing { store throws(StoreError) in try store.putBlob(from: spool).digest == digest }
  }

  // MARK: runs

  private mutating func takeRun(_ id: Digest, _ entry: TarReader.Entry) throws(Failure) -> String? {
    guard entry.size <= ExportedRun.limit else { return "it is larger than the record of a run may be" }
    let encoded = try content(entry)
    let exported: ExportedRun
    do throws(DecodingFailure) { exported = try ExportedRun(encoded: encoded) } catch {
      return "its record cannot be read (\(error))"
    }
    guard exported.id == id else { return "it is the record of another run" }
    let isTrusted = isTrusted
    let objection = try storing { store throws(StoreError) in
      try exported.objection(isTrusted: isTrusted) { blob throws(StoreError) in
        try store.hasBlob(blob) ? try store.blobSize(blob) : nil
      }
    }
    if let objection { return objection }
    var (run, pathSetBody) = StoredRun.make(
      exported.record, id: id, weakKey: exported.weakKey, created: min(exported.created, Clock.now()),
      tags: exported.tags)
    // What was asked for just now is not what was unused for the longest time.
    run.lastUsed = Clock.now()
    run.hits = exported.hits
    let made = run
    let isThere = try storing { store throws(StoreError) in
      if try store.run(id) != nil { return true }
      return try store.runs(strongKey: made.strongKey).contains { $0.conditionKey == made.conditionKey }
    }
    if isThere {
      present += 1
      return nil
    }
    do throws(StoreError) { try store.insert(made, pathSetBody: pathSetBody) } catch {
      if error.isAboutOneBlob || error.code == .tooLarge { return "\(error)" }
      throw StoreAccess.failure(error)
    }
    imported.append(id)
    try storing { store throws(StoreError) in try store.shortenLog() }
    return nil
  }

  // MARK: reading and storing

  private mutating func next() throws(Failure) -> TarReader.Entry? {
    do throws(TarReader.Failure) { return try archive.next() } catch { throw failure(error) }
  }

  /// Reads on in the present entry, into `piece`; 0 at its end.
  private mutating func read() throws(Failure) -> Int {
    var failed: TarReader.Failure?
    let count = piece.withUnsafeMutableBytes { buffer in
      do throws(TarReader.Failure) { return try archive.read(into: buffer) } catch {
        failed = error
        return 0
      }
    }
    if let failed { throw failure(failed) }
    return count
  }

  /// The whole content of a small entry.
  private mutating func content(_ entry: TarReader.Entry) throws(Failure) -> [UInt8] {
    var result: [UInt8] = []
    while true {
      let count = try read()
      if count == 0 { return result }
      result += piece[..<count]
    }
  }

  private func storing<Result>(_ body: (Store) throws(StoreError) -> Result) throws(Failure) -> Result {
    do throws(StoreError) { return try body(store) } catch { throw StoreAccess.failure(error) }
  }

  private func unstorable(_ error: Errno) -> Failure {
    Failure(.storeUnusable, "the cache in \(store.directory) cannot take more: \(error).")
  }

  private func damaged(_ reason: String) -> Failure {
    Failure(.damagedArchive, "\(path) cannot be taken over: \(reason).")
  }

  private func failure(_ error: TarReader.Failure) -> Failure {
    switch error {
    case .system(let cause): Failure(.failure, "\(path) cannot be read: \(cause).")
    case .damaged(let reason): damaged(reason)
    }
  }

  var json: JSON {
    .object([
      ("runs", .array(imported.map { .digest($0) })), ("already_stored", .integer(Int64(present))),
      ("content_bytes", .integer(bytes)),
      (
        "skipped",
        .array(skipped.map { .object([("name", .path($0.name)), ("reason", .string($0.reason))]) })
      ),
    ])
  }
}
