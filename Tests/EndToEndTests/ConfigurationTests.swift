import Foundation
import Testing

@Suite("casher.yml")
struct ConfigurationTests {
  private func configure(_ place: Place, _ text: String) throws { try place.write(text, to: "casher.yml") }

  @Test("Which variables count comes from the file, and an edit of that changes the key")
  func environment() throws {
    try withMount { place throws in
      let script = "echo $JOB"
      place.environment["JOB"] = "1"
      try configure(place, "ignore_env: JOB\n")
      #expect(try place.acache(script).output == "1\n")
      place.environment["JOB"] = "2"
      #expect(try place.acache(script).output == "1\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
      // Now it counts: neither with a value nor without one is the recorded run the answer.
      try configure(place, "# nothing\n")
      #expect(try place.acache(script).output == "2\n")
      place.environment["JOB"] = nil
      #expect(try place.acache(script).output == "\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 3))
    }
  }

  @Test("The file itself is no input of a command that does not read it")
  func notAnInput() throws {
    try withMount { place throws in
      try place.write("x", to: "in")
      try configure(place, "tag: a=1\n")
      try place.acache("cat in")
      try configure(place, "tag: a=2\n")
      try place.acache("cat in")
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("only_env of the file restricts what the command sees; an option goes before it")
  func onlyEnvironment() throws {
    try withMount { place throws in
      place.environment["A"] = "1"
      place.environment["B"] = "2"
      try configure(place, "only_env: [A, PATH]\n")
      #expect(try place.acache("echo $A-$B").output == "1-\n")
      place.environment["B"] = "3"
      #expect(try place.acache("echo $A-$B").output == "1-\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
      #expect(try place.acache("echo $A-$B", options: ["--only-env", "B,PATH"]).output == "-3\n")
      #expect(try place.acache("echo $A-$B", options: ["--env", "B"]).output == "1-3\n")
    }
  }

  @Test("Rules are about the commands that they match")
  func rules() throws {
    try withMount { place throws in
      try configure(
        place,
        """
        commands:
          - match: sh
            cache_failures: true
          - match: date*
            no_cache: true
          - match: sleep
            timeout: 200ms
        """)
      for _ in 1...2 { #expect(try place.acache("exit 3").status == 3) }
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
      #expect(try place.shell("CASHER_CACHE_FAILURES=0 acache -- sh -c 'exit 4'").status == 4)
      #expect(try place.shell("CASHER_CACHE_FAILURES=0 acache -- sh -c 'exit 4'").status == 4)
      try place.shell("acache -- date; acache -- date")
      #expect(try place.counts().hits == 1)
      let slow = try place.shell("acache -- sleep 100")
      #expect(slow.status == 124)
      #expect(slow.error == "acache: the command took longer than 200 ms and was ended\n")
    }
  }

  @Test("Patterns of the file are neither inputs nor outputs")
  func ignore() throws {
    try withMount { place throws in
      try configure(place, "ignore: '*.log'\n")
      try place.write("1", to: "x.log")
      try place.acache("cat x.log > out")
      try place.write("2", to: "x.log")
      try place.acache("cat x.log > out")
      #expect(place.read("out") == "1")
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
      try configure(place, "")
      try place.acache("cat x.log > out")
      #expect(place.read("out") == "2")
    }
  }

  @Test("A file that breaks while it is mounted: one line, and the command runs uncached")
  func broken() throws {
    try withMount { place throws in
      try place.acache("echo x")
      try configure(place, "strict: maybe\n")
      let outcome = try place.acache("echo x")
      #expect(outcome.output == "x\n")
      #expect(
        outcome.error
          == "acache: \(place.work)/casher.yml:1:9: strict is true or false, not 'maybe'; running without cache\n")
      #expect(try place.acache("echo x", options: ["--require-cache"]).status == 125)
      try place.shell("rm casher.yml")
      #expect(try place.acache("echo x") == Outcome(status: 0, output: "x\n", error: ""))
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("A file that is broken before is not mounted with: exit code 30 and every problem")
  func brokenBefore() throws {
    let place = try Place()
    try configure(place, "strict: maybe\ncolour: red\n")
    let outcome = try place.casherfs("mount", place.work)
    #expect(outcome.status == 30)
    #expect(outcome.error.contains("\(place.work)/casher.yml:1:9: strict is true or false, not 'maybe'"))
    #expect(outcome.error.contains("\(place.work)/casher.yml:2:1: there is no setting colour"))
    #expect(try place.casherfs("stats", in: place.work).status == 30)
  }

  @Test("A work directory's file that others own or may write does not count, and mount says so", .root)
  func trust() throws {
    for change in ["chmod 664 casher.yml", "chown 1234 casher.yml"] {
      let place = try Place()
      try configure(place, "cache_failures: true\n")
      try place.shell(change)
      let mounted = try place.casherfs("mount", place.work)
      defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
      #expect(mounted.status == 0)
      #expect(mounted.error.contains("\(place.work)/casher.yml is not used, because"))
      for _ in 1...2 { try place.acache("exit 3") }
      #expect(try place.counts() == Counts(hits: 0, misses: 2))
      try place.shell("chown 0 casher.yml; chmod 644 casher.yml")
      for _ in 1...2 { try place.acache("exit 3") }
      #expect(try place.counts() == Counts(hits: 1, misses: 3))
    }
  }

  @Test("Option, variable, work directory, user, built in: config shows what counts and where it is from")
  func sources() throws {
    let place = try Place()
    func settings(_ arguments: String...) throws -> [String: [String: Any]] {
      try run(
        Programs.casherfs, ["config", "--json"] + arguments, in: place.work, environment: place.environment
      ).json()
    }
    func source(_ name: String, _ arguments: String...) throws -> String {
      let setting = try settings()[name]
      return "\(setting?["value"] ?? "-") \(setting?["origin"] ?? "-") \(setting?["line"] ?? "-")"
    }
    try FileManager.default.createDirectory(
      atPath: place.base + "/.config/casher", withIntermediateDirectories: true)
    #expect(try source("max_cache_size") == "\(32 << 30) built in <null>")
    try place.shell("echo 'max_cache_size: 1G' > ../.config/casher/config.yml")
    #expect(try source("max_cache_size") == "\(1 << 30) file 1")
    try configure(place, "ignore: '*.o'\nmax_cache_size: 2G\ncompression: off\ncache_directory: ../elsewhere\n")
    #expect(try source("max_cache_size") == "\(2 << 30) file 2")
    #expect(try source("compression") == "<null> file 3")
    #expect(try source("cache_directory") == "\(place.base)/cache environment <null>")
    place.environment["CASHER_MAX_CACHE_BYTES"] = "3G"
    #expect(try source("max_cache_size") == "\(3 << 30) environment <null>")
    place.environment["CASHER_CACHE_DIR"] = nil
    #expect(try source("cache_directory") == "\(place.base)/elsewhere file 4")
    #expect(try settings("--cache-dir", "/x")["cache_directory"]?["origin"] as? String == "command line")
    // Below the work directory, mounted or not, its file counts too.
    try place.shell("mkdir -p a/b; echo 'ignore: [\"*.o\", x]' > ../.config/casher/config.yml")
    let text = try place.casherfs("config", in: place.work + "/a/b").output
    #expect(text.contains("max_cache_size          3 GiB  (from $CASHER_MAX_CACHE_BYTES)"))
    #expect(
      text.contains(
        "(from \(place.work)/casher.yml, line 1, from \(place.base)/.config/casher/config.yml, line 1)\n    *.o x"))
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    #expect(FileManager.default.fileExists(atPath: place.base + "/elsewhere/casher.sqlite"))
    try place.acache("echo x")
    #expect(try place.casherfs("log", in: place.work).output.contains("echo x"))
  }

  @Test("With journal_mode the database does without the write-ahead log, and calls are hits all the same")
  func journalMode() throws {
    let place = try Place()
    try configure(place, "journal_mode: delete\n")
    #expect(try place.casherfs("config", in: place.work).output.contains("journal_mode            delete  (from"))
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    #expect(try place.acache("echo x > y", options: ["--sync"]).status == 0)
    try place.shell("rm y")
    #expect(try place.acache("echo x > y", options: ["-v"]).error.contains("hit"))
    #expect(try place.shell("cat y").output == "x\n")
    #expect(!FileManager.default.fileExists(atPath: place.base + "/cache/casher.sqlite-wal"))
    #expect(try place.casherfs("unmount", place.work).status == 0)
    place.environment["CASHER_JOURNAL_MODE"] = "none"
    #expect(try place.casherfs("stats").status == 2)
  }

  @Test("config check tells what is wrong with a file")
  func check() throws {
    let place = try Place()
    try configure(place, "env: A\n")
    #expect(try place.casherfs("config", "check", place.work + "/casher.yml").status == 0)
    try configure(place, "env: A\nstrickt: true\n")
    let outcome = try place.casherfs("config", "check", "casher.yml", in: place.work)
    #expect(outcome.status == 30)
    #expect(outcome.output == "casher.yml:2:1: there is no setting strickt (did you mean strict?)\n")
    let json = try place.casherfs("config", "check", "casher.yml", "--json", in: place.work)
    #expect(try json.json(as: [String: Any].self)["valid"] as? Bool == false)
    #expect(try place.casherfs("config", "check").status == 2)
    #expect(try place.casherfs("config", "check", "/no/such").status == 1)
  }
}
