import CasherStore
import CasherSystem
import Testing

@Suite struct MigrationTests {
  /// Takes a store back to the tables of an earlier version.
  private func downgrade(_ place: TemporaryStore, to version: Int) throws {
    var statements = [
      "DROP TABLE freezes", "DROP TABLE freeze_bodies", "DROP TABLE run_outputs", "DROP TABLE inner_runs",
    ]
    if version < 2 {
      statements += [
        "DROP INDEX runs_by_command", "DROP INDEX run_blobs_by_blob", "DROP TRIGGER variant_removed",
        "DROP TABLE misses", "DROP TABLE activity", "DROP TABLE commands",
      ]
    }
    for statement in statements + ["PRAGMA user_version=\(version)"] { _ = try place.sql(statement) }
  }

  @Test(arguments: [1, 2]) func `a store of an earlier version is brought up to date, and keeps its runs`(
    version: Int
  ) throws {
    let place = try TemporaryStore()
    let store = try place.open()
    let blob = try store.putBlob(noise(10_000))
    try store.insert(makeRun("a", blobs: [blob]), pathSetBody: [1])
    store.close()
    let fresh = try place.sql("SELECT type, name, sql FROM sqlite_schema ORDER BY name")
    try downgrade(place, to: version)
    place.options.isReadOnly = true
    do {
      try place.open().close()
      Issue.record("an old store cannot be read without bringing it up to date")
    } catch let error as StoreError { #expect(error.code == .olderFormat) }
    place.options.isReadOnly = false
    let again = try place.open()
    #expect(try again.run(digest("run a"))?.blobs == [blob])
    #expect(try again.runs(naming: blob, limit: 10).map(\.id) == [digest("run a")])
    #expect(try again.verify().problems == [])
    again.close()
    #expect(try place.sql("SELECT type, name, sql FROM sqlite_schema ORDER BY name") == fresh)
  }

  @Test func `lists of a hundred thousand runs end at their limit, and go by an index`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    try store.insert(makeRun("only", weak: "mine", created: 5_000_000), pathSetBody: [1])
    _ = try place.sql(
      """
      INSERT INTO runs(id, weak, path_set, strong, condition, created, used, hits, duration, status, command, directory,
        mount, output_bytes, inputs, outputs, stored)
      SELECT randomblob(32), randomblob(32), 1, randomblob(32), randomblob(32), n, n, 0, 0, 0,
        CAST('gcc -c file' || n || '.c' AS BLOB), x'', x'', 0, 0, 0, 0
      FROM (WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 100000)
        SELECT n FROM numbers)
      """)
    _ = try place.sql("INSERT INTO tags SELECT seq, 'all', 'yes' FROM runs")
    _ = try place.sql("INSERT INTO tags SELECT seq, 'rare', 'yes' FROM runs LIMIT 1")
    func list(_ set: (inout RunFilter) -> Void) throws -> Int {
      var filter = RunFilter()
      filter.limit = 10
      set(&filter)
      return try store.runs(matching: filter).count
    }
    let taken = try processorTime { () throws in
      for _ in 0..<10 {
        #expect(try list { _ in } == 10)
        #expect(try list { $0.command = "gcc -c file777.c" } == 1)
        #expect(try list { $0.command = "gcc *" } == 10)
        #expect(try list { $0.exactCommand = Array("make only".utf8) } == 1)
        #expect(try list { $0.tag = CasherStore.Tag(name: "all", value: "yes") } == 10)
        #expect(try list { $0.tag = CasherStore.Tag(name: "rare", value: "yes") } == 1)
        #expect(try list { $0.weakKey = digest("mine") } == 1)
      }
    }
    // Seventy lists; each takes far less than a walk.
    #expect(try taken < place.timeOfWalk() * 35)
  }
}
