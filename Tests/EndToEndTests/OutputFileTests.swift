import Foundation
import Testing

@Suite("Output that goes to a file")
struct OutputFileTests {
  /// Compares `command > out` with and without acache, twice each, in a mount with two files.
  private func compare(_ command: String, counts: Counts) throws {
    try withMount { place throws in
      try place.shell("echo one > a; echo two > b")
      let plain = try place.shell("sh -c '\(command)' > out; echo $?; cat out; rm out")
      for _ in 1...2 {
        #expect(try place.shell("acache -- sh -c '\(command)' > out; echo $?; cat out; rm out") == plain)
      }
      #expect(try place.counts() == counts)
    }
  }

  @Test("A program that compares its inputs with its output finds the one among the others")
  func inputIsOutput() throws {
    try compare("cat * > /dev/null; cat *", counts: Counts(hits: 0, misses: 2))
    try compare("cat *; true", counts: Counts(hits: 0, misses: 2))
    try compare("grep -r . . | sort", counts: Counts(hits: 0, misses: 2))
  }

  @Test("A hit writes the file that the run wrote")
  func hit() throws {
    try compare("cat a b; echo problem >&2; ls /", counts: Counts(hits: 1, misses: 1))
  }

  @Test("A command that overwrites the file its output goes to is not replayed into another file")
  func overwritten() throws {
    try withMount { place throws in
      try place.shell("echo one > a; acache -- sh -c 'cat a; echo six > out' > out")
      try place.shell("acache -- sh -c 'cat a; echo six > out' > other")
      #expect(place.read("other") == "one\n")
    }
  }

  @Test("A nested call's output file is its command's own as well, and the outer call is a hit")
  func nested() throws {
    let place = try Place()
    // The socket's path must fit into an address: only then does the outer call's tracer know it.
    let cache = "/tmp/casher-nested-\(getpid())"
    place.environment["CASHER_CACHE_DIR"] = cache
    defer { try? FileManager.default.removeItem(atPath: cache) }
    try #require(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    let script = "acache -- readlink /proc/self/fd/1 > out; cat out"
    let wanted = place.work + "/out\n"
    #expect(try place.acache(script) == Outcome(status: 0, output: wanted, error: ""))
    try place.shell("rm out")
    let second = try place.acache(script, options: ["-v"])
    #expect(second.output == wanted)
    #expect(second.error.contains("\nacache: hit"))
    #expect(place.read("out") == wanted)
    #expect(try place.counts() == Counts(hits: 1, misses: 2))
  }

  @Test("An outer call whose output goes to a file outside is a hit, though a nested call wrote to it too", .root)
  func nestedOutside() throws {
    try withMount { place throws in
      try place.write("in\n", to: "in")
      let script = "acache -- sh -c 'acache -- cat in; echo two' > ../out; cat ../out"
      for _ in 1...2 { #expect(try place.shell(script) == Outcome(status: 0, output: "in\ntwo\n", error: "")) }
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
    }
  }

  @Test("A command knows the file again that its output goes to, when it finds it by its name, inside and outside")
  func ownOutput() throws {
    try withMount { place throws in
      for name in ["read", "../read"] {
        let script = "sh -c 'echo one; cat \(name); echo two' > \(name) 2>/dev/null; cat \(name)"
        #expect(try place.shell(script).output == "one\ntwo\n")
        for _ in 1...2 { #expect(try place.shell("acache -- " + script).output == "one\ntwo\n") }
      }
    }
  }

  @Test("Calls that share their output file each record their own output alone")
  func shared() throws {
    try withMount { place throws in
      // dash(1) would wait for ever: what Foundation starts has SIGCHLD blocked.
      let script = "for i in 1 2 3; do acache -- sh -c \"seq $i; sleep 0.1; seq $i\" & done > out; wait; sort out"
      func shell() throws -> Outcome {
        try run("/bin/bash", ["-c", script], in: place.work, environment: place.environment)
      }
      let first = try shell()
      #expect(try shell() == first)
      #expect(try place.counts() == Counts(hits: 3, misses: 3))
      #expect(try place.shell("acache -- sh -c 'seq 2; sleep 0.1; seq 2'").output == "1\n2\n1\n2\n")
      #expect(try place.counts() == Counts(hits: 4, misses: 3))
    }
  }
}
