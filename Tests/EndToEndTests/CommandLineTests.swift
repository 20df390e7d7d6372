import Foundation
import Testing

@Suite("The command line of casherfs")
struct CommandLineTests {
  let place: Place

  init() throws { place = try Place() }

  @Test(
    "Every command explains itself",
    arguments: [
      "mount", "unmount", "status", "top", "stats", "log", "show", "explain", "evict", "config", "get", "diff",
      "history",
      "rm",
      "invalidate", "clear", "export", "import", "doctor", "completions",
    ])
  func help(command: String) throws {
    let outcome = try place.casherfs(command, "--help")
    #expect(outcome.status == 0)
    #expect(outcome.output.hasPrefix("usage: casherfs \(command)"))
    #expect(outcome.output.contains("--help"))
    #expect(outcome.output.split(separator: "\n").allSatisfy { $0.count <= 80 })
    #expect(try place.casherfs("help", command) == outcome)
    #expect(try place.casherfs("--help").output.contains("  \(command) "))
  }

  @Test("The version is printed")
  func version() throws {
    let outcome = try place.casherfs("--version")
    #expect(outcome.status == 0)
    #expect(outcome.output.hasPrefix("casherfs "))
  }

  @Test(
    "What cannot be understood is refused with status 2, and nothing on stdout",
    arguments: [
      [], ["frobnicate"], ["explain"], ["config", "surplus"], ["stats", "surplus"], ["stats", "--frobnicate"],
      ["stats", "--json=yes"], ["show"], ["mount"],
      ["evict"], ["evict", "--max-size"], ["evict", "--max-size", "10X"], ["evict", "--older-than", "soon"],
      ["top", "-i", "never"], ["top", "-n", "0"], ["export"], ["import"], ["evict", "--until-free", "much"],
      ["export", "-", "--json"],
      ["graph", "-f", "pdf"], ["get"], ["get", "@", "a", "b"], ["diff", "@"], ["history"], ["rm"], ["rm", "no-run"],
      ["invalidate"], ["clear"],
      ["invalidate", "--tag", "notag"], ["log", "--tag", "=x"],
      ["log", "--limit", "-1"], ["log", "--status", "perhaps"], ["show", "not-a-run"],
      ["mount", "-o", "nonsense", "/tmp"],
      ["mount", "-o", "timeout=never", "/tmp"], ["mount", "/tmp", "/usr"],
    ])
  func misuse(arguments: [String]) throws {
    let place = try Place()
    // A reference to a run is looked at only where there are runs.
    try FileManager.default.createDirectory(atPath: place.base + "/cache", withIntermediateDirectories: true)
    let outcome = try run(Programs.casherfs, arguments, environment: place.environment)
    #expect(outcome.status == 2)
    #expect(outcome.output.isEmpty)
    #expect(outcome.error.hasPrefix("casherfs: "))
    #expect(outcome.error.split(separator: "\n").count == 1)
  }

  @Test("Looking at a cache that is not there makes none")
  func noCache() throws {
    let statistics = try place.casherfs("stats", "--json").json(as: [String: Any].self)
    for key in ["hits", "misses", "uncacheable", "errors", "entries", "stored_bytes"] {
      #expect(statistics[key] as? Int == 0, "\(key)")
    }
    #expect(statistics["limit_bytes"] as? Int == 32 << 30)
    #expect(statistics["saved_seconds"] as? Double == 0)
    #expect(try place.casherfs("log", "--json").output == "[]\n")
    #expect(try place.casherfs("show", "@").status == 12)
    #expect(try place.casherfs("evict", "--max-size", "10G").status == 0)
    #expect(!FileManager.default.fileExists(atPath: place.base + "/cache"))
  }

  @Test("The size limit comes from CASHER_MAX_CACHE_BYTES")
  func limit() throws {
    place.environment["CASHER_MAX_CACHE_BYTES"] = "5G"
    #expect(try place.casherfs("stats", "--json").json(as: [String: Any].self)["limit_bytes"] as? Int == 5 << 30)
    place.environment["CASHER_MAX_CACHE_BYTES"] = "a lot"
    #expect(try place.casherfs("stats").status == 2)
  }
}
