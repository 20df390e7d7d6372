extension Schema {
  /// What makes tables of the next version out of those of the one before: the first entry leads from 1 to 2. Entries
  /// are only ever added at the end.
  static let migrations = [lists]

  /// Version 2: what lists, lineage and statistics are made from.
  ///
  /// A command is indexed by its first 200 bytes, since that of a linker may be as long as a file.
  private static let lists = """
    CREATE INDEX runs_by_command ON runs(substr(command, 1, 200), created);
    CREATE INDEX run_blobs_by_blob ON run_blobs(blob);

    CREATE TABLE misses(weak BLOB PRIMARY KEY, time INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL)
      WITHOUT ROWID;
    CREATE TRIGGER variant_removed AFTER DELETE ON variants BEGIN
      DELETE FROM misses
        WHERE weak = old.weak AND NOT EXISTS(SELECT 1 FROM variants v WHERE v.weak = old.weak);
    END;

    CREATE TABLE activity(
      span INTEGER NOT NULL, start INTEGER NOT NULL,
      hits INTEGER NOT NULL, misses INTEGER NOT NULL, uncacheable INTEGER NOT NULL, saved INTEGER NOT NULL,
      stored INTEGER NOT NULL,
      PRIMARY KEY(span, start)) WITHOUT ROWID;

    CREATE TABLE commands(
      command BLOB PRIMARY KEY,
      hits INTEGER NOT NULL, misses INTEGER NOT NULL, uncacheable INTEGER NOT NULL, saved INTEGER NOT NULL,
      used INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX commands_by_use ON commands(used);
    """
}
