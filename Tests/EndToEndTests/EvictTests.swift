import Foundation
import Testing

@Suite("Making the cache smaller")
struct EvictTests {
  private func left(_ place: Place) throws -> [String] {
    try place.casherfs("log", "--json").json(as: [[String: Any]].self).compactMap { $0["command"] as? String }
  }

  private func record(_ place: Place) throws {
    try place.acache("echo one", options: ["--tag", "keep=no"])
    try place.acache("echo two")
    try place.acache("echo three", options: ["--tag", "keep=yes"])
  }

  @Test("Runs go by tag and by command, and a dry run lists them")
  func chosen() throws {
    try withMount { place throws in
      try record(place)
      let dry = try place.casherfs("evict", "--tag", "keep=no", "--dry-run").output
      #expect(dry.contains("echo one") && dry.contains("1 run,"))
      #expect(try left(place).count == 3)
      #expect(try place.casherfs("evict", "--tag", "keep=no").output.contains("1 run,"))
      #expect(try place.casherfs("evict", "--command", "*two*").output.contains("1 run,"))
      #expect(try left(place) == ["/bin/sh -c 'echo three'"])
      #expect(try place.casherfs("evict", "--tag", "keep=yes", "--older-than", "1d").output.contains("0 runs"))
      #expect(try left(place).count == 1)
    }
  }

  @Test("evict goes on until so much is free, and says when that cannot be")
  func free() throws {
    try withMount { place throws in
      try record(place)
      #expect(try place.casherfs("evict", "--until-free", "1").output.contains("0 runs"))
      #expect(try left(place).count == 3)
      let outcome = try place.casherfs("evict", "--until-free", "1000P", "--json")
      #expect(outcome.status == 0)
      #expect(outcome.error.contains("there are not 1000 PiB free still"))
      let report = try outcome.json(as: [String: Any].self)
      #expect(report["reached"] as? Bool == false)
      #expect((report["runs"] as? [Any])?.count == 3)
      #expect(try left(place).isEmpty)
    }
  }

  @Test("A limit that the chosen runs do not reach is said")
  func restricted() throws {
    try withMount { place throws in
      try record(place)
      let outcome = try place.casherfs("evict", "--max-size", "0", "--tag", "keep=no")
      #expect(outcome.output.contains("1 run,"))
      #expect(outcome.error.contains("although every run that was chosen was removed"))
      #expect(try left(place).count == 2)
      #expect(try place.casherfs("evict", "--max-size", "0").error == "")
    }
  }
}
