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

  @Test("What is placed stays, and how much that is, is said")
  func kept() throws {
    try withMount { place throws in
      let script = "head -c 300000 /dev/urandom > big"
      #expect(try place.acache(script).status == 0)
      try place.shell("rm big")
      #expect(try place.acache(script).status == 0)
      let outcome = try place.casherfs("evict", "--max-size", "1000", "--json")
      #expect(outcome.status == 0)
      #expect(outcome.error.contains("are placed or being captured and were kept"), "\(outcome)")
      let report = try outcome.json(as: [String: Any].self)
      #expect(report["reached"] as? Bool == false && report["kept_bytes"] as? Int ?? 0 >= 300_000)
      #expect(try place.shell("wc -c < big").output == "300000\n")
      #expect(try place.casherfs("freeze", place.work).status == 0)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.casherfs("evict", "--max-size", "1000").error == "")
    }
  }

  @Test("A cache over its limit that nothing may go from says so in the log")
  func over() throws {
    let place = try Place()
    place.environment["CASHER_MAX_CACHE_BYTES"] = "400000"
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    for name in ["one", "two"] {
      let script = "head -c 300000 /dev/urandom > \(name)"
      #expect(try place.acache(script).status == 0)
      try place.shell("rm \(name)")
      #expect(try place.acache(script).status == 0)
    }
    try place.shell("sha256sum one two > ../sums")
    // Asking for the statistics has the daemon do what is pending.
    _ = try place.counts()
    let log = try place.casherfs("log", "--daemon", place.work, "-n", "0").output
    #expect(log.contains("event=evicted") && log.contains("kept_bytes="), "\(log)")
    #expect(try place.shell("sha256sum -c ../sums").status == 0)
  }
}
