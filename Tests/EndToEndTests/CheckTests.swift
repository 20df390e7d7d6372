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
      func call(_ option: String, writing mode: Int) throws -> Outcome {
        try place.shell(
          "timeout 100 sh -c 'echo \(mode) > ../f' & timeout 100 acache \(option) -- /bin/sh -c '\(script)'")
      }
      #expect(try call("", writing: 644).status == 0)
      let outcome = try call("--check", writing: 600)
      #expect(outcome.status == 1)
      #expect(outcome.error.contains("out had mode 644, has 600"))
    }
  }
}
