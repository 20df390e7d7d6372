extension Schema {
  /// What makes tables of the next version out of those of the one before: the first entry leads from 1 to 2. Entries
  /// are only ever added at the end.
  static let migrations = [lists, provenance]

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

  /// Version 3: what was in a directory when it was frozen, which runs left something at a path, and which runs were
  /// made in others.
  private static let provenance = """
    CREATE TABLE freeze_bodies(id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
    CREATE TABLE freezes(
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      mount BLOB NOT NULL,
      created INTEGER NOT NULL,
      cause TEXT NOT NULL,
      files INTEGER NOT NULL,
      bytes INTEGER NOT NULL,
      body INTEGER NOT NULL);
    CREATE INDEX freezes_by_mount ON freezes(mount, id);
    CREATE INDEX freezes_by_body ON freezes(body);
    CREATE TRIGGER freeze_removed AFTER DELETE ON freezes BEGIN
      DELETE FROM freeze_bodies
        WHERE id = old.body AND NOT EXISTS(SELECT 1 FROM freezes f WHERE f.body = old.body);
    END;

    CREATE TABLE run_outputs(run INTEGER NOT NULL, path INTEGER NOT NULL, PRIMARY KEY(run, path)) WITHOUT ROWID;
    CREATE INDEX run_outputs_by_path ON run_outputs(path);

    CREATE TABLE inner_runs(run INTEGER NOT NULL, id BLOB NOT NULL, PRIMARY KEY(run, id)) WITHOUT ROWID;
    CREATE INDEX inner_runs_by_id ON inner_runs(id);
    """
}
