import Foundation
import Testing

@Suite("Explaining a miss")
struct ExplainTests {
  private func explain(_ place: Place, _ script: String, _ options: [String] = []) throws -> String {
    try place.acache(script, options: ["--explain"] + options).error
  }

  @Test("No run of the command yet, another argument, another variable, another directory")
  func keys() throws {
    try withMount { place throws in
      #expect(try explain(place, "true").contains("no run of this command"))
      #expect(try explain(place, "true").isEmpty)
      #expect(try explain(place, "true #").contains("was 'true', is 'true #'"))
      place.environment["COLOUR"] = "secret-red"
      let variable = try explain(place, "true")
      #expect(variable.contains("COLOUR is new"))
      #expect(!variable.contains("secret-red"))
      place.environment["COLOUR"] = "blue"
      #expect(try explain(place, "true").contains("COLOUR"))
      try place.shell("mkdir d")
      place.environment["COLOUR"] = nil
      #expect(
        try place.acache("true", options: ["--explain"], in: place.work + "/d").error.contains("another directory"))
    }
  }

  @Test("Paths whose state differs, with what it was and is")
  func paths() throws {
    try withMount { place throws in
      try place.shell("echo 1 > in; mkdir d; ln -s in link")
      let script = "cat in link; ls d; [ -e none ] || true"
      try place.acache(script)
      try place.shell("echo 2 > in")
      #expect(try explain(place, script).contains("in: was file "))
      try place.shell("chmod 600 in")
      #expect(try explain(place, script).contains("mode 600"))
      try place.shell("ln -sfn ./in link")
      #expect(try explain(place, script).contains("link: was symlink to in, is symlink to ./in"))
      try place.shell("touch d/new")
      #expect(try explain(place, script).contains("the names in d: was listing "))
      try place.shell("touch none")
      #expect(try explain(place, script).contains("none: was absent, is file "))
    }
  }

  @Test("Of a symlink that was given to another user, whose it was and whose it is", .root)
  func symlinkOwner() throws {
    try withMount { place throws in
      try place.shell("ln -s in link; chown -h 12:34 link")
      try place.acache("stat -c %u link")
      try place.shell("chown -h 56:34 link")
      #expect(
        try explain(place, "stat -c %u link").contains(
          "link: was symlink to in owner 12:34, is symlink to in owner 56:34"))
    }
  }

  @Test("Ten paths at most, and the count of the rest")
  func many() throws {
    try withMount { place throws in
      try place.shell("for i in $(seq 14); do echo $i > f$i; done")
      try place.acache("cat f*")
      try place.shell("for i in $(seq 14); do echo x >> f$i; done")
      let lines = try explain(place, "cat f*").split(separator: "\n")
      #expect(lines.count == 12, "\(lines)")
      #expect(lines.last?.contains("4 more") == true)
    }
  }

  @Test("Explaining changes nothing of what the command does")
  func unchanged() throws {
    try withMount { place throws in
      let outcome = try place.acache("echo out; echo err >&2; exit 4", options: ["--explain"])
      #expect(outcome.status == 4)
      #expect(outcome.output == "out\n")
      #expect(outcome.error.hasSuffix("err\n"))
    }
  }

  @Test("casherfs explain says the same and runs nothing")
  func withoutRunning() throws {
    try withMount { place throws in
      try place.write("1\n", to: "in")
      let script = "cat in > out"
      func explain() throws -> Outcome { try place.casherfs("explain", "--", "/bin/sh", "-c", script, in: place.work) }
      let none = try explain()
      #expect(none.status == 1)
      #expect((none.output + none.error).contains("no run of this command"))
      #expect(place.read("out") == nil)
      try place.acache(script)
      #expect(try explain().status == 0)
      try place.shell("rm out; echo 2 > in")
      let changed = try explain()
      #expect(changed.status == 1)
      #expect((changed.output + changed.error).contains("in: was file "))
      #expect(place.read("out") == nil)
      #expect(try place.counts() == Counts(hits: 0, misses: 1))
    }
  }
}
