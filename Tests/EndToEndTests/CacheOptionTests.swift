import Foundation
import Testing

@Suite("Options that say whether and when a result is used")
struct CacheOptionTests {
  @Test("--no-cache runs each time and is in the log, and no call is answered with it")
  func noCache() throws {
    try withMount { place throws in
      for _ in 1...2 { #expect(try place.acache("echo x", options: ["--no-cache"]).output == "x\n") }
      #expect(try place.counts() == Counts(hits: 0, misses: 2))
      #expect(try place.casherfs("log", "--json").json(as: [Any].self).count == 2)
      try place.acache("echo x")
      #expect(try place.counts() == Counts(hits: 0, misses: 3))
      try place.acache("echo x")
      #expect(try place.counts() == Counts(hits: 1, misses: 3))
    }
  }

  @Test("--read-only is a hit, or exits with 75 and runs nothing")
  func readOnly() throws {
    try withMount { place throws in
      try place.write("1", to: "in")
      let refused = try place.acache("cat in; echo > made", options: ["--read-only"])
      #expect(refused.status == 75)
      #expect(refused.output == "")
      #expect(refused.error == "acache: there is no result to answer from, and --read-only runs nothing\n")
      #expect(place.read("made") == nil)
      try place.acache("cat in; echo > made")
      #expect(try place.acache("cat in; echo > made", options: ["--read-only"]).output == "1")
      try place.write("2", to: "in")
      #expect(try place.acache("cat in; echo > made", options: ["--read-only", "-q"]).error == "")
      let outside = try place.acache("echo > made", options: ["--read-only"], in: place.base)
      #expect(outside.status == 75)
      #expect(!FileManager.default.fileExists(atPath: place.base + "/made"))
    }
  }

  @Test("--ttl: neither the entry that it stored nor one stored without it is used when it is older")
  func timeToLive() throws {
    try withMount { place throws in
      let options = ["--ttl", "300ms"]
      // That time passes is what is tested: nothing else tells that an entry has grown old.
      func age() { Thread.sleep(forTimeInterval: 0.35) }
      try place.acache("echo x")
      age()
      try place.acache("echo x", options: options)
      #expect(try place.counts() == Counts(hits: 0, misses: 2))
      age()
      #expect(
        try place.casherfs("explain", "--", "/bin/sh", "-c", "echo x", in: place.work).output
          .contains("has the same inputs, but is older than it may be"))
      // It stays expired for a call that does not ask.
      try place.acache("echo x")
      #expect(try place.counts() == Counts(hits: 0, misses: 3))
      try place.acache("echo x", options: ["--ttl", "1h"])
      #expect(try place.counts() == Counts(hits: 1, misses: 3))
    }
  }

  @Test("A run expires with the nested call whose result it used")
  func nestedTimeToLive() throws {
    try withMount { place throws in
      let outer = "acache --ttl 300ms -- echo inner"
      try place.acache(outer)
      // As above: the entry grows old.
      Thread.sleep(forTimeInterval: 0.35)
      try place.acache(outer)
      #expect(try place.counts() == Counts(hits: 0, misses: 4))
    }
  }

  @Test("--sync stores as without it")
  func synchronous() throws {
    try withMount { place throws in
      try place.acache("echo x > out", options: ["--sync"])
      try place.acache("echo x > out", options: ["--sync"])
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }
}

@Suite("Options that say what counts, and what is put back")
struct KeyOptionTests {
  @Test("--input: a file that nobody reads, and one that is not there, count")
  func input() throws {
    try withMount { place throws in
      func call() throws { try place.acache("echo x", options: ["--input", "version", "--input=../outside"]) }
      try call()
      try call()
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
      try place.write("1", to: "version")
      try call()
      try call()
      try place.shell("echo 1 > ../outside")
      try call()
      try call()
      #expect(try place.counts() == Counts(hits: 3, misses: 3))
      try place.shell("echo 2 > ../outside")
      try call()
      // A call that declares nothing is another.
      try place.acache("echo x")
      #expect(try place.counts() == Counts(hits: 3, misses: 5))
    }
  }

  @Test("--input: a directory counts with all that is in it, and --explain names what changed")
  func inputDirectory() throws {
    try withMount { place throws in
      try place.shell("mkdir -p data/deep; echo 1 > data/deep/a")
      let options = ["--explain", "--input", "data"]
      try place.acache("echo x", options: options)
      #expect(try place.acache("echo x", options: options).error == "")
      try place.shell("echo 2 > data/deep/a")
      #expect(try place.acache("echo x", options: options).error.contains("data/deep/a: was file"))
      try place.shell("touch data/deep/b")
      #expect(try place.acache("echo x", options: options).error.contains("the names in data/deep"))
      #expect(try place.counts() == Counts(hits: 1, misses: 3))
      #expect(try place.casherfs("show", "@").output.contains("data/deep/a"))
    }
  }

  @Test("--input: what the command itself writes there is its own output")
  func inputWithOutputs() throws {
    try withMount { place throws in
      try place.shell("mkdir data; echo 1 > data/a")
      for _ in 1...2 { try place.acache("echo out > data/out", options: ["--input", "data"]) }
      try place.shell("rm data/out")
      try place.acache("echo out > data/out", options: ["--input", "data"])
      #expect(place.read("data/out") == "out\n")
      #expect(try place.counts() == Counts(hits: 2, misses: 1))
    }
  }

  @Test("--input-pattern: of a directory only files with such a name count")
  func inputPattern() throws {
    try withMount { place throws in
      try place.shell("mkdir data; echo 1 > data/a.csv; echo 1 > data/log")
      func call() throws {
        try place.acache("echo x", options: ["--input", "data", "--input-pattern", "[.](csv|tsv)$"])
      }
      try call()
      try place.shell("echo 2 > data/log; echo > data/other")
      try call()
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
      try place.shell("echo 2 > data/a.csv")
      try call()
      try place.shell("echo > data/b.tsv")
      try call()
      #expect(try place.counts() == Counts(hits: 1, misses: 3))
    }
  }

  @Test("A declared input that changes while the command runs is not stored with either state")
  func inputChanges() throws {
    try withMount { place throws in
      try place.shell("echo 1 > version; mkfifo ../ready ../go")
      let call = "acache -v --input version -- sh -c 'echo > ../ready; read x < ../go'"
      let script = "\(call) & read x < ../ready; echo two > version; echo > ../go; wait"
      let outcome = try place.shell("timeout 100 sh -c '\(script.replacing("'", with: "'\\''"))'")
      #expect(outcome.error.contains("version was changed by another process"))
      #expect(try Statistics(place).reasons == ["input-changed": 1])
    }
  }

  @Test("--ignore: what a command does to an ignored file that is there keeps nothing from being stored")
  func ignored() throws {
    for change in ["echo more >> x.log", "echo new > x.log", "sed -i s/o/a/ x.log", "rm x.log", "mv x.log y.log"] {
      try withMount { place throws in
        try place.write("one\n", to: "in")
        for _ in 1...3 {
          try place.write("old\n", to: "x.log")
          #expect(try place.acache("cat in; \(change)", options: ["--ignore", "*.log"]).output == "one\n", "\(change)")
        }
        #expect(try place.counts() == Counts(hits: 2, misses: 1), "\(change)")
      }
    }
  }

  @Test("--ignore-arg leaves an argument out by its number, and those that fit an expression as a whole")
  func ignoredArgument() throws {
    try withMount { place throws in
      func call(_ options: [String], _ arguments: String...) throws -> String {
        try run(
          Programs.acache, options + ["--", "echo"] + arguments, in: place.work, environment: place.environment
        ).output
      }
      #expect(try call(["--ignore-arg=2"], "a", "b") == "a b\n")
      #expect(try call(["--ignore-arg=2"], "a", "c") == "a b\n")
      #expect(try call([], "a") == "a\n")
      #expect(try call(["--ignore-arg", "-j[0-9]+"], "-j3", "x") == "-j3 x\n")
      #expect(try call(["--ignore-arg", "-j[0-9]+"], "-j88", "x") == "-j3 x\n")
      #expect(try call(["--ignore-arg", "-j[0-9]+"], "x-j3", "x") == "x-j3 x\n")
      #expect(try place.counts() == Counts(hits: 2, misses: 4))
    }
  }

  @Test("--output-root: what is below is put back, whatever was there before")
  func outputRoot() throws {
    try withMount { place throws in
      let script = "mkdir -p out; ls out; cat out/state; echo new >> out/state; echo made > out/file"
      let options = ["--output-root", "out"]
      try place.shell("mkdir out; echo old > out/state")
      #expect(try place.acache(script, options: options).output == "state\nold\n")
      try place.shell("echo other > out/state; echo > out/more; rm out/file")
      #expect(try place.acache(script, options: options).output == "state\nold\n")
      #expect(place.read("out/state") == "old\nnew\n")
      #expect(place.read("out/file") == "made\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
      try place.acache(script)
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
    }
  }

  @Test("--restore says which files a hit puts back")
  func restore() throws {
    try withMount { place throws in
      let script = "echo a > a; echo b > b; rm -f gone; echo said"
      try place.shell("touch gone")
      try place.acache(script)
      try place.shell("rm a b; touch gone")
      #expect(try place.acache(script, options: ["--restore=never"]).output == "said\n")
      #expect(try place.shell("ls").output == "gone\n")
      try place.shell("echo a > a; touch -d 2001-01-01 a")
      #expect(try place.acache(script, options: ["--restore", "if-missing"]).output == "said\n")
      #expect(try place.shell("stat -c %Y a").output == "978307200\n")
      #expect(place.read("b") == "b\n")
      #expect(try place.acache(script, options: ["--restore=always"]).output == "said\n")
      #expect(try place.shell("ls").output == "a\nb\n")
      #expect(try place.shell("stat -c %Y a").output != "978307200\n")
      #expect(try place.counts() == Counts(hits: 3, misses: 1))
    }
  }
}
