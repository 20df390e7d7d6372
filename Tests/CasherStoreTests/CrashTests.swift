import CasherStore
import CasherSystem
import Foundation
import Testing

/// What a store must be after anything has happened to a process that worked on it.
func expectSound(_ place: TemporaryStore, _ comment: String) throws {
  let store = try place.open()
  defer { store.close() }
  #expect(try store.verify().problems == [], "\(comment)")
  for run in try store.runs(matching: RunFilter()) {
    guard let whole = try store.run(run.id) else { continue }
    for blob in whole.blobs {
      #expect(SHA256.digest(of: try store.openBlob(blob).contents()) == blob, "\(comment)")
    }
  }
  let content = noise(10_000, seed: 99)
  let blob = try store.putBlob(content)
  try store.insert(makeRun("afterwards", blobs: [blob]), pathSetBody: [])
  #expect(try store.openBlob(blob).contents() == content, "\(comment)")
}

@Suite(.serialized) struct CrashTests {
  /// How many system calls the helper makes: the least number at which a kill comes too late.
  private func systemCalls(_ arguments: (TemporaryStore) -> [String], prepared: Bool) throws -> Int {
    var low = 1
    var high = 1 << 14
    while low < high {
      let middle = (low + high) / 2
      let place = try TemporaryStore(inMemory: true)
      if prepared { _ = try Helper.run(arguments(place)) }
      if try Helper.run(arguments(place), fault: "\(middle):kill").status < 0 {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return low
  }

  @Test(arguments: [false, true])
  func `whichever system call is the last one, the store is whole afterwards`(isThereAlready: Bool) throws {
    let arguments = { (place: TemporaryStore) in ["work", place.base + "/cache", "1", "2"] }
    let count = try systemCalls(arguments, prepared: isThereAlready)
    #expect(count > 50)
    for number in 1..<count {
      let place = try TemporaryStore(inMemory: true)
      if isThereAlready { _ = try Helper.run(arguments(place)) }
      let outcome = try Helper.run(arguments(place), fault: "\(number):kill")
      #expect(outcome.status != 3)
      try expectSound(place, "killed at system call \(number)")
    }
  }

  @Test(arguments: [ENOSPC, EIO])
  func `whichever system call fails, no wrong byte comes out and the store is whole afterwards`(error: Int32) throws {
    let arguments = { (place: TemporaryStore) in ["work", place.base + "/cache", "1", "2"] }
    let count = try systemCalls(arguments, prepared: false)
    for number in 1..<count {
      let place = try TemporaryStore(inMemory: true)
      let outcome = try Helper.run(arguments(place), fault: "\(number):\(error)")
      #expect(outcome.status == 0, "system call \(number): \(outcome.output)")
      try expectSound(place, "system call \(number) failed with \(error): \(outcome.output)")
    }
  }

  @Test func `processes killed at any moment leave a whole store`() throws {
    let place = try TemporaryStore(inMemory: true)
    for round in 0..<40 {
      let others = try (1...3).map { try Helper.start(["work", place.base + "/cache", "\($0)", "6"]) }
      let outcome = try Helper.run(["work", place.base + "/cache", "9", "20"], fault: "\(20 + round * 13):kill")
      #expect(outcome.status != 3)
      for other in others { #expect(other().status == 0) }
    }
    try expectSound(place, "after the kills")
  }

  @Test func `what a killed process left behind is cleared by the next that opens the store`() throws {
    let place = try TemporaryStore(inMemory: true)
    _ = try Helper.run(["work", place.base + "/cache", "1", "1"], fault: "3:kill:write")
    let scratch = place.base + "/cache/tmp"
    #expect(try !FileManager.default.subpathsOfDirectory(atPath: scratch).isEmpty)
    try place.open().close()
    #expect(try FileManager.default.subpathsOfDirectory(atPath: scratch).isEmpty)
  }
}
