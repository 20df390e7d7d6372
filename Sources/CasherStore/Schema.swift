import CasherSystem

/// The tables (docs/format.md explains them), and the checks that a file holds them.
enum Schema {
  /// What PRAGMA user_version says: raised by one with every change of the tables.
  static let version = Int64(1 + migrations.count)
  /// "Cshr" (PRAGMA application_id).
  static let application: Int64 = 0x4373_6872

  /// Sets the connection up and makes the tables in an empty file.
  static func prepare(_ connection: Connection, directory: FilePath, options: StoreOptions) throws(StoreError) {
    try connection.run(
      script: """
        PRAGMA auto_vacuum=INCREMENTAL;
        PRAGMA temp_store=MEMORY;
        PRAGMA cache_size=-8192;
        PRAGMA trusted_schema=OFF;
        PRAGMA cell_size_check=ON;
        PRAGMA synchronous=\(options.durability == .full ? "FULL" : "NORMAL");
        PRAGMA journal_size_limit=67108864;
        """)
    if try isEmpty(connection) {
      try setJournalMode(connection, directory, options)
      try connection.run(script: "BEGIN IMMEDIATE")
      do throws(StoreError) {
        if try isEmpty(connection) {
          try connection.run(script: tables)
          try migrate(connection)
        }
        try connection.run(script: "COMMIT")
      } catch {
        try? connection.run(script: "ROLLBACK")
        throw error
      }
    } else if try isOlder(connection) {
      try connection.run(script: "BEGIN IMMEDIATE")
      do throws(StoreError) {
        try migrate(connection)
        try connection.run(script: "COMMIT")
      } catch {
        try? connection.run(script: "ROLLBACK")
        throw error
      }
    }
    try check(connection, directory: directory)
    try setJournalMode(connection, directory, options)
  }

  /// Throws unless the database is one of this version.
  static func check(_ connection: Connection, directory: FilePath) throws(StoreError) {
    let application = try pragma(connection, "PRAGMA application_id")
    let version = try pragma(connection, "PRAGMA user_version")
    guard application == Schema.application else {
      throw StoreError(.foreignFile, directory.appending("casher.sqlite"))
    }
    guard version <= Schema.version else {
      throw StoreError(
        .newerFormat, directory, detail: "its format is \(version), this one knows up to \(Schema.version)")
    }
    guard version > 0 else {
      throw StoreError(.corruptDatabase, directory, detail: "its format version is \(version)")
    }
    guard version == Schema.version else {
      throw StoreError(.olderFormat, directory, detail: "its format is \(version), this one's is \(Schema.version)")
    }
  }

  /// Whether it is a database of Casher's of an earlier version.
  private static func isOlder(_ connection: Connection) throws(StoreError) -> Bool {
    let application = try pragma(connection, "PRAGMA application_id")
    let version = try pragma(connection, "PRAGMA user_version")
    return application == Schema.application && (1..<Schema.version).contains(version)
  }

  /// Takes the tables, from whichever version they are of, to the present one. In a transaction of the caller's; another
  /// process may have done it just before.
  private static func migrate(_ connection: Connection) throws(StoreError) {
    let version = try pragma(connection, "PRAGMA user_version")
    for (number, script) in migrations.enumerated() where Int64(number) + 1 >= version {
      try connection.run(script: script)
    }
    try connection.run(script: "PRAGMA user_version=\(Schema.version)")
  }

  private static func isEmpty(_ connection: Connection) throws(StoreError) -> Bool {
    let tables = try pragma(connection, "SELECT count(*) FROM sqlite_schema")
    let version = try pragma(connection, "PRAGMA user_version")
    return tables == 0 && version == 0
  }

  private static func pragma(_ connection: Connection, _ sql: StaticString) throws(StoreError) -> Int64 {
    try connection.first(sql) { $0.integer(0) } ?? 0
  }

  /// SQLite answers with the mode that it took, which is another one where the filesystem lacks shared memory.
  private static func setJournalMode(
    _ connection: Connection, _ directory: FilePath, _ options: StoreOptions
  ) throws(StoreError) {
    var mode = ""
    try connection.query(built: "PRAGMA journal_mode=\(options.journalMode.rawValue)", []) {
      mode = $0.text(0)
      return false
    }
    guard mode == options.journalMode.rawValue else {
      throw StoreError(.noLocks, directory, detail: "the journal mode stayed \(mode)")
    }
  }

  /// The tables of version 1; what came later is in `migrations`.
  private static let tables = """
    PRAGMA application_id=\(application);
    PRAGMA user_version=1;

    CREATE TABLE blobs(
      id INTEGER PRIMARY KEY,
      digest BLOB NOT NULL UNIQUE,
      size INTEGER NOT NULL,
      stored INTEGER NOT NULL,
      form INTEGER NOT NULL,
      damaged INTEGER NOT NULL DEFAULT 0,
      refs INTEGER NOT NULL DEFAULT 0,
      reserved INTEGER NOT NULL,
      boot INTEGER,
      inode INTEGER NOT NULL,
      modified INTEGER NOT NULL,
      changed INTEGER NOT NULL,
      data BLOB);
    CREATE INDEX blobs_unnamed ON blobs(reserved) WHERE refs = 0;
    CREATE INDEX blobs_unsynced ON blobs(boot) WHERE boot IS NOT NULL;

    CREATE TABLE inflated(
      blob INTEGER PRIMARY KEY,
      size INTEGER NOT NULL,
      used INTEGER NOT NULL,
      boot INTEGER NOT NULL,
      inode INTEGER NOT NULL,
      modified INTEGER NOT NULL,
      changed INTEGER NOT NULL);
    CREATE INDEX inflated_by_use ON inflated(used);

    CREATE TABLE removals(path BLOB PRIMARY KEY) WITHOUT ROWID;

    CREATE TABLE path_sets(
      id INTEGER PRIMARY KEY,
      digest BLOB NOT NULL UNIQUE,
      refs INTEGER NOT NULL DEFAULT 0,
      stored INTEGER NOT NULL,
      body BLOB NOT NULL);

    CREATE TABLE variants(
      weak BLOB NOT NULL,
      path_set INTEGER NOT NULL,
      used INTEGER NOT NULL,
      runs INTEGER NOT NULL,
      PRIMARY KEY(weak, path_set)) WITHOUT ROWID;
    CREATE INDEX variants_by_use ON variants(weak, used);

    CREATE TABLE runs(
      seq INTEGER PRIMARY KEY,
      id BLOB NOT NULL UNIQUE,
      weak BLOB NOT NULL,
      path_set INTEGER NOT NULL,
      strong BLOB NOT NULL,
      condition BLOB NOT NULL,
      created INTEGER NOT NULL,
      used INTEGER NOT NULL,
      hits INTEGER NOT NULL,
      duration INTEGER NOT NULL,
      status INTEGER NOT NULL,
      command BLOB NOT NULL,
      directory BLOB NOT NULL,
      mount BLOB NOT NULL,
      parent BLOB,
      output_bytes INTEGER NOT NULL,
      inputs INTEGER NOT NULL,
      outputs INTEGER NOT NULL,
      stored INTEGER NOT NULL);
    CREATE UNIQUE INDEX runs_by_key ON runs(strong, condition);
    CREATE INDEX runs_by_weak_key ON runs(weak, used);
    CREATE INDEX runs_by_use ON runs(used);
    CREATE INDEX runs_by_creation ON runs(created);
    CREATE INDEX runs_by_parent ON runs(parent) WHERE parent IS NOT NULL;

    CREATE TABLE bodies(run INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE run_blobs(run INTEGER NOT NULL, blob INTEGER NOT NULL, PRIMARY KEY(run, blob)) WITHOUT ROWID;
    CREATE TABLE tags(run INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(run, name, value))
      WITHOUT ROWID;
    CREATE INDEX tags_by_name ON tags(name, value);

    CREATE TABLE run_pins(owner TEXT NOT NULL, run BLOB NOT NULL, PRIMARY KEY(owner, run)) WITHOUT ROWID;
    CREATE INDEX run_pins_by_run ON run_pins(run);
    CREATE TABLE blob_pins(
      owner TEXT NOT NULL, holder BLOB NOT NULL, blob INTEGER NOT NULL, count INTEGER NOT NULL,
      PRIMARY KEY(owner, holder, blob)) WITHOUT ROWID;

    CREATE TABLE digests(
      device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL, modified INTEGER NOT NULL,
      changed INTEGER NOT NULL, digest BLOB NOT NULL, day INTEGER NOT NULL,
      PRIMARY KEY(device, inode)) WITHOUT ROWID;

    CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

    CREATE TABLE totals(
      one INTEGER PRIMARY KEY CHECK(one = 1),
      runs INTEGER NOT NULL, blobs INTEGER NOT NULL, blob_bytes INTEGER NOT NULL, logical_bytes INTEGER NOT NULL,
      inflated_bytes INTEGER NOT NULL, record_bytes INTEGER NOT NULL);
    INSERT INTO totals VALUES(1, 0, 0, 0, 0, 0, 0);

    CREATE TRIGGER blob_added AFTER INSERT ON blobs BEGIN
      UPDATE totals SET blobs = blobs + 1, blob_bytes = blob_bytes + new.stored,
        logical_bytes = logical_bytes + new.size;
    END;
    CREATE TRIGGER blob_removed AFTER DELETE ON blobs BEGIN
      UPDATE totals SET blobs = blobs - 1, blob_bytes = blob_bytes - old.stored,
        logical_bytes = logical_bytes - old.size;
    END;
    CREATE TRIGGER blob_resized AFTER UPDATE OF stored, size ON blobs BEGIN
      UPDATE totals SET blob_bytes = blob_bytes + new.stored - old.stored,
        logical_bytes = logical_bytes + new.size - old.size;
    END;
    CREATE TRIGGER inflated_added AFTER INSERT ON inflated BEGIN
      UPDATE totals SET inflated_bytes = inflated_bytes + new.size;
    END;
    CREATE TRIGGER inflated_removed AFTER DELETE ON inflated BEGIN
      UPDATE totals SET inflated_bytes = inflated_bytes - old.size;
    END;
    CREATE TRIGGER run_added AFTER INSERT ON runs BEGIN
      UPDATE totals SET runs = runs + 1, record_bytes = record_bytes + new.stored;
      UPDATE path_sets SET refs = refs + 1 WHERE id = new.path_set;
    END;
    CREATE TRIGGER run_removed AFTER DELETE ON runs BEGIN
      UPDATE totals SET runs = runs - 1, record_bytes = record_bytes - old.stored;
      UPDATE path_sets SET refs = refs - 1 WHERE id = old.path_set;
    END;
    CREATE TRIGGER path_set_added AFTER INSERT ON path_sets BEGIN
      UPDATE totals SET record_bytes = record_bytes + new.stored;
    END;
    CREATE TRIGGER path_set_removed AFTER DELETE ON path_sets BEGIN
      UPDATE totals SET record_bytes = record_bytes - old.stored;
    END;
    CREATE TRIGGER blob_named AFTER INSERT ON run_blobs BEGIN
      UPDATE blobs SET refs = refs + 1, reserved = 0 WHERE id = new.blob;
    END;
    CREATE TRIGGER blob_unnamed AFTER DELETE ON run_blobs BEGIN
      UPDATE blobs SET refs = refs - 1 WHERE id = old.blob;
    END;
    CREATE TRIGGER blob_pinned AFTER INSERT ON blob_pins BEGIN
      UPDATE blobs SET refs = refs + 1 WHERE id = new.blob;
    END;
    CREATE TRIGGER blob_unpinned AFTER DELETE ON blob_pins BEGIN
      UPDATE blobs SET refs = refs - 1 WHERE id = old.blob;
    END;
    """
}
