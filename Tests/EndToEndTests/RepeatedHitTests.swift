import Foundation
import Testing

@Suite("Hits again and again")
struct RepeatedHitTests {
  /// A mounted place and its directory as it is beneath the mount.
  private func withLower(_ body: (Place, String) throws -> Void) throws {
    let place = try Place()
    let lower = open(place.work, O_RDONLY | O_DIRECTORY)
    try #require(lower >= 0)
    defer { close(lower) }
    try #require(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    try body(place, "/proc/\(getpid())/fd/\(lower)/.")
  }

  @Test("A file that was changed behind the mount's back is read again, though its size and its time are as before")
  func changedBehind() throws {
    try withLower { place, lower in
      try place.write("one", to: "input")
      for _ in 0..<5 { #expect(try place.acache("cat input").output == "one") }
      #expect(try place.counts() == Counts(hits: 4, misses: 1))
      try place.shell("cp -p input kept; printf two > input; touch -r kept input; rm kept", in: lower)
      #expect(try place.acache("cat input").output == "two")
      #expect(try place.counts() == Counts(hits: 4, misses: 2))
    }
  }

  @Test("A name that came to a directory or left it behind the mount's back is in the listing, or is not")
  func listedBehind() throws {
    try withLower { place, lower in
      try place.shell("mkdir d; : > d/a; : > d/b")
      for _ in 0..<5 { #expect(try place.acache("ls d").output == "a\nb\n") }
      try place.shell(": > d/c", in: lower)
      #expect(try place.acache("ls d").output == "a\nb\nc\n")
      try place.shell("rm d/a d/c", in: lower)
      #expect(try place.acache("ls d").output == "b\n")
      try place.shell(": > d/a", in: lower)
      #expect(try place.acache("ls d").output == "a\nb\n")
      #expect(try place.counts() == Counts(hits: 5, misses: 3))
    }
  }

  @Test("A file that a hit has put into a listed directory is listed")
  func listedPlaced() throws {
    try withMount { place throws in
      try place.shell("mkdir d; : > d/a")
      try place.acache("echo made > d/made")
      try place.shell("rm d/made")
      for _ in 0..<3 { #expect(try place.acache("ls d").output == "a\n") }
      try place.acache("echo made > d/made")
      #expect(try place.acache("ls d").output == "a\nmade\n")
      #expect(try place.counts() == Counts(hits: 3, misses: 3))
    }
  }

  @Test("After a command was run again with --force, calls get the new result")
  func forced() throws {
    try withMount { place throws in
      let script = "date +%s.%N"
      let first = try place.acache(script)
      for _ in 0..<3 { #expect(try place.acache(script) == first) }
      let second = try place.acache(script, options: ["--force"])
      #expect(second != first)
      for _ in 0..<3 { #expect(try place.acache(script) == second) }
    }
  }

  @Test("A run that another process has removed answers no call, though it has just answered some")
  func removed() throws {
    try withMount { place throws in
      let script = "date +%s.%N"
      let first = try place.acache(script)
      for _ in 0..<3 { #expect(try place.acache(script) == first) }
      #expect(try place.casherfs("clear", "--yes").status == 0)
      #expect(try place.acache(script) != first)
      #expect(try place.counts().misses == 2)
    }
  }

  @Test("Of thousands of inputs each one counts")
  func manyInputs() throws {
    try withMount { place throws in
      try place.shell("mkdir d; for i in $(seq 2500); do echo $i > d/$i; done")
      let script = "cd d; cat $(seq 2500) 2>/dev/null | cksum"
      let first = try place.acache(script)
      for _ in 0..<2 { #expect(try place.acache(script) == first) }
      for name in ["1", "999", "2500"] {
        try place.shell("mv d/\(name) d/kept; echo other > d/\(name)")
        #expect(try place.acache(script).output != first.output)
        try place.shell("rm d/\(name)")
        #expect(try place.acache(script).output != first.output)
        try place.shell("mv d/kept d/\(name)")
        #expect(try place.acache(script) == first)
      }
      #expect(try place.counts() == Counts(hits: 5, misses: 7))
    }
  }

  @Test("Of many results that depend on what another input says, each is found")
  func manyPathSets() throws {
    try withMount { place throws in
      try place.shell("for i in $(seq 20); do echo content $i > f$i; done")
      for round in 0..<3 {
        for number in 1...20 {
          try place.write("f\(number)\n", to: "list")
          #expect(try place.acache("cat $(cat list)").output == "content \(number)\n")
        }
        #expect(try place.counts() == Counts(hits: round * 20, misses: 20))
      }
      try place.write("changed\n", to: "f7")
      try place.write("f7\n", to: "list")
      #expect(try place.acache("cat $(cat list)").output == "changed\n")
    }
  }
}
