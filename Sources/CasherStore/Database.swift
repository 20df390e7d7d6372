import CSQLite
import CasherSystem
import Synchronization

/// The connections of one store: one that writes, and as many that read as threads read at once.
final class Database: Sendable {
  private let file: FilePath
  private let directory: FilePath
  private let options: StoreOptions
  private let writer: Monitor<Writer>
  private let readers: Mutex<Readers>

  private struct Writer {
    var connection: Connection?
    /// The file that the connection is of.
    var file: InodeKey?
  }

  /// Connections that are idle, all of one file.
  private struct Readers {
    var idle: [Connection] = []
    var file: InodeKey?
  }

  /// Whether the write-ahead log has grown so long that it should be copied into the database.
  private let hasLongLog = Atomic<Bool>(false)

  var isLogLong: Bool { hasLongLog.load(ordering: .relaxed) }

  private static let keptReaders = 8
  /// Pages.
  private static let longLog: Int32 = 1000

  init(directory: FilePath, options: StoreOptions) throws(StoreError) {
    self.directory = directory
    self.options = options
    file = directory.appending("casher.sqlite")
    if options.isReadOnly {
      writer = Monitor(Writer())
      readers = Mutex(Readers())
      let first = try readOnlyConnection()
      readers.withLock { $0.idle.append(first) }
      return
    }
    let connection = try Connection(
      file: file, flags: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, directory: directory,
      busyTimeout: options.busyTimeout)
    try Schema.prepare(connection, directory: directory, options: options)
    let present = Database.key(of: file)
    writer = Monitor(Writer(connection: connection, file: present))
    readers = Mutex(Readers(file: present))
  }

  /// Makes reading calls on a connection of its own; all of them again where the database proves to be another by now.
  func read<Result>(_ body: (Connection) throws(StoreError) -> Result) throws(StoreError) -> Result {
    let (connection, file) = try takeReader()
    do throws(StoreError) {
      defer { giveBack(connection, of: file) }
      return try body(connection)
    } catch {
      guard error.code == .corruptDatabase, forgetReplaced(file) else { throw error }
    }
    let (another, present) = try takeReader()
    defer { giveBack(another, of: present) }
    return try body(another)
  }

  /// As `read`, all calls seeing one state.
  func readTransaction<Result>(_ body: (Connection) throws(StoreError) -> Result) throws(StoreError) -> Result {
    try read { connection throws(StoreError) in
      try connection.run("BEGIN")
      defer { try? connection.run("COMMIT") }
      return try body(connection)
    }
  }

  /// A transaction that writes: nobody else, in no process, is in one meanwhile. Undone when `body` throws.
  ///
  /// `onSuccess` is called after the commit, `onFailure` when it came to a transaction and failed; in both no other
  /// thread of this process is in a transaction, and in `onFailure` no other process either when it gets true (a commit
  /// that failed may have lost the lock already).
  func write<Result>(
    onSuccess: () -> Void = {}, onFailure: (_ isLocked: Bool) -> Void = { _ in },
    _ body: (Connection) throws(StoreError) -> Result
  ) throws(StoreError) -> Result {
    try writer.withLock { writing throws(StoreError) in
      let connection = try begin(&writing)
      do throws(StoreError) {
        let result = try body(connection)
        try connection.run("COMMIT")
        if connection.pagesInLog > Database.longLog { hasLongLog.store(true, ordering: .relaxed) }
        onSuccess()
        return result
      } catch {
        onFailure(connection.isInTransaction)
        if connection.isInTransaction { try? connection.run("ROLLBACK") }
        if error.code == .corruptDatabase { _ = try? reopen(&writing) }
        throw error
      }
    }
  }

  private func begin(_ writing: inout Writer) throws(StoreError) -> Connection {
    func begun() throws(StoreError) -> Connection {
      guard let connection = writing.connection else { throw StoreError(.readOnly, directory) }
      try connection.run("BEGIN IMMEDIATE")
      return connection
    }
    // What is remembered of a damaged file may be enough to begin, and to write what nobody will read.
    if readers.withLock({ $0.file }) != writing.file { _ = try reopen(&writing) }
    do throws(StoreError) { return try begun() } catch {
      guard error.code == .corruptDatabase, try reopen(&writing) else { throw error }
      return try begun()
    }
  }

  /// A damaged database is set aside by `Store.verify`, in whatever process, and another begun: then what is damaged is
  /// no longer the database, and the writing connection is made anew. False when it is the database still.
  private func reopen(_ writing: inout Writer) throws(StoreError) -> Bool {
    guard writing.connection != nil, let present = Database.key(of: file), present != writing.file else { return false }
    let connection = try Connection(
      file: file, flags: SQLITE_OPEN_READWRITE, directory: directory, busyTimeout: options.busyTimeout)
    try Schema.prepare(connection, directory: directory, options: options)
    writing = Writer(connection: connection, file: present)
    readers.withLock { if $0.file != present { $0 = Readers(file: present) } }
    return true
  }

  /// The same for connections that read, one of which was of `former`.
  private func forgetReplaced(_ former: InodeKey?) -> Bool {
    guard !options.isReadOnly, let present = Database.key(of: file), present != former else { return false }
    readers.withLock { if $0.file != present { $0 = Readers(file: present) } }
    return true
  }

  private static func key(of file: FilePath) -> InodeKey? {
    (try? FileDescriptor.workingDirectory.status(of: file))?.key
  }

  /// What `body` did is undone in any case.
  func rehearse<Result>(_ body: (Connection) throws(StoreError) -> Result) throws(StoreError) -> Result {
    try writer.withLock { writing throws(StoreError) in
      let connection = try begin(&writing)
      defer { try? connection.run("ROLLBACK") }
      return try body(connection)
    }
  }

  /// Copies the log into the database when it is long, beside readers and writers. For a thread that nobody waits for:
  /// this syncs the disk.
  func shortenLog() throws(StoreError) {
    guard hasLongLog.exchange(false, ordering: .relaxed) else { return }
    try read { connection throws(StoreError) in
      try connection.query(built: "PRAGMA wal_checkpoint(PASSIVE)", []) { _ in true }
    }
  }

  /// Waits until no thread of this process is in a transaction that writes.
  func waitForWriter() { writer.withLock { _ in } }

  /// Calls outside any transaction on the writing connection: checkpoints, vacuum.
  func maintain(_ body: (Connection) throws(StoreError) -> Void) throws(StoreError) {
    try writer.withLock { writing throws(StoreError) in
      guard let connection = writing.connection else { throw StoreError(.readOnly, directory) }
      try body(connection)
    }
  }

  func close() {
    readers.withLock { $0.idle.removeAll() }
    writer.withLock { $0 = Writer() }
  }

  private func takeReader() throws(StoreError) -> (Connection, file: InodeKey?) {
    let (idle, key) = readers.withLock { ($0.idle.popLast(), $0.file) }
    if let idle { return (idle, key) }
    if options.isReadOnly { return (try readOnlyConnection(), key) }
    let connection = try Connection(
      file: file, flags: SQLITE_OPEN_READWRITE, directory: directory, busyTimeout: options.busyTimeout)
    try connection.run(script: "PRAGMA query_only=ON; PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF")
    return (connection, key)
  }

  private func giveBack(_ connection: Connection, of file: InodeKey?) {
    readers.withLock { readers in
      if readers.file == file, readers.idle.count < Database.keptReaders { readers.idle.append(connection) }
    }
  }

  /// On a read-only filesystem the shared memory of the write-ahead log cannot be made: then the file is read as one
  /// that nobody changes (https://sqlite.org/wal.html#read_only_databases).
  private func readOnlyConnection() throws(StoreError) -> Connection {
    func usable(_ path: FilePath, _ flags: Int32) throws(StoreError) -> Connection {
      let connection = try Connection(
        file: path, flags: flags, directory: directory, busyTimeout: options.busyTimeout)
      try Schema.check(connection, directory: directory)
      return connection
    }
    do throws(StoreError) { return try usable(file, SQLITE_OPEN_READONLY) } catch {
      guard [.inputOutput, .readOnly, .permission, .vanished].contains(error.code) else { throw error }
      guard !directory.bytes.contains(where: { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }) else {
        throw error
      }
      let name = FilePath(Array("file:".utf8) + Database.escaped(file.bytes) + Array("?immutable=1".utf8))
      return try usable(name, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI)
    }
  }

  /// Percent signs written as URIs have them.
  private static func escaped(_ bytes: [UInt8]) -> [UInt8] {
    bytes.flatMap { $0 == UInt8(ascii: "%") ? Array("%25".utf8) : [$0] }
  }
}
