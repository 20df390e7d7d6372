import CasherStore
import CasherSystem
import Foundation
import Testing

@Suite struct RunTests {
  @Test func `a run comes back as it was stored`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    let blobs = [try store.putBlob(noise(10)), try store.putBlob(noise(10_000))]
    var run = makeRun("a", blobs: blobs, tags: [CasherStore.Tag(name: "k", value: "v")], body: noise(100_000))
    run.parent = digest("parent")
    run.command = [0xff, 0x20, 0x41]
    try store.insert(run, pathSetBody: noise(5000))
    var found = try #require(try store.run(run.id))
    #expect(Set(found.blobs) == Set(blobs))
    found.blobs = run.blobs
    #expect(found == run)
    #expect(try store.runs(strongKey: run.strongKey).map(\.id) == [run.id])
    #expect(try store.runs(weakKey: run.weakKey).map(\.id) == [run.id])
    #expect(try store.pathSets(weakKey: run.weakKey).map(\.body) == [noise(5000)])
    #expect(try store.pathSetDigests(weakKey: run.weakKey) == [run.pathSet])
    #expect(try store.pathSetBody(run.pathSet) == noise(5000))
    #expect(try store.unusableBlobs(of: run.id) == [])
  }

  @Test func `a run replaces the one of the same strong key and conditions alone`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    let shared = try store.putBlob(noise(10_000))
    try store.insert(makeRun("1", strong: "s", condition: "x", blobs: [shared], used: 1), pathSetBody: [])
    try store.insert(makeRun("2", strong: "s", condition: "y", used: 2), pathSetBody: [])
    try store.insert(makeRun("3", strong: "s", condition: "x", blobs: [shared], used: 3), pathSetBody: [])
    #expect(try store.runs(strongKey: digest("s")).map(\.id) == [digest("run 3"), digest("run 2")])
    #expect(try store.run(digest("run 1")) == nil)
    #expect(try store.hasBlob(shared))
    #expect(try store.verify().problems == [])
  }

  @Test func `a run that is gone is not taken for one whose blobs are all there`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    #expect(fails(.missingBlob) { _ = try store.unusableBlobs(of: digest("run a")) })
    try store.insert(makeRun("a"), pathSetBody: [])
    #expect(try store.unusableBlobs(of: digest("run a")) == [])
  }

  @Test func `a run whose blob is not there is refused`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    let blob = try store.putBlob(noise(10_000))
    #expect { try store.insert(makeRun("a", blobs: [blob, digest("none")]), pathSetBody: []) } throws: {
      ($0 as? StoreError)?.code == .missingBlob
    }
    #expect(try store.statistics().entries == 0)
    #expect(try store.hasBlob(blob))
  }

  @Test func `what was used last comes first`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    for number in 1...3 {
      try store.insert(
        makeRun("\(number)", pathSet: "paths \(number)", used: Int64(number)), pathSetBody: [UInt8(number)])
    }
    #expect(try store.pathSets(weakKey: digest("weak")).map(\.body) == [[3], [2], [1]])
    store.touch(digest("run 1"))
    store.touch(digest("run 1"))
    try store.flush()
    #expect(try store.pathSets(weakKey: digest("weak")).map(\.body) == [[1], [3], [2]])
    #expect(try store.pathSets(weakKey: digest("weak"), limit: 1).map(\.body) == [[1]])
    #expect(try store.runs(weakKey: digest("weak")).map(\.id).first == digest("run 1"))
    #expect(try store.run(digest("run 1"))?.hits == 2)
  }

  @Test func `a path set goes with the last run that observed it`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    try store.insert(makeRun("1"), pathSetBody: [1])
    try store.insert(makeRun("2"), pathSetBody: [1])
    try store.insert(makeRun("3", weak: "other"), pathSetBody: [1])
    #expect(try store.remove(run: digest("run 1")))
    #expect(try !store.remove(run: digest("run 1")))
    #expect(try store.pathSets(weakKey: digest("weak")).count == 1)
    try store.remove(run: digest("run 2"))
    #expect(try store.pathSets(weakKey: digest("weak")).isEmpty)
    #expect(try store.pathSetBody(digest("paths")) == [1])
    try store.remove(run: digest("run 3"))
    #expect(try store.pathSetBody(digest("paths")) == nil)
    #expect(try store.statistics().storedBytes == 0)
  }

  @Test func `lists show what the filter asks for, newest first`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    for number in 1...9 {
      try store.insert(
        makeRun(
          "\(number)", created: Int64(number),
          tags: number % 2 == 0 ? [CasherStore.Tag(name: "even", value: "yes")] : [],
          status: number == 5 ? 1 : 0),
        pathSetBody: [])
    }
    func list(_ change: (inout RunFilter) -> Void) throws -> [String] {
      var filter = RunFilter()
      change(&filter)
      return try store.runs(matching: filter).map { String(decoding: $0.command.dropFirst(5), as: UTF8.self) }
    }
    #expect(try list { _ in } == ["9", "8", "7", "6", "5", "4", "3", "2", "1"])
    #expect(try list { $0.limit = 2 } == ["9", "8"])
    #expect(
      try list {
        $0.limit = 2; $0.skip = 2
      } == ["7", "6"])
    #expect(try list { $0.tag = CasherStore.Tag(name: "even", value: "yes") } == ["8", "6", "4", "2"])
    #expect(try list { $0.command = "make [12]" } == ["2", "1"])
    #expect(try list { $0.since = 8 } == ["9", "8"])
    #expect(try list { $0.succeeded = false } == ["5"])
    #expect(try list { $0.mount = "/elsewhere" } == [])
    var filter = RunFilter()
    filter.limit = 1
    #expect(try store.runs(matching: filter, withBodies: true).first?.body == Array("body of 9".utf8))
  }

  @Test func `an id is found by its first digits`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    for number in 1...20 { try store.insert(makeRun("\(number)", created: Int64(number)), pathSetBody: []) }
    let id = digest("run 7")
    #expect(try store.runs(idPrefix: id.hexadecimal) == [id])
    #expect(try store.runs(idPrefix: String(id.hexadecimal.prefix(13))) == [id])
    #expect(try store.runs(idPrefix: "") == [])
    #expect(try store.runs(idPrefix: "xyz") == [])
    let first = String(id.hexadecimal.prefix(1))
    let matching = (1...20).map { digest("run \($0)") }.filter { $0.hexadecimal.hasPrefix(first) }
    #expect(Set(try store.runs(idPrefix: first, limit: 100)) == Set(matching))
  }

  @Test func `events are counted across processes and sessions`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    store.count(.hit(saved: 1_500_000_000))
    store.count(.miss())
    store.count(.uncacheable(code: "network"))
    store.count(.uncacheable(code: "network"))
    store.count(.error)
    #expect(try store.statistics().uncacheableByCode == ["network": 2])
    store.close()
    let again = try place.open()
    defer { again.close() }
    again.count(.hit(saved: -5))
    let statistics = try again.statistics()
    #expect(statistics.hits == 2)
    #expect(statistics.misses == 1)
    #expect(statistics.uncacheable == 2)
    #expect(statistics.errors == 1)
    #expect(statistics.savedSeconds == 1.5)
    #expect(statistics.limitBytes == 32 << 30)
  }

  @Test func `every lookup of a hit goes by an index`() throws {
    let place = try TemporaryStore()
    try place.open().close()
    let lookups = [
      "SELECT p.id FROM variants v JOIN path_sets p ON p.id = v.path_set WHERE v.weak = ? ORDER BY v.used DESC LIMIT 1",
      "SELECT r.*, p.digest FROM runs r JOIN path_sets p ON p.id = r.path_set WHERE r.id = ?",
      "SELECT r.* FROM runs r JOIN path_sets p ON p.id = r.path_set WHERE r.weak = ? ORDER BY r.used DESC LIMIT 1",
      "SELECT r.* FROM runs r JOIN path_sets p ON p.id = r.path_set ORDER BY r.created DESC, r.seq DESC LIMIT 1",
      "SELECT b.digest FROM run_blobs n JOIN blobs b ON b.id = n.blob WHERE n.run = ?",
      "SELECT id FROM blobs WHERE digest = ?",
      "SELECT id FROM blobs WHERE refs = 0 AND reserved < ? LIMIT 1",
      "SELECT size FROM digests WHERE device = ? AND inode = ?",
      "SELECT r.seq FROM runs r WHERE (r.used, r.seq) > (?, ?) ORDER BY r.used, r.seq LIMIT 1",
      "SELECT i.blob FROM inflated i WHERE i.used < ? ORDER BY i.used LIMIT 1",
      "SELECT seq FROM runs WHERE strong = ?1 AND condition = ?2 UNION SELECT seq FROM runs WHERE id = ?3",
      "DELETE FROM variants WHERE (weak, path_set) = (SELECT weak, path_set FROM runs WHERE seq = ?) AND runs <= 0",
      "UPDATE variants SET used = 1 WHERE (weak, path_set) = (SELECT weak, path_set FROM runs WHERE id = ?1)",
      "SELECT EXISTS(SELECT 1 FROM run_pins p WHERE p.run = ?)",
      "SELECT blob FROM blob_pins WHERE owner = ? AND holder = ?",
    ]
    for lookup in lookups {
      let plan = try place.sql("EXPLAIN QUERY PLAN " + lookup)
      let scans = plan.split(separator: "\n").filter {
        $0.contains("SCAN") && !$0.contains("USING") && !$0.contains("CONSTANT")
      }
      #expect(scans == [], "\(lookup): \(plan)")
      #expect(!plan.contains("TEMP B-TREE FOR ORDER BY") || lookup.contains("strong"), "\(lookup): \(plan)")
    }
  }

  @Test func `a hundred thousand runs do not slow a lookup down`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    try store.insert(makeRun("only", weak: "mine"), pathSetBody: [1])
    _ = try place.sql(
      """
      INSERT INTO runs(id, weak, path_set, strong, condition, created, used, hits, duration, status, command, directory,
        mount, output_bytes, inputs, outputs, stored)
      SELECT randomblob(32), randomblob(32), 1, randomblob(32), randomblob(32), n, n, 0, 0, 0, x'', x'', x'', 0, 0, 0, 0
      FROM (WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 100000)
        SELECT n FROM numbers)
      """)
    let taken = try processorTime { () throws in
      for _ in 0..<100 {
        #expect(try store.pathSets(weakKey: digest("mine")).count == 1)
        #expect(try store.runs(strongKey: digest("only")).count == 1)
      }
    }
    // 200 lookups; each takes far less than a walk.
    #expect(try taken < place.timeOfWalk() * 50)
  }
}
