import CasherStore
import CasherSystem
import Foundation
import Testing

@Suite struct EvictionTests {
  /// Ten runs, the first the least recently used, each with 10,000 bytes of its own and 10,000 shared by all.
  private func prepare(_ place: TemporaryStore) throws -> Store {
    let store = try place.open()
    let shared = try store.putBlob(noise(10_000, seed: 500))
    for number in 1...10 {
      let own = try store.putBlob(noise(10_000, seed: UInt64(number)))
      try store.insert(
        makeRun("\(number)", blobs: [own, shared], used: Int64(number), created: Int64(100 - number)), pathSetBody: [])
    }
    return store
  }

  private func stored(_ store: Store) throws -> Set<Int> {
    Set(try (1...10).filter { try store.run(digest("run \($0)")) != nil })
  }

  @Test func `the least recently used go first, and no more than must`() throws {
    let place = try TemporaryStore()
    let store = try prepare(place)
    defer { store.close() }
    store.touch(digest("run 1"))
    let before = try store.statistics().storedBytes
    let plan = try store.evict(maxBytes: before - 25_000, dryRun: true)
    #expect(plan.isDryRun)
    #expect(try stored(store).count == 10)
    let report = try store.evict(maxBytes: before - 25_000)
    #expect(report.runs == [2, 3, 4].map { digest("run \($0)") })
    #expect(report.runs == plan.runs)
    #expect(report.freedBytes == plan.freedBytes)
    #expect(report.blobs == 3)
    #expect(try stored(store) == [1, 5, 6, 7, 8, 9, 10])
    #expect(report.freedBytes >= 25_000 && report.freedBytes < 35_000)
    #expect(try store.statistics().storedBytes == report.storedBytes)
    #expect(try store.hasBlob(SHA256.digest(of: noise(10_000, seed: 500))))
    #expect(!FileManager.default.fileExists(atPath: place.blobPath(SHA256.digest(of: noise(10_000, seed: 2)))))
    #expect(try store.verify().problems == [])
  }

  @Test func `everything goes when nothing may stay`() throws {
    let place = try TemporaryStore()
    let store = try prepare(place)
    defer { store.close() }
    #expect(try store.evict(maxBytes: 0).runs.count == 10)
    #expect(try store.statistics().storedBytes == 0)
    #expect(
      try FileManager.default.subpathsOfDirectory(atPath: place.base + "/cache/blobs").allSatisfy { $0.count == 2 })
  }

  @Test func `what was not used since a time goes`() throws {
    let place = try TemporaryStore()
    let store = try prepare(place)
    defer { store.close() }
    #expect(try store.evict(olderThan: 4).runs.count == 3)
    #expect(try stored(store) == [4, 5, 6, 7, 8, 9, 10])
  }

  @Test func `what is pinned stays until it is unpinned, whatever process evicts`() throws {
    let place = try TemporaryStore()
    let store = try prepare(place)
    defer { store.close() }
    try store.pin(run: digest("run 3"), for: "mount")
    let own = SHA256.digest(of: noise(10_000, seed: 5))
    try store.pin(blobs: [own, own], for: "mount")
    let other = try place.open()
    defer { other.close() }
    let report = try other.evict(maxBytes: 0)
    #expect(report.pinnedRuns == 1)
    #expect(try stored(store) == [3])
    #expect(try store.unusableBlobs(of: digest("run 3")) == [])
    #expect(try store.openBlob(own).contents() == noise(10_000, seed: 5))
    #expect(try store.pinOwners() == ["mount"])
    try store.unpin(blobs: [own], for: "mount")
    #expect(try other.hasBlob(own))
    try store.unpin(blobs: [own], for: "mount")
    #expect(try !other.hasBlob(own))
    try store.unpin(run: digest("run 3"), for: "mount")
    #expect(try other.evict(maxBytes: 0).storedBytes == 0)
    #expect(try store.pinOwners() == [])
  }

  @Test func `a pinned run that is replaced leaves its blobs to who pinned it`() throws {
    let place = try TemporaryStore()
    let store = try prepare(place)
    defer { store.close() }
    try store.pin(run: digest("run 3"), for: "mount")
    try store.insert(makeRun("new", strong: "3"), pathSetBody: [])
    let own = SHA256.digest(of: noise(10_000, seed: 3))
    _ = try store.evict(maxBytes: 0)
    #expect(try store.openBlob(own).contents() == noise(10_000, seed: 3))
    #expect(try store.verify().problems == [])
    try store.unpin(run: digest("run 3"), for: "mount")
    #expect(try !store.hasBlob(own))
    #expect(try store.statistics().storedBytes == 0)
  }

  @Test func `what an owner held is given up at once`() throws {
    let place = try TemporaryStore()
    let store = try prepare(place)
    defer { store.close() }
    try store.pin(run: digest("run 3"), for: "mount")
    try store.pin(blobs: [SHA256.digest(of: noise(10_000, seed: 5))], for: "mount")
    try store.unpinAll(for: "mount")
    #expect(try store.evict(maxBytes: 0).storedBytes == 0)
  }

  @Test func `a run that is gone cannot be pinned`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    #expect(fails(.missingBlob) { try store.pin(run: digest("run x"), for: "mount") })
    #expect(fails(.missingBlob) { try store.pin(blobs: [digest("x")], for: "mount") })
  }

  @Test func `a blob put for a run that is yet to come stays`() throws {
    let place = try TemporaryStore()
    let store = try prepare(place)
    defer { store.close() }
    let blob = try store.putBlob(noise(10_000, seed: 77))
    let other = try place.open()
    defer { other.close() }
    try store.flush()
    _ = try other.evict(maxBytes: 0)
    try store.insert(makeRun("late", blobs: [blob]), pathSetBody: [])
    #expect(try store.openBlob(blob).contents() == noise(10_000, seed: 77))
  }

  @Test func `insertions beyond the limit evict by themselves`() throws {
    let place = try TemporaryStore()
    place.options.limit = 200_000
    let store = try place.open()
    defer { store.close() }
    for number in 1...60 {
      let blob = try store.putBlob(noise(10_000, seed: UInt64(number)))
      try store.insert(makeRun("\(number)", blobs: [blob], used: Int64(number)), pathSetBody: [])
    }
    try store.flush()
    let statistics = try store.statistics()
    #expect(statistics.storedBytes <= 200_000)
    #expect(statistics.storedBytes > 150_000)
    #expect(try store.run(digest("run 60")) != nil)
  }

  @Test func `a run larger than the limit is refused`() throws {
    let place = try TemporaryStore()
    place.options.limit = 5_000
    let store = try place.open()
    defer { store.close() }
    let blob = try store.putBlob(noise(10_000))
    #expect(fails(.tooLarge) { try store.insert(makeRun("1", blobs: [blob]), pathSetBody: []) })
  }

  @Test func `inflated copies go before any run`() throws {
    let place = try TemporaryStore()
    let store = try prepare(place)
    defer { store.close() }
    let blob = try store.putBlob(text(100_000))
    try store.insert(makeRun("soft", blobs: [blob]), pathSetBody: [])
    try store.openBlob(blob).close()
    let full = try store.statistics()
    #expect(full.inflatedBytes == 100_000)
    let report = try store.evict(maxBytes: full.storedBytes - 10)
    #expect(report.runs == [])
    #expect(report.freedBytes == 100_000)
    #expect(
      try FileManager.default.subpathsOfDirectory(atPath: place.base + "/cache/inflated").allSatisfy { $0.count == 2 })
    #expect(try store.openBlob(blob).contents() == text(100_000))
  }
}
