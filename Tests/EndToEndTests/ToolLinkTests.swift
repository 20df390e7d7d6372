import Foundation
import Testing

@Suite("Links to acache with the names of tools")
struct ToolLinkTests {
  /// A directory of links in front of PATH.
  private func link(_ names: String..., in place: Place, at directory: String = "bin") throws {
    let path = place.base + "/" + directory
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for name in names {
      try FileManager.default.createSymbolicLink(atPath: path + "/" + name, withDestinationPath: Programs.acache)
    }
    place.environment["PATH"] = path + ":" + (place.environment["PATH"] ?? "")
  }

  @Test("A link runs and caches the tool that is next on PATH, past all links, with all arguments the tool's own")
  func tool() throws {
    try withMount { place throws in
      try link("cat", in: place)
      try link("cat", "sort", in: place, at: "other")
      try place.write("b\na\n", to: "in")
      for _ in 1...2 { #expect(try place.shell("cat -- in") == Outcome(status: 0, output: "b\na\n", error: "")) }
      #expect(try place.shell("sort in").output == "a\nb\n")
      #expect(try place.shell("cat --force").status == 1)
      #expect(try place.counts() == Counts(hits: 1, misses: 3))
    }
  }

  @Test("CASHER_OPTIONS gives the options, as a shell has words")
  func options() throws {
    try withMount { place throws in
      try link("cat", in: place)
      try place.write("1", to: "in")
      place.environment["CASHER_OPTIONS"] = "-v --salt 'a b'"
      #expect(try place.shell("cat in").error.contains("\nacache: run "))
      #expect(try place.shell("cat in").error.contains("\nacache: hit "))
      #expect(try place.acache("echo x", options: ["--salt=c"]).output == "x\n")
      place.environment["CASHER_OPTIONS"] = "--salt 'a"
      #expect(
        try place.shell("cat in")
          == Outcome(status: 125, output: "", error: "acache: CASHER_OPTIONS: a quote in it is not closed\n"))
      place.environment["CASHER_OPTIONS"] = "-v gcc"
      #expect(try place.shell("cat in").error == "acache: CASHER_OPTIONS: 'gcc' is no option\n")
    }
  }

  @Test("Outside any mount a link is the tool, and nothing is said")
  func plain() throws {
    let place = try Place()
    try link("cat", in: place)
    #expect(try place.shell("echo x | cat") == Outcome(status: 0, output: "x\n", error: ""))
  }

  @Test("A name that only links have is a command that is not found")
  func missing() throws {
    let place = try Place()
    try link("no-such-tool", in: place)
    #expect(
      try place.shell("exec no-such-tool")
        == Outcome(
          status: 127, output: "",
          error: "acache: no-such-tool: there is no program of this name on PATH but links to acache\n"))
  }

  @Test("A tool that calls its own link for ever is told of it; one that calls it a few times works")
  func loop() throws {
    try withMount { place throws in
      try place.shell(
        """
        mkdir ../tools; cd ../tools
        printf '#!/bin/sh\\nexec endless "$@"\\n' > endless
        printf '#!/bin/sh\\nN=$((N+1)); export N; [ $N -ge 3 ] && echo $N || exec again\\n' > again; chmod +x *
        """)
      place.environment["PATH"] = place.base + "/tools:" + (place.environment["PATH"] ?? "")
      try link("endless", "again", in: place)
      let outcome = try place.shell("endless x")
      #expect(outcome.status == 125)
      #expect(outcome.error.split(separator: "\n").count == 1)
      #expect(outcome.error.contains("calls endless again and again, which is a link to acache"))
      #expect(try place.shell("again") == Outcome(status: 0, output: "3\n", error: ""))
    }
  }

  @Test("A compiler by its link builds what it builds without")
  func compiler() throws {
    try withMount { place throws in
      try link("gcc", in: place)
      try place.write("int main(void) { return 7; }\n", to: "main.c")
      for _ in 1...2 {
        #expect(try place.shell("rm -f main; gcc -o main main.c; ./main").status == 7)
      }
      #expect(try place.counts().hits == 1)
    }
  }
}
