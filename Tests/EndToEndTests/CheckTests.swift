import Foundation
import Testing

@Suite("acache --check")
struct CheckTests {
  @Test("A deterministic command compares equal, and one that is not yet recorded says so")
  func same() throws {
    try withMount { place throws in
      #expect(try place.acache("echo x > out; echo y", options: ["--check"]).status == 2)
      try place.acache("echo x > out; echo y")
      let outcome = try place.acache("echo x > out; echo y", options: ["--check"])
      #expect(outcome.status == 0)
      #expect(outcome.output == "y\n")
    }
  }

  @Test("What differs is named, the status is 1, and no entry changes")
  func different() throws {
    try withMount { place throws in
      // The kernel's random numbers are not observed.
      let script = "head -c 8 /dev/urandom | od -An -tx1 > random; cat random; echo same > same"
      let recorded = try place.acache(script).output
      let log = try place.casherfs("log", "--json").json(as: [[String: Any]].self)
      let outcome = try place.acache(script, options: ["--check"])
      #expect(outcome.status == 1)
      #expect(outcome.error.contains("random has other content"))
      #expect(!outcome.error.contains("same has"))
      #expect(outcome.error.contains("stdout"))
      let after = try place.casherfs("log", "--json").json(as: [[String: Any]].self)
      #expect(log.compactMap { $0["id"] as? String } == after.compactMap { $0["id"] as? String })
      #expect(try place.acache(script).output == recorded)
    }
  }

  @Test("Another exit status and another mode differ")
  func statusAndMode() throws {
    try withMount { place throws in
      try place.shell("mkfifo ../f")
      // What comes from a FIFO outside is not observed.
      let script = "read m < ../f; : > out; chmod $m out"
      try place.shell("(echo 644 > ../f) & timeout 20 acache -- /bin/sh -c '\(script)'")
      let outcome = try place.shell("(echo 600 > ../f) & timeout 20 acache --check -- /bin/sh -c '\(script)'")
      #expect(outcome.status == 1)
      #expect(outcome.error.contains("out had mode 644, has 600"))
    }
  }
}
