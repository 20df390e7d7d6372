import Foundation
import Testing

@Suite("Listing runs and showing one")
struct LogTests {
  private func commands(_ place: Place, _ options: String...) throws -> [String] {
    let outcome = try run(
      Programs.casherfs, ["log", "--json"] + options, environment: place.environment)
    return try outcome.json(as: [[String: Any]].self).compactMap { $0["command"] as? String }
  }

  @Test("log chooses by command, tag, status and age, and stops at the limit")
  func choosing() throws {
    try withMount { place throws in
      try place.acache("echo one", options: ["--tag", "stage=build"])
      try place.acache("echo two", options: ["--tag", "stage=test", "--tag", "who=me"])
      try place.acache("exit 3", options: ["--cache-failures"])
      let one = "/bin/sh -c 'echo one'"
      let two = "/bin/sh -c 'echo two'"
      let three = "/bin/sh -c 'exit 3'"
      #expect(try commands(place) == [three, two, one])
      #expect(try commands(place, "--command", "/bin/sh*one'") == [one])
      #expect(try commands(place, "--command", "*two*") == [two])
      #expect(try commands(place, "--command", "echo") == [])
      #expect(try commands(place, "--tag", "stage=test") == [two])
      #expect(try commands(place, "--tag=stage=nothing") == [])
      #expect(try commands(place, "--status", "failed") == [three])
      #expect(try commands(place, "--status", "ok", "--limit", "1") == [two])
      #expect(try commands(place, "--since", "1h", "-n0") == [three, two, one])
      #expect(try commands(place, "--tag", "who=me", "--status", "failed") == [])

      let all = try place.casherfs("log", "-n", "0").output.split(separator: "\n")
      #expect(all.count == 4 && all.dropFirst().first?.hasSuffix("exit 3'") == true)
      #expect(try place.casherfs("log", "--json", "--tag", "no=such").output == "[]\n")
      let lines = try place.casherfs("log", "--tag", "who=me").output.split(separator: "\n")
      #expect(lines.count == 2)
      #expect(lines.first?.hasPrefix("ID  ") == true)
      #expect(lines.last?.hasSuffix("echo two'") == true)
      #expect(!lines.joined().contains("\u{1b}"), "no colours where stdout is no terminal")
    }
  }

  @Test("show tells the runs around and inside, what was saved, and why a call was last a miss")
  func surroundings() throws {
    try withMount { place throws in
      try place.write("1\n", to: "in")
      let script = "acache -- cat in > out"
      try place.acache(script)
      try place.acache(script)
      let outer = try place.casherfs("show", "@", "--json").json(as: [String: Any].self)
      let inner = try place.casherfs("show", "@{1}", "--json").json(as: [String: Any].self)
      #expect(outer["children"] as? [String] == [inner["id"] as? String ?? ""])
      #expect(inner["parent"] as? String == outer["id"] as? String)
      #expect(outer["hits"] as? Int == 1)
      #expect(outer["saved_seconds"] as? Double == outer["duration_seconds"] as? Double)
      #expect(outer["last_miss"] is NSNull)

      try place.write("2\n", to: "in")
      try place.acache(script)
      let missed = try place.casherfs("show", outer["id"] as? String ?? "", "--json").json(as: [String: Any].self)
      let miss = try #require(missed["last_miss"] as? [String: Any])
      #expect(miss["reason"] as? String == "inputs")
      #expect((miss["detail"] as? [String])?.first?.hasPrefix("in: was file ") == true)
      let text = try place.casherfs("show", outer["id"] as? String ?? "").output
      #expect(text.contains("inputs had changed"))
      #expect(text.contains("started     \(String((inner["id"] as? String ?? "").prefix(12)))"))
    }
  }

  @Test("Colours are for a terminal that knows them, and NO_COLOR turns them off")
  func colours() throws {
    try withMount { place throws in
      try place.acache("exit 3", options: ["--cache-failures"])
      func log(_ setting: String) throws -> String {
        try place.shell("\(setting) script -qec 'casherfs log' /dev/null", in: place.base).output
      }
      #expect(try log("TERM=xterm").contains("\u{1b}[31m"))
      #expect(try !log("TERM=xterm NO_COLOR=1").contains("\u{1b}"))
      #expect(try !log("TERM=dumb").contains("\u{1b}"))
    }
  }
}
