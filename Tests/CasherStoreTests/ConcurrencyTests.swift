import CasherStore
import CasherSystem
import Foundation
import Testing

@Suite struct ConcurrencyTests {
  @Test func `several processes put, read and evict in one store`() throws {
    let place = try TemporaryStore()
    let processes = try (1...4).map { try Helper.start(["work", place.base + "/cache", "\($0)", "40"]) }
    for process in processes {
      let outcome = process()
      #expect(outcome.status == 0)
      #expect(outcome.output.split(separator: "\n").allSatisfy { $0.hasPrefix("missingBlob") }, "\(outcome.output)")
    }
    try expectSound(place, "several processes")
  }

  @Test func `an ordinary user has a store as well`() throws {
    let place = try TemporaryStore()
    #expect(chown(place.base, 65534, 65534) == 0)
    let outcome = try Helper.run(["work", place.base + "/cache", "1", "20"], user: 65534)
    #expect(outcome.status == 0)
    #expect(outcome.output == "")
  }

  @Test func `the same content put and removed by several processes never dangles`() throws {
    let place = try TemporaryStore()
    let processes = try (1...3).map { _ in try Helper.start(["same", place.base + "/cache", "150"]) }
    for process in processes {
      let outcome = process()
      #expect(outcome.status == 0)
      #expect(outcome.output.split(separator: "\n").allSatisfy { $0.hasPrefix("missingBlob") }, "\(outcome.output)")
    }
    try expectSound(place, "same content")
  }

  @Test func `threads of one process share a store`() async throws {
    let place = try TemporaryStore()
    let store = try place.open()
    let counts = await withTaskGroup(of: Int.self) { group in
      for thread in 0..<8 {
        group.addTask {
          var failures = 0
          for round in 0..<30 {
            do {
              let own = noise(3000 + round * 700, seed: UInt64(thread * 100 + round))
              let shared = text(50_000, seed: round)
              let blobs = [try store.putBlob(own), try store.putBlob(shared)]
              try store.insert(makeRun("\(thread)-\(round)", blobs: blobs), pathSetBody: [])
              if try store.openBlob(blobs[0]).contents() != own { failures += 1 }
              if try store.openBlob(blobs[1]).contents() != shared { failures += 1 }
              store.touch(digest("run \(thread)-\(round)"))
            } catch {
              Issue.record(error)
              failures += 1
            }
          }
          return failures
        }
      }
      return await group.reduce(0, +)
    }
    #expect(counts == 0)
    #expect(try store.statistics().entries == 240)
    store.close()
    try expectSound(place, "threads")
  }
}
