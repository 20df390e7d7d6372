import Foundation
import Testing

@Suite("Asking about calls and settings")
struct ExplainCommandTests {
  @Test("explain tells a hit from a miss, names what differs, and neither runs nor counts anything")
  func explain() throws {
    try withMount { place throws in
      try place.write("one", to: "input")
      let call = ["--", "/bin/sh", "-c", "cat input > made"]
      func explain(_ options: String...) throws -> Outcome {
        try run(Programs.casherfs, ["explain"] + options + call, in: place.work, environment: place.environment)
      }
      #expect(try explain().status == 1)
      #expect(place.read("made") == nil)
      try place.acache("cat input > made")
      #expect(try explain() == Outcome(status: 0, output: "hit: a recorded run has the same inputs\n", error: ""))
      try place.write("two", to: "input")
      let changed = try explain()
      #expect(changed.status == 1)
      #expect(changed.output.contains("input: was file"))
      #expect(place.read("made") == "one")
      try place.write("one", to: "input")
      #expect(try explain("--salt", "x").status == 1)
      #expect(try explain("--no-such-option").status == 2)
      #expect(try place.counts() == Counts(hits: 0, misses: 1))
    }
  }

  @Test("Outside any mount explain says so")
  func unmounted() throws {
    let place = try Place()
    let outcome = try place.casherfs("explain", "--", "true", in: place.work)
    #expect(outcome.status == 10)
    #expect(outcome.error.split(separator: "\n").count == 1)
  }

  @Test("Where a configuration file cannot be understood explain says what is wrong with it")
  func misconfigured() throws {
    try withMount { place throws in
      try place.write("no_such_setting: 1\n", to: "casher.yml")
      let outcome = try place.casherfs("explain", "--", "true", in: place.work)
      #expect(outcome.status == 30)
      #expect(outcome.error.contains("casher.yml:1:1") && outcome.error.contains("no_such_setting"), "\(outcome)")
    }
  }

  @Test("config names each setting, its value and where it comes from")
  func configuration() throws {
    let place = try Place()
    place.environment["CASHER_MAX_CACHE_BYTES"] = "5G"
    let settings = try place.casherfs("config", "--json").json(as: [String: [String: Any]].self)
    #expect(settings["cache_directory"]?["value"] as? String == place.base + "/cache")
    #expect(settings["cache_directory"]?["origin"] as? String == "environment")
    #expect(settings["cache_directory"]?["source"] as? String == "CASHER_CACHE_DIR")
    #expect(settings["max_cache_size"]?["value"] as? Int == 5 << 30)
    #expect(settings["max_cache_size"]?["source"] as? String == "CASHER_MAX_CACHE_BYTES")
    #expect(settings["mount_timeout"]?["origin"] as? String == "built in")
    #expect((settings["ignored_environment"]?["value"] as? [String])?.contains("TERM") == true)
    #expect((settings["ignored_outside"]?["value"] as? [String])?.contains("/proc") == true)
    let flag = try place.casherfs("config", "--json", "--cache-dir", "/x").json(as: [String: [String: Any]].self)
    #expect(flag["cache_directory"]?["origin"] as? String == "command line")
    #expect(try place.casherfs("config").output.contains("cache_directory"))
  }
}
