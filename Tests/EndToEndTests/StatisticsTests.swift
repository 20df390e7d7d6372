import Foundation
import Testing

@Suite("Statistics")
struct StatisticsTests {
  private func statistics(_ place: Place, _ options: String...) throws -> [String: Any] {
    try run(Programs.casherfs, ["stats", "--json"] + options, environment: place.environment).json()
  }

  @Test("Misses are counted by reason, and by command with what they saved")
  func reasons() throws {
    try withMount { place throws in
      try place.write("1", to: "in")
      try place.acache("cat in")
      try place.acache("cat in")
      try place.write("2", to: "in")
      try place.acache("cat in")
      try place.acache("cat in", options: ["--force"])
      try place.acache("exit 3")
      let all = try statistics(place, "--commands")
      #expect(all["misses_by_reason"] as? [String: Int] == ["new": 2, "inputs": 1, "forced": 1])
      #expect(all["uncacheable_by_reason"] as? [String: Int] == ["failed": 1])
      #expect(all["since_zero"] is NSNull)
      let commands = try #require(all["commands"] as? [[String: Any]])
      #expect(commands.count == 2)
      #expect(commands[0]["command"] as? String == "/bin/sh -c 'cat in'")
      #expect(commands[0]["hits"] as? Int == 1)
      #expect(commands[0]["misses"] as? Int == 3)
      #expect(commands[1]["uncacheable"] as? Int == 1)
      #expect(try place.casherfs("stats", "--commands", "-n", "1").output.split(separator: "\n").count == 2)
      #expect(try place.casherfs("stats").output.contains("  inputs "))
    }
  }

  @Test("Counting begins anew with --zero, and what was counted before stays")
  func zero() throws {
    try withMount { place throws in
      try place.acache("echo 1")
      #expect(try place.casherfs("stats", "--zero").status == 0)
      try place.acache("echo 1")
      try place.acache("echo 2")
      let counts = try statistics(place)
      #expect(counts["hits"] as? Int == 1)
      #expect(counts["misses"] as? Int == 2)
      let since = try #require(counts["since_zero"] as? [String: Any])
      #expect(since["hits"] as? Int == 1)
      #expect(since["misses"] as? Int == 1)
      #expect(since["misses_by_reason"] as? [String: Int] == ["new": 1])
      #expect((since["time"] as? Double ?? 0) > 1_700_000_000)
      #expect(try place.casherfs("stats").output.contains("\nsince "))
      let again = try statistics(place, "--zero")["since_zero"] as? [String: Any]
      #expect(again?["hits"] as? Int == 0)
    }
  }

  @Test("The report is one page with plots, and stays what it is when it cannot be written")
  func report() throws {
    try withMount { place throws in
      try place.acache("seq 100000")
      try place.acache("seq 100000")
      let page = place.base + "/report.html"
      #expect(try place.casherfs("stats", "--report", page).status == 0)
      let text = try String(contentsOfFile: page, encoding: .utf8)
      #expect(text.contains("1 hits, 1 misses"))
      #expect(text.contains("<svg") && text.hasSuffix("</html>\n"))
      #expect(!text.contains("http://") && !text.contains("src="))
      let ratio = try #require(try statistics(place)["compression_ratio"] as? Double)
      #expect(ratio > 2)
      let refused = try place.casherfs("stats", "--report", place.base + "/no/report.html")
      #expect(refused.status == 1)
      #expect(refused.error.contains("/no/report.html cannot be written: No such file or directory"))
    }
  }
}
