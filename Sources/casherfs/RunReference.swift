import CasherRecord
import CasherStore
import CasherSystem

/// How a user names a stored run: the beginning of its id, `@` for the latest, `@{2}` for the one two before that.
enum RunReference {
  /// Opens the cache for a command that is about stored runs; a failure where there is none.
  static func openStore(_ arguments: Arguments) throws(Failure) -> Store {
    let access = try StoreAccess(arguments)
    guard let store = try access.open() else {
      throw Failure(.noSuchRun, "there is no cache in \(access.directory) yet; run something under 'acache --' first.")
    }
    return store
  }

  static func record(of run: StoredRun) throws(Failure) -> RunRecord {
    do throws(DecodingFailure) { return try RunRecord(encoded: run.body) } catch {
      throw Failure(
        .storeUnusable, "the record of run \(RunText.short(run.id)) is damaged (\(error)); run it again with --force.")
    }
  }

  static func find(_ reference: FilePath, in store: Store) throws(Failure) -> StoredRun {
    let text = String(decoding: reference.bytes, as: UTF8.self)
    if let position = position(text) { return try latest(before: position, in: store) }
    let digits = text.lowercased()
    guard !digits.isEmpty, digits.count <= 64, digits.allSatisfy(\.isHexDigit) else {
      throw Failure(.usage, "'\(text)' does not name a run: give the beginning of its id, @ or @{2}.")
    }
    let ids = try StoreAccess.reading { () throws(StoreError) in try store.runs(idPrefix: digits, limit: 2) }
    guard ids.count < 2 else {
      throw Failure(.ambiguousRun, "several runs begin with '\(text)'; give more of the id ('casherfs log' shows it).")
    }
    let run = try StoreAccess.reading { () throws(StoreError) in
      guard let id = ids.first else { return StoredRun?.none }
      return try store.run(id)
    }
    guard let run else { throw missing("no run's id begins with '\(text)'") }
    return run
  }

  private static func latest(before position: Int, in store: Store) throws(Failure) -> StoredRun {
    var filter = RunFilter()
    filter.limit = 1
    filter.skip = position
    let run = try StoreAccess.reading { () throws(StoreError) in
      try store.runs(matching: filter, withBodies: true).first
    }
    guard let run else {
      throw missing(position == 0 ? "no run is stored" : "there are not \(position + 1) stored runs")
    }
    return run
  }

  private static func missing(_ what: String) -> Failure {
    Failure(.noSuchRun, "\(what); 'casherfs log' lists them.")
  }

  /// 0 for `@`, N for `@{N}`; nil for anything else.
  private static func position(_ text: String) -> Int? {
    if text == "@" { return 0 }
    guard text.hasPrefix("@{"), text.hasSuffix("}"), let number = Int(text.dropFirst(2).dropLast()), number >= 0 else {
      return nil
    }
    return number
  }
}
