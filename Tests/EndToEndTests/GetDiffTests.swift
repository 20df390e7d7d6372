import Foundation
import Testing

@Suite("What runs left, and what they differ in")
struct GetDiffTests {
  @Test("get gives back each file byte for byte, whatever became of it since")
  func files() throws {
    try withMount { place throws in
      let large = (1...60_000).map { "line \($0)\n" }.joined()
      try place.acache(
        "seq -f 'line %.0f' 60000 > large; printf 'a\\0b' > small; mkdir d; echo x > d/script; chmod 755 d/script; ln small other; ln -s small link"
      )
      try place.shell("rm -r large d; echo changed > small")
      #expect(try place.casherfs("get", "@", "large").output == large)
      #expect(try place.casherfs("get", "@", "small").output == "a\0b")
      #expect(try place.casherfs("get", "@", "other").output == "a\0b")
      #expect(try place.casherfs("get", "@", "script", in: place.base).status == 20)
      #expect(try place.casherfs("get", "@", place.work + "/d/script").output == "x\n")
      #expect(try place.casherfs("get", "@", "../work/small", in: place.work).output == "a\0b")
      let target = place.base + "/taken"
      #expect(try place.casherfs("get", "@", "d/script", "-o", target).status == 0)
      #expect(FileManager.default.isExecutableFile(atPath: target))
      #expect(try String(contentsOfFile: target, encoding: .utf8) == "x\n")
      #expect(try place.casherfs("get", "@", "large", "-o", "/dev/null").status == 0)
      let json = try place.casherfs("get", "@", "d/script", "--json").json(as: [String: Any].self)
      #expect(json["content"] as? String == "x\n")
      #expect(json["size"] as? Int == 2)
      for (path, word) in [("d", "directory"), ("link", "symlink"), ("nothing", "nothing")] {
        let outcome = try place.casherfs("get", "@", path)
        #expect(outcome.status == 20)
        #expect(outcome.error.contains(word))
        #expect(outcome.output.isEmpty)
      }
      let refused = try place.casherfs("get", "@", "large", "-o", place.base + "/no/such/place")
      #expect(refused.status == 1)
      #expect(refused.error.contains("/no/such/place cannot be written"))
      #expect(try FileManager.default.contentsOfDirectory(atPath: place.base).allSatisfy { !$0.contains(".casher-") })
    }
  }

  @Test("get gives the streams back, together and each by itself")
  func streams() throws {
    try withMount { place throws in
      try place.acache("echo one; echo two >&2; echo three")
      let both = try place.casherfs("get", "@")
      #expect(both.output == "one\nthree\n")
      #expect(both.error == "two\n")
      #expect(try place.casherfs("get", "@", "--stdout").output == "one\nthree\n")
      #expect(try place.casherfs("get", "@", "--stderr").output == "two\n")
      #expect(try place.casherfs("get", "@", "--stdout", "--stderr", "-o", place.base + "/all").status == 0)
      #expect(try String(contentsOfFile: place.base + "/all", encoding: .utf8).count == "one\ntwo\nthree\n".count)
      #expect(try place.casherfs("get", "@", "file", "--stdout").status == 2)
    }
  }

  @Test("diff shows what changed as a unified diff, and nothing between a run and itself")
  func difference() throws {
    try withMount { place throws in
      let script = "cat in > out; tr a b < in; printf 'x\\0' > raw; cat in >> raw"
      try place.write("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", to: "in")
      try place.acache(script)
      try place.shell("rm -f out raw")
      try place.write("0\n1\n2\n3\n4\n5\n6\n7\n8\nnine\n10", to: "in")
      place.environment["COLOUR"] = "blue"
      try place.acache(script)
      #expect(try place.casherfs("diff", "@", "@") == Outcome(status: 0, output: "", error: ""))
      let outcome = try place.casherfs("diff", "@{1}", "@")
      #expect(outcome.status == 1)
      let lines = outcome.output.split(separator: "\n").map(String.init)
      for line in [
        "+ COLOUR", "inputs:", "outputs:", "@@ -1,3 +1,4 @@", "+0", "-9", "+nine", "\\ No newline at end of file",
        "  binary or too large to show", "stdout:",
      ] {
        #expect(lines.contains(line), "\(line)")
      }
      #expect(!outcome.output.contains("\u{1b}"))
      // What patch(1) makes of it is the second run's file.
      let json = try place.casherfs("diff", "@{1}", "@", "--json").json(as: [String: Any].self)
      #expect(json["same"] as? Bool == false)
      #expect(json["command"] is NSNull)
      let outputs = try #require(json["outputs"] as? [[String: Any]])
      #expect(outputs.compactMap { $0["path"] as? String } == ["out", "raw"])
      #expect(outputs[1]["diff"] is NSNull)
      let streams = try #require(json["streams"] as? [String: [String: Any]])
      #expect(Array(streams.keys) == ["stdout"])
    }
  }

  @Test("Unified diffs are such that patch(1) turns the old text into the new one")
  func patches() throws {
    try withMount { place throws in
      var random = SystemRandomNumberGenerator()
      var texts: [String] = ["", "only\n", "no newline"]
      for _ in 0..<5 {
        let count = Int.random(in: 1...120, using: &random)
        texts.append((0..<count).map { _ in "\(Int.random(in: 0...9, using: &random))\n" }.joined())
      }
      for text in texts {
        try place.shell("rm -f out")
        try place.write(text, to: "in")
        try place.acache("cat in > out")
      }
      for index in texts.indices.dropLast() {
        // @ is the last one.
        let (old, new) = ("@{\(texts.count - 1 - index)}", "@{\(texts.count - 2 - index)}")
        let json = try place.casherfs("diff", old, new, "--json").json(as: [String: Any].self)
        let outputs = json["outputs"] as? [[String: Any]] ?? []
        guard let diff = outputs.first(where: { $0["path"] as? String == "out" })?["diff"] as? String else {
          #expect(texts[index] == texts[index + 1])
          continue
        }
        try place.write(texts[index], to: "old")
        try place.write(texts[index + 1], to: "wanted")
        let check = try applied(diff, to: texts[index])
        #expect(check == texts[index + 1], "\(diff)")
      }
    }
  }

  /// Applies a unified diff, as patch(1) would.
  private func applied(_ diff: String, to text: String) throws -> String {
    var old = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    if old.last == "" { old.removeLast() }
    var result: [String] = []
    var position = 0
    var endsWithNewline = text.hasSuffix("\n")
    var last: Character = " "
    for line in diff.split(separator: "\n").dropFirst(2) {
      if line.hasPrefix("@@") {
        let start = try #require(Int(line.dropFirst(4).prefix { $0.isNumber }))
        let isEmpty = line.dropFirst(4).drop { $0.isNumber }.hasPrefix(",0")
        let begin = isEmpty ? start : start - 1
        result += old[position..<begin]
        position = begin
        continue
      }
      if line.hasPrefix("\\") {
        if last != "-" { endsWithNewline = false }
        continue
      }
      last = line.first ?? " "
      let content = String(line.dropFirst())
      if last != "-" {
        result.append(content)
        endsWithNewline = true
      }
      if last != "+" {
        #expect(old[position] == content)
        position += 1
      }
    }
    let rest = old[position...]
    if !rest.isEmpty { endsWithNewline = text.hasSuffix("\n") }
    result += rest
    return result.joined(separator: "\n") + (endsWithNewline && !result.isEmpty ? "\n" : "")
  }

  @Test("history lists the runs of one command, and what changed from one to the next")
  func history() throws {
    try withMount { place throws in
      for text in ["a", "b", "c"] {
        try place.write(text, to: "in")
        try place.acache("wc -c < in; cat in > out")
        try place.acache("echo another")
      }
      let steps = try place.casherfs("history", "@", "--json").json(as: [[String: Any]].self)
      #expect(steps.count == 3)
      #expect((steps[0]["changed_inputs"] as? [String])?.contains("in") == true)
      #expect(steps[0]["changed_outputs"] as? [String] == ["out"])
      #expect(steps[2]["changed_inputs"] is NSNull)
      #expect(try place.casherfs("history", "@", "--limit", "1", "--json").json(as: [Any].self).count == 1)
      #expect(try place.casherfs("history", "@").output.contains("other outputs: out"))
    }
  }
}
