import CSQLite
import CasherSystem
import Glibc
import Synchronization

/// A value bound to a statement.
enum SQLValue {
  case integer(Int64)
  case bytes([UInt8])
  case digest(Digest)
  case text(String)
  case null

  static func optional(_ value: Int64?) -> SQLValue { value.map { .integer($0) } ?? .null }
  static func optional(_ value: Digest?) -> SQLValue { value.map { .digest($0) } ?? .null }
}

/// How many statements this process has run on its databases, those that triggers run not counted. A hit takes few,
/// and scripts/bench/counts sees to it that it stays so.
enum StatementCount {
  private static let value = Atomic<Int>(0)

  static func add() { value.add(1, ordering: .relaxed) }
  static var present: Int { value.load(ordering: .relaxed) }
}

/// The present row of a statement; valid until the next step.
struct Row {
  fileprivate let statement: OpaquePointer

  func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }
  func isNull(_ column: Int32) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }
  func optionalInteger(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }

  func bytes(_ column: Int32) -> [UInt8] {
    guard let base = sqlite3_column_blob(statement, column) else { return [] }
    return Array(UnsafeRawBufferPointer(start: base, count: Int(sqlite3_column_bytes(statement, column))))
  }

  func text(_ column: Int32) -> String { String(decoding: bytes(column), as: UTF8.self) }

  /// Nil when the column does not hold 32 bytes.
  func digest(_ column: Int32) -> Digest? {
    guard let base = sqlite3_column_blob(statement, column), sqlite3_column_bytes(statement, column) == 32 else {
      return nil
    }
    func word(_ index: Int) -> UInt64 {
      UInt64(bigEndian: base.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
    }
    return Digest(words: (word(0), word(1), word(2), word(3)))
  }
}

/// One connection to the database and its prepared statements. Used by one thread at a time.
final class Connection: @unchecked Sendable {  // `Database` hands each connection to one thread at a time
  private let handle: OpaquePointer
  private let directory: FilePath
  /// Prepared statements by the address of their text, which is a literal's and so never changes.
  private var statements: [UInt: OpaquePointer] = [:]
  private let logPages = UnsafeMutablePointer<Int32>.allocate(capacity: 1)

  /// Opens `file`; `flags` are sqlite3_open_v2's.
  init(file: FilePath, flags: Int32, directory: FilePath, busyTimeout: Int32) throws(StoreError) {
    DatabaseFaults.installOnce()
    IndexMemory.watchOnce()
    var opened: OpaquePointer?
    let code = file.withCString { sqlite3_open_v2($0, &opened, flags | SQLITE_OPEN_NOMUTEX, nil) }
    guard let opened else { throw StoreError(.inputOutput, directory, detail: "out of memory") }
    guard code == SQLITE_OK else {
      let error = Connection.error(opened, directory)
      sqlite3_close_v2(opened)
      throw error
    }
    handle = opened
    self.directory = directory
    logPages.initialize(to: 0)
    // In place of SQLite's own hook, which would have the committing thread copy and sync the log.
    sqlite3_wal_hook(
      opened,
      { pages, _, _, count in
        pages?.assumingMemoryBound(to: Int32.self).pointee = count
        return SQLITE_OK
      }, logPages)
    sqlite3_extended_result_codes(opened, 1)
    sqlite3_busy_timeout(opened, busyTimeout)
  }

  deinit {
    for statement in statements.values { sqlite3_finalize(statement) }
    // The last connection would copy the log into the database, and note that in the index.
    if !IndexMemory.isWritable { casher_sqlite_keep_log(handle) }
    sqlite3_close_v2(handle)
    logPages.deallocate()
  }

  /// Pages in the write-ahead log after this connection's last commit.
  var pagesInLog: Int32 { logPages.pointee }
  var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }
  /// Rows changed by the last statement.
  var changes: Int { Int(sqlite3_changes(handle)) }
  var lastInsertedRow: Int64 { sqlite3_last_insert_rowid(handle) }

  /// Runs statements that give no rows and need no values.
  func run(script: String) throws(StoreError) {
    try prepareIndex(for: script.utf8.first)
    guard sqlite3_exec(handle, script, nil, nil, nil) == SQLITE_OK else { throw Connection.error(handle, directory) }
  }

  /// Runs a statement that gives no rows.
  func run(_ sql: StaticString, _ values: SQLValue...) throws(StoreError) {
    try query(sql, values) { _ in false }
  }

  /// The first row, mapped; nil when there is none.
  func first<Result>(
    _ sql: StaticString, _ values: SQLValue..., map: (Row) throws(StoreError) -> Result?
  ) throws(StoreError) -> Result? {
    var result: Result?
    try query(sql, values) { row throws(StoreError) in
      result = try map(row)
      return false
    }
    return result
  }

  /// All rows, mapped.
  func all<Result>(
    _ sql: StaticString, _ values: SQLValue..., map: (Row) throws(StoreError) -> Result?
  ) throws(StoreError) -> [Result] {
    var result: [Result] = []
    try query(sql, values) { row throws(StoreError) in
      if let value = try map(row) { result.append(value) }
      return true
    }
    return result
  }

  /// Calls `each` for the rows until it gives false. The same statement must not be used inside.
  func query(
    _ sql: StaticString, _ values: [SQLValue], each: (Row) throws(StoreError) -> Bool
  ) throws(StoreError) {
    let statement = try prepared(sql)
    defer {
      sqlite3_reset(statement)
      sqlite3_clear_bindings(statement)
    }
    try bind(values, to: statement)
    try step(statement, each)
  }

  /// As `query` for a text put together at run time; prepared for this once.
  func query(
    built sql: String, _ values: [SQLValue], each: (Row) throws(StoreError) -> Bool
  ) throws(StoreError) {
    var statement: OpaquePointer?
    guard sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK, let statement else {
      throw Connection.error(handle, directory)
    }
    defer { sqlite3_finalize(statement) }
    try bind(values, to: statement)
    try step(statement, each)
  }

  private func prepared(_ sql: StaticString) throws(StoreError) -> OpaquePointer {
    let key = UInt(bitPattern: sql.utf8Start)
    if let statement = statements[key] { return statement }
    var statement: OpaquePointer?
    let code = sql.withUTF8Buffer { buffer in
      buffer.withMemoryRebound(to: CChar.self) {
        sqlite3_prepare_v3(
          handle, $0.baseAddress, Int32(buffer.count), UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
      }
    }
    guard code == SQLITE_OK, let statement else { throw Connection.error(handle, directory) }
    statements[key] = statement
    return statement
  }

  private func bind(_ values: [SQLValue], to statement: OpaquePointer) throws(StoreError) {
    for (index, value) in values.enumerated() {
      let place = Int32(truncatingIfNeeded: index + 1)
      let code =
        switch value {
        case .integer(let number): sqlite3_bind_int64(statement, place, number)
        case .bytes(let bytes):
          bytes.withUnsafeBytes { buffer in
            buffer.isEmpty
              ? sqlite3_bind_zeroblob(statement, place, 0)
              : sqlite3_bind_blob64(statement, place, buffer.baseAddress, UInt64(buffer.count), Connection.transient)
          }
        case .digest(let digest):
          withUnsafeBytes(
            of: (
              digest.words.0.bigEndian, digest.words.1.bigEndian, digest.words.2.bigEndian, digest.words.3.bigEndian
            )
          ) { sqlite3_bind_blob(statement, place, $0.baseAddress, 32, Connection.transient) }
        case .text(let text): sqlite3_bind_text(statement, place, text, -1, Connection.transient)
        case .null: sqlite3_bind_null(statement, place)
        }
      guard code == SQLITE_OK else { throw Connection.error(handle, directory) }
    }
  }

  private func step(_ statement: OpaquePointer, _ each: (Row) throws(StoreError) -> Bool) throws(StoreError) {
    StatementCount.add()
    try prepareIndex(for: sqlite3_sql(statement).map { UInt8(bitPattern: $0.pointee) })
    while true {
      switch sqlite3_step(statement) {
      case SQLITE_ROW: if !(try each(Row(statement: statement))) { return }
      case SQLITE_DONE: return
      default: throw Connection.error(handle, directory)
      }
    }
  }

  /// Throws where a statement, told by its first letter, would be ended by a signal when it stores into the log's index:
  /// one that begins a transaction, or ends one that writes (COMMIT). All others store nothing there, and those that end
  /// a transaction have to work.
  private func prepareIndex(for initial: UInt8?) throws(StoreError) {
    let ends = initial == UInt8(ascii: "C") && sqlite3_txn_state(handle, nil) == SQLITE_TXN_WRITE
    if isInTransaction && !ends { return }
    guard !IndexMemory.isWritable else { return }
    throw StoreError(
      .noSpace, directory, cause: .noSpace, detail: "no page of casher.sqlite-shm can be written, or it was cut off")
  }

  /// Tells SQLite to copy what is bound; its header's macro is a cast that the importer leaves out.
  private static var transient: sqlite3_destructor_type { unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

  private static func error(_ handle: OpaquePointer, _ directory: FilePath) -> StoreError {
    let code = sqlite3_extended_errcode(handle)
    let isRefused = code == 5386 && IndexMemory.refusedMapping()  // SQLITE_IOERR_SHMMAP
    return StoreError(
      sqlite: code, systemError: isRefused ? ENOSPC : sqlite3_system_errno(handle),
      message: String(cString: sqlite3_errmsg(handle)), directory: directory)
  }
}
