import Foundation
import Testing

@Suite("Looking at and evicting what is stored")
struct StoredRunTests {
  @Test("stats counts up to the last acache that has returned")
  func statistics() throws {
    try withMount { place throws in
      try place.acache("echo x > out")
      try place.acache("echo x > out")
      try place.acache("exit 1")
      let statistics = try place.casherfs("stats", "--json").json(as: [String: Any].self)
      #expect(statistics["hits"] as? Int == 1)
      #expect(statistics["misses"] as? Int == 2)
      #expect(statistics["uncacheable"] as? Int == 1)
      #expect(statistics["errors"] as? Int == 0)
      #expect(statistics["entries"] as? Int == 1)
      #expect((statistics["stored_bytes"] as? Int ?? 0) > 0)
      #expect(statistics["saved_seconds"] is Double)
      #expect((statistics["uncacheable_by_reason"] as? [String: Int]) == ["failed": 1])
      #expect(try place.casherfs("stats").output.contains("hits"))
    }
  }

  @Test("log lists runs newest first, and show tells what they read and made")
  func logAndShow() throws {
    try withMount { place throws in
      try place.write("text", to: "input")
      try place.acache("cat input > out")
      try place.acache("echo second")
      let runs = try place.casherfs("log", "--json").json(as: [[String: Any]].self)
      #expect(runs.count == 2)
      let commands = runs.compactMap { $0["command"] as? String }
      #expect(commands.first?.contains("echo second") == true)
      #expect(try place.casherfs("log", "--limit", "1").output.split(separator: "\n").count == 2)
      #expect(try place.casherfs("log", "--command", "*cat input*", "--json").json(as: [Any].self).count == 1)

      let run = try place.casherfs("show", "@{1}", "--json").json(as: [String: Any].self)
      #expect(run["arguments"] as? [String] == ["/bin/sh", "-c", "cat input > out"])
      let inputs = run["inputs"] as? [[String: Any]] ?? []
      #expect(inputs.contains { $0["path"] as? String == "input" })
      let outputs = run["outputs"] as? [[String: Any]] ?? []
      #expect(outputs.compactMap { $0["path"] as? String } == ["out"])
      #expect(outputs.first?["size"] as? Int == 4)

      let id = try #require(run["id"] as? String)
      #expect(try place.casherfs("show", String(id.prefix(20))).output.contains(id))
      #expect(try place.casherfs("show", "@{2}").status == 12)
      #expect(try place.casherfs("show", "0123456789abcdef").status == 12)
    }
  }

  @Test("evict removes what it says, and a dry run removes nothing")
  func evict() throws {
    try withMount { place throws in
      try place.acache("head -c 100000 /dev/zero | tr '\\0' x > big; sed -i s/x/y/ big; rm big")
      try place.acache("seq 100000 > out; rm out; echo done")
      let before = try place.casherfs("log", "--json").json(as: [Any].self).count
      #expect(before > 0)
      let dry = try place.casherfs("evict", "--max-size", "0", "--dry-run", "--json").json(as: [String: Any].self)
      #expect((dry["runs"] as? [Any])?.count == before)
      #expect(try place.casherfs("log", "--json").json(as: [Any].self).count == before)
      #expect(try place.casherfs("evict", "--older-than", "1d").output.contains("0 runs"))
      #expect(try place.casherfs("evict", "--max-size", "0").status == 0)
      #expect(try place.casherfs("log", "--json").output == "[]\n")
      #expect(try place.acache("echo still works").output == "still works\n")
    }
  }

  @Test("Several mounts share one cache")
  func sharing() throws {
    let place = try Place()
    let other = place.base + "/other"
    try FileManager.default.createDirectory(atPath: other, withIntermediateDirectories: true)
    for directory in [place.work, other] { #expect(try place.casherfs("mount", directory).status == 0) }
    defer { for directory in [place.work, other] { _ = try? place.casherfs("unmount", "--lazy", directory) } }
    try place.acache("echo 1")
    try place.acache("echo 2", in: other)
    #expect(try place.counts() == Counts(hits: 0, misses: 2))
    #expect(try place.casherfs("status", "--json").json(as: [Any].self).count >= 2)
  }
}
