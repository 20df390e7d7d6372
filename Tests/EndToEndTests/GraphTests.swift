import Foundation
import Testing

@Suite("Graphs of what was made from what")
struct GraphTests {
  /// A build of two steps inside a run, and a run that uses what they made.
  private func build(_ place: Place) throws {
    try place.write("one\n", to: "in.txt")
    try place.acache("acache -- cp in.txt mid.txt; cat mid.txt mid.txt > out.txt")
    try place.acache("cat out.txt > last.txt")
    try place.acache("echo unrelated > apart.txt")
  }

  private struct Drawn {
    let runs: [[String: Any]]
    let files: [String]

    init(_ outcome: Outcome) throws {
      let json = try outcome.json(as: [String: Any].self)
      runs = json["runs"] as? [[String: Any]] ?? []
      files = (json["files"] as? [[String: Any]] ?? []).compactMap { $0["path"] as? String }
    }

    func run(_ part: String) -> [String: Any]? {
      runs.first { ($0["command"] as? String)?.contains(part) == true }
    }

    func names(_ run: [String: Any]?, _ key: String) -> [String] {
      (run?[key] as? [Int] ?? []).map { String(files[$0].split(separator: "/").last ?? "") }.sorted()
    }
  }

  @Test("A file's graph goes back to the files that it all came from, and no further")
  func ofFile() throws {
    try withMount { place throws in
      try build(place)
      for operand in ["last.txt", "./last.txt", place.work + "/last.txt"] {
        let drawn = try Drawn(try place.casherfs("graph", operand, "--json", in: place.work))
        #expect(
          Set(drawn.files.map { $0.dropFirst(place.work.count + 1) }) == ["in.txt", "mid.txt", "out.txt", "last.txt"])
        #expect(drawn.runs.count == 3)
        let inner = drawn.runs.first { $0["command"] as? String == "cp in.txt mid.txt" }
        let outer = drawn.runs.first { $0["id"] as? String == inner?["parent"] as? String }
        #expect(
          outer?["command"] as? String == "/bin/sh -c 'acache -- cp in.txt mid.txt; cat mid.txt mid.txt > out.txt'")
        #expect(drawn.names(drawn.run("last.txt"), "inputs") == ["out.txt"])
        #expect(drawn.names(drawn.run("last.txt"), "outputs") == ["last.txt"])
        #expect(drawn.names(outer, "outputs") == ["out.txt"])
      }
      try place.shell("echo by hand > last.txt")
      #expect(try place.casherfs("graph", "last.txt", in: place.work).status == 20)
      #expect(try place.casherfs("graph", "./no-such-file", in: place.work).status == 3)
      #expect(try place.casherfs("graph", "no-such-run", in: place.work).status == 2)
      #expect(try place.casherfs("graph", place.work).status == 2)
    }
  }

  @Test("Without a file the newest runs are drawn, in every format")
  func formats() throws {
    try withMount { place throws in
      try build(place)
      #expect(try Drawn(try place.casherfs("graph", "--format=json")).runs.count == 4)
      #expect(try Drawn(try place.casherfs("graph", "--json", "--limit", "1")).runs.count == 1)
      #expect(try Drawn(try place.casherfs("graph", "@", "--json")).runs.count == 1)
      #expect(try Drawn(try place.casherfs("graph", "@", "--json", "--all")).files.contains { $0.contains("libc") })
      let dot = try place.casherfs("graph").output
      #expect(dot.hasPrefix("digraph casher {"))
      #expect(dot.contains("subgraph cluster_"))
      let html = place.base + "/graph.html"
      #expect(try place.casherfs("graph", "-f", "html", "-o", html).status == 0)
      #expect(try String(contentsOfFile: html, encoding: .utf8).hasSuffix("</html>\n"))
      #expect(try place.casherfs("graph", "-f", "pdf").status == 2)
    }
  }

  @Test("svg is drawn by Graphviz, and its absence is said with what to do")
  func svg() throws {
    try withMount { place throws in
      try place.acache("echo 'a\"b\\' > 'na\"me\\'")
      if try place.shell("command -v dot").status == 0 {
        let drawn = try place.casherfs("graph", "--format", "svg")
        #expect(drawn.status == 0, "\(drawn.error)")
        #expect(drawn.output.contains("<svg") && drawn.output.contains("na&quot;me\\"))
      }
      place.environment["PATH"] = "/nowhere"
      let outcome = try place.casherfs("graph", "--format", "svg", "-o", place.base + "/graph.svg")
      #expect(outcome.status == 21)
      #expect(outcome.error.contains("graphviz"))
      #expect(!FileManager.default.fileExists(atPath: place.base + "/graph.svg"))
    }
  }
}
