import Foundation
import Testing

/// Which runs go when something is invalidated.
@Suite("Invalidating", .serialized) struct InvalidateTests {
  private func commands(_ place: Place) throws -> Set<String> {
    let log = try place.casherfs("log", "--json").json(as: [[String: Any]].self)
    return Set(log.compactMap { $0["command"] as? String })
  }

  @Test("Runs go with those that they were made in, and with those that they were a hit in")
  func outer() throws {
    try withMount { place throws in
      try place.write("one\n", to: "in")
      let inner = "acache -- sh -c 'cat in > inner'"
      #expect(try place.acache("\(inner); : first").status == 0)
      #expect(try place.acache("acache -- sh -c '\(inner.replacing("'", with: "\""))'; : deep").status == 0)
      #expect(try place.acache("\(inner); echo second > second").status == 0)
      #expect(try place.acache("echo other > other").status == 0)
      #expect(try place.counts().hits > 0)
      let before = try commands(place)
      let listed = try place.casherfs("invalidate", "--command", "sh -c 'cat in > inner'", "--dry-run", "--json")
      let runs = try #require(try listed.json(as: [String: Any].self)["runs"] as? [String])
      #expect(runs.count == before.count - 1)
      #expect(try place.casherfs("invalidate", "--command", "sh -c 'cat in > inner'").status == 0)
      #expect(try commands(place) == before.filter { $0.contains("echo other") })
    }
  }

  @Test("By a file, by the directory it is in, and by a directory around the mount")
  func paths() throws {
    try withMount { place throws in
      try place.shell("mkdir -p d/e; echo one > d/e/one; echo two > two")
      func make() throws {
        #expect(try place.acache("cat d/e/one > made-of-one").status == 0)
        #expect(try place.acache("cat two > made-of-two").status == 0)
      }
      for (path, left) in [("d/e/one", 1), ("d", 1), ("two", 1), ("never", 2), (".", 0), ("..", 0)] {
        try make()
        #expect(try place.casherfs("invalidate", "--path", place.work + "/" + path).status == 0)
        #expect(try commands(place).count == left, "\(path)")
      }
    }
  }
}
