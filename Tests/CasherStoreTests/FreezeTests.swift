import CasherStore
import CasherSystem
import Testing

@Suite struct FreezeTests {
  private func freeze(_ mount: String, _ body: String) -> StoredFreeze {
    StoredFreeze(
      mount: FilePath(mount), created: 1, cause: "unmount", files: 2, bytes: 3, body: Array(body.utf8))
  }

  @Test func `freezes are listed newest first, by directory, and give back what they were given`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    let first = try store.insert(freeze("/a", "one"))
    let second = try store.insert(freeze("/b", "two"))
    #expect(try store.freezes().map(\.id) == [second, first])
    #expect(try store.freezes(of: "/a").map(\.id) == [first])
    #expect(try store.freezes(of: "/c").isEmpty)
    let found = try #require(try store.freeze(first))
    #expect(found.body == Array("one".utf8) && found.mount == "/a" && found.files == 2 && found.bytes == 3)
    #expect(try store.lastFreeze(of: "/b")?.id == second)
    #expect(try store.freeze(second + 1) == nil)
  }

  @Test func `the oldest of a directory go, no number is given twice, and what is alike is kept once`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    try store.insert(freeze("/b", "same"))
    for _ in 0..<(Store.keptFreezes + 5) { try store.insert(freeze("/a", "same")) }
    #expect(try store.freezes(of: "/a").count == Store.keptFreezes)
    #expect(try store.freezes(of: "/b").count == 1)
    #expect(try place.sql("SELECT count(*) FROM freeze_bodies") == "1")
    let last = try #require(try store.freezes().first)
    try store.remove(freezes: try store.freezes().map(\.id))
    #expect(try place.sql("SELECT count(*) FROM freeze_bodies") == "0")
    #expect(try store.insert(freeze("/a", "same")) > last.id)
    #expect(try store.verify().problems == [])
  }

  @Test func `runs are found by what they left and by what was made within them, until they are gone`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    let blob = try store.putBlob(noise(100))
    var (inner, outer, other) = (makeRun("inner", blobs: [blob]), makeRun("outer"), makeRun("other", blobs: [blob]))
    inner.outputKeys = [7]
    outer.outputKeys = [7, 8]
    outer.innerRuns = [inner.id, inner.id]
    other.outputKeys = [9]
    other.parent = outer.id
    for run in [inner, outer, other] { try store.insert(run, pathSetBody: [1]) }
    #expect(try store.runs(leaving: 7, limit: 10).map(\.id) == [outer.id, inner.id])
    #expect(try store.runs(leaving: 7, naming: blob, limit: 10).map(\.id) == [inner.id])
    #expect(try store.runs(leaving: 7, naming: digest("nothing"), limit: 10).isEmpty)
    #expect(try store.runs(around: inner.id).map(\.id) == [outer.id])
    #expect(try store.runs(around: other.id).map(\.id) == [outer.id])
    #expect(try store.runs(around: outer.id).isEmpty)
    try store.remove(run: outer.id)
    #expect(try store.runs(leaving: 7, limit: 10).map(\.id) == [inner.id])
    #expect(try store.runs(around: inner.id).isEmpty)
    #expect(try place.sql("SELECT count(*) FROM inner_runs") == "0")
  }
}
