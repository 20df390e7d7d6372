import CasherConfiguration
import CasherRecord
import CasherSystem
import Testing

/// The file with this text, at /w/casher.yml.
private func file(_ text: String) throws(InvalidConfiguration) -> ConfigurationFile {
  try ConfigurationFile(path: "/w/casher.yml", text: Array(text.utf8))
}

/// What is wrong with a file, a line each.
private func problems(_ text: String) -> [String] {
  do throws(InvalidConfiguration) {
    _ = try file(text)
    return []
  } catch { return error.lines.map { String($0.dropFirst("/w/casher.yml:".count)) } }
}

private func bytes(_ texts: String...) -> SettingValue { .list(texts.map { Array($0.utf8) }) }

@Suite("casher.yml as it is read")
struct ConfigurationFileTests {
  @Test("Values of every kind, with their lines")
  func values() throws {
    let found = try file(
      """
      cache_directory: cache
      max_cache_size: 10G
      compression: off
      env: [TERM, 'SSH_*']
      ignore_env: JOB
      outside: strace
      cache_failures: yes
      ttl: 2h
      commands:
        - match: "gcc *"
          ignore: "*.tmp"
          timeout: 30s
        - match: [make, "sh build.sh"]
          no_cache: true
      """)
    #expect(found.settings["cache_directory"]?.value == .text(Array("/w/cache".utf8)))
    #expect(try file("cache_directory: ../c/./d").settings["cache_directory"]?.value == .text(Array("/c/d".utf8)))
    #expect(found.settings["max_cache_size"]?.value == .number(10 << 30))
    #expect(found.settings["max_cache_size"]?.line == 2)
    #expect(found.settings["compression"]?.value == .off)
    #expect(found.settings["env"]?.value == bytes("TERM", "SSH_*"))
    #expect(found.settings["ignore_env"]?.value == bytes("JOB"))
    #expect(found.settings["cache_failures"]?.value == .flag(true))
    #expect(found.settings["ttl"]?.value == .number(7_200_000_000_000))
    #expect(found.rules.map(\.line) == [10, 13])
    #expect(found.rules.map(\.patterns) == [["gcc *"], ["make", "sh build.sh"]])
    #expect(found.rules.first?.settings["timeout"]?.value == .number(30_000_000_000))
  }

  @Test(
    "A file that says nothing is a file without settings", arguments: ["", "# nothing\n", "---\n", "{}\n", "~x: 1"])
  func empty(text: String) {
    #expect(problems(text).isEmpty == (text != "~x: 1"))
  }

  @Test("An unknown key is named with its place, and the nearest key suggested")
  func unknownKeys() {
    #expect(
      problems("env: A\ncache-failures: true\n") == [
        "2:1: there is no setting cache-failures (did you mean cache_failures?)"
      ])
    #expect(problems("outsid: auto") == ["1:1: there is no setting outsid (did you mean outside?)"])
    #expect(problems("colour: red") == ["1:1: there is no setting colour ('man casher.yml' lists them)"])
    #expect(
      problems("commands:\n  - match: x\n    igore: y\n")
        == ["3:5: there is no setting igore (did you mean ignore?)"])
  }

  @Test("A value of the wrong type is named with its place and what it has to be")
  func wrongTypes() {
    #expect(problems("strict: maybe") == ["1:9: strict is true or false, not 'maybe'"])
    #expect(problems("strict: \"true\"") == ["1:9: strict is true or false, not 'true'"])
    #expect(problems("max_cache_size: [1]") == ["1:17: max_cache_size is a size such as 500M or 10G, not a list"])
    #expect(problems("outside: never") == ["1:10: outside is auto, view, strace or trust, not 'never'"])
    #expect(problems("env: {A: 1}") == ["1:6: env is the name of a variable or a list of names, not a mapping"])
    #expect(problems("env: A=1") == ["1:6: env is the name of a variable or a list of names, not 'A=1'"])
    #expect(problems("timeout: 0") == ["1:10: timeout is a duration such as 500ms, 30s, 5m, 2h or 7d, not '0'"])
    #expect(problems("compression: 20") == ["1:14: compression is off or a level from 1 to 19, not '20'"])
    #expect(problems("ttl:\nsalt: x") == ["1:5: ttl has no value; it is a duration such as 500ms, 30s, 5m, 2h or 7d"])
    #expect(problems("tag: fast") == ["1:6: tag is NAME=VALUE or a list of such, not 'fast'"])
    #expect(problems("- a\n- b\n") == ["1:1: there are settings of the form NAME: VALUE expected"])
    #expect(problems("input: ../x").first?.hasPrefix("1:8: input is a path without '..'") == true)
  }

  @Test("Everything that is wrong is found at once")
  func several() throws {
    #expect(problems("a: 1\nstrict: 7\ncommands: x\n").count == 3)
    let error = #expect(throws: InvalidConfiguration.self) { try file("strict: 7\nmtime: 7\n") }
    #expect(error?.description == "/w/casher.yml:1:9: strict is true or false, not '7' (and 1 more)")
  }

  @Test("Rules have a pattern, and nothing that is about the mount")
  func rules() {
    #expect(
      problems("commands:\n  - strict: true\n") == ["2:5: a rule needs match, the commands that it is about"])
    #expect(
      problems("commands:\n  - match: x\n    durability: full\n")
        == ["3:5: durability is about the whole mount and cannot stand in a rule"])
    #expect(problems("commands:\n  - gcc\n").first?.hasPrefix("2:5: a rule has match") == true)
  }

  @Test("A setting that stands twice, or says two things, is wrong")
  func contradictions() {
    #expect(problems("strict: true\nstrict: false\n") == ["2:1: strict is set twice, in line 1 too"])
    #expect(problems("env: A\nignore_env: [B, A]\n") == ["1:1: A stands in env and in ignore_env"])
  }

  @Test("What is no YAML is wrong where it breaks off; aliases without end are too much")
  func notYAML() {
    #expect(problems("env: [A\nstrict: true\n").first?.contains("this is not YAML: ") == true)
    #expect(problems("env: A\n\tstrict: true\n").first?.hasPrefix("2:1: this is not YAML: ") == true)
    #expect(problems("env: A\n---\nenv: B\n") == ["3:1: a second document begins here; one is read"])
    #expect(problems("env: &a [*a]").first?.contains("nested too deeply") == true)
    #expect(problems("env: !secret A").first?.contains("the tag !secret means nothing here") == true)
    #expect(!problems("\u{0}\u{1}").isEmpty)
  }
}

@Suite("What casher.yml says of a call")
struct CallSettingsTests {
  private func applied(
    _ files: [String], _ command: String = "gcc -c x.c", to options: CallOptions = CallOptions(),
    given: Set<String> = []
  ) throws -> CallOptions {
    var options = options
    let program = command.prefix { $0 != " " }
    options.apply(
      try files.map { try file($0) }, given: given, text: FilePath(command), program: FilePath(String(program)))
    return options
  }

  @Test("Options go before rules, later rules before earlier, rules before the rest, the first file before the second")
  func precedence() throws {
    let work =
      "restore: never\ncommands:\n  - {match: gcc, restore: always}\n  - {match: 'gcc -c *', restore: if-missing}\n"
    let user = "restore: always\nttl: 1h\n"
    #expect(try applied([work, user]).restore == .ifMissing)
    #expect(try applied([work, user], "gcc x.c").restore == .always)
    #expect(try applied([work, user], "cc x.c").restore == .never)
    #expect(try applied([user, work], "cc x.c").restore == .always)
    #expect(try applied([work, user]).timeToLive == 3_600_000_000_000)
    var flag = CallOptions()
    flag.restore = .always
    #expect(try applied([work], to: flag, given: ["restore"]).restore == .always)
    #expect(try applied(["cache_failures: true"], given: ["cache-failures"]).cacheFailures == false)
    #expect(try applied(["cache_failures: true"]).cacheFailures)
    #expect(try applied(["cache_failures: false", "cache_failures: true"]).cacheFailures == false)
  }

  @Test("A pattern without a space is about the program's name, others about the whole command")
  func patterns() throws {
    func fits(_ pattern: String, _ command: String) throws -> Bool {
      try applied(["commands: [{match: '\(pattern)', strict: true}]"], command).strict
    }
    #expect(try fits("gcc", "gcc -c x.c"))
    #expect(try fits("gcc", "/usr/bin/gcc -c x.c"))
    #expect(try fits("/usr/bin/*", "/usr/bin/gcc"))
    #expect(try fits("gcc *", "/usr/bin/gcc -c x.c"))
    #expect(try fits("python3*", "python3.11 x.py"))
    #expect(try !fits("gcc *", "gcc"))
    #expect(try !fits("gcc", "gcc-12 x.c"))
    #expect(try !fits("make test", "make test2"))
  }

  @Test("Lists add to each other, and what counts for a higher one is not ignored by a lower one")
  func lists() throws {
    let options = try applied([
      "ignore: [a, b]\nenv: TERM\ntag: x=1", "ignore: [b, c]\nignore_env: [TERM, J]\ntag: x=2",
    ])
    #expect(options.ignored == ["a", "b", "c"])
    #expect(options.environmentAdded == ["TERM"])
    #expect(options.environmentIgnored == ["J"])
    #expect(options.tags == [Array("x=1".utf8)])
    let only = try applied(["env: X\ncommands: [{match: gcc, ignore_env: B}]", "only_env: [A, B]"])
    #expect(only.environmentOnly == ["X", "A"])
    #expect(try applied(["only_env: []"]).environmentOnly == [])
  }

  @Test("What the options ask for and a file makes impossible is done")
  func contradictions() throws {
    var options = CallOptions()
    options.force = true
    #expect(try !applied(["no_cache: true"], to: options, given: ["force"]).noCache)
    #expect(try applied(["no_cache: true"]).noCache)
  }
}
