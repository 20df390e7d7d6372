import Foundation
import Testing

@Suite("acache's command line")
struct WrongOptionTests {
  @Test(
    "What is wrong is said in one sentence, with 125, and nothing runs",
    arguments: [
      (["--forse", "--", "true"], "--forse is no option of acache (did you mean --force?)"),
      (["--cache-failure", "true"], "--cache-failure is no option of acache (did you mean --cache-failures?)"),
      (["--tt=1h", "true"], "--tt is no option of acache (did you mean --ttl?)"),
      (["--frobnicate"], "--frobnicate is no option of acache (acache --help lists them)"),
      (["-z", "true"], "-z is no option of acache (acache --help lists them)"),
      (["-vz", "true"], "-z is no option of acache"),
      ([], "there is no command to run"), (["--"], "there is no command to run"),
      (["-v"], "there is no command to run"),
      (["--ttl"], "--ttl needs a value: DURATION"), (["--ttl", "--", "true"], "--ttl needs a value: DURATION"),
      (["--ttl=", "true"], "--ttl: '' is no duration"), (["--ttl=soon", "true"], "'soon' is no duration"),
      (["--ttl=-5s", "true"], "'-5s' is no duration"), (["--ttl=1y", "true"], "'1y' is no duration"),
      (["--timeout=0", "true"], "--timeout: '0' is no time at all"), (["--timeout=1x", "true"], "no duration such as"),
      (["--retries=some", "true"], "'some' is no number of times"), (["--retries=-1", "true"], "no number of times"),
      (["--restore=maybe", "true"], "--restore: 'maybe' is none of always, if-missing, never"),
      (["--outside=moon", "true"], "none of auto, view, strace, trust"),
      (["--outside-writes=x", "true"], "none of capture, refuse, ignore"),
      (["--input=", "true"], "--input: '' is no path"),
      (["--output-root", "", "true"], "--output-root: '' is no path"),
      (["--mount=", "true"], "--mount: '' is no path"), (["--report=", "true"], "--report: '' is no path"),
      (["--input=.", "--input-pattern=(", "true"], "--input-pattern: '(' is no extended regular expression"),
      (["--input-pattern=x", "true"], "--input-pattern says nothing without --input"),
      (["--ignore-arg=0", "true"], "they are counted from 1"), (["--ignore-arg=[", "true"], "no extended regular"),
      (["--ignore-arg=", "true"], "it is empty"),
      (["--env=", "true"], "no name of a variable"), (["--ignore-env=A=B", "true"], "no name of a variable"),
      (["--set=A", "true"], "--set: 'A' is not of the form NAME=VALUE"), (["--tag==x", "true"], "not of the form"),
      (["--force=yes", "true"], "--force takes no value"),
      (["--read-only", "--force", "true"], "--read-only and --force contradict each other"),
      (["--no-cache", "--no-store", "true"], "--no-cache and --no-store contradict each other"),
      (["--check", "--read-only", "true"], "contradict each other"), (["-q", "-v", "true"], "-q and -v contradict"),
      (["--env=A", "--ignore-env=A", "true"], "A both counts and is left out"),
    ])
  func misuse(arguments: [String], sentence: String) throws {
    let place = try Place()
    let outcome = try run(Programs.acache, arguments, in: place.work, environment: place.environment)
    #expect(outcome.status == 125)
    #expect(outcome.output == "")
    #expect(outcome.error.hasPrefix("acache: "))
    #expect(outcome.error.contains(sentence), "\(outcome.error)")
    #expect(outcome.error.split(separator: "\n").count == 1)
  }

  @Test("The command line is meant where a default from the environment contradicts it")
  func defaults() throws {
    try withMount { place throws in
      place.environment["CASHER_READ_ONLY"] = "1"
      #expect(try place.acache("echo x").status == 75)
      #expect(try place.acache("echo x", options: ["--force"]).output == "x\n")
      place.environment["CASHER_FORCE"] = "1"
      #expect(
        try place.acache("echo x").error.contains("CASHER_FORCE and CASHER_READ_ONLY contradict")
          || place.acache("echo x").error.contains("CASHER_READ_ONLY and CASHER_FORCE contradict"))
      place.environment["CASHER_FORCE"] = "maybe"
      #expect(try place.acache("echo x").error == "acache: CASHER_FORCE is 'maybe', neither 1 nor 0\n")
      place.environment["CASHER_FORCE"] = nil
      place.environment["CASHER_TTL"] = "x"
      #expect(try place.acache("echo x").error.hasPrefix("acache: CASHER_TTL: 'x' is no duration"))
    }
  }

  @Test("The help names every option, in lines of 80 columns; the version is printed")
  func help() throws {
    let place = try Place()
    let help = try run(Programs.acache, ["--help"], environment: place.environment)
    #expect(help.status == 0)
    #expect(help.error == "")
    for line in help.output.split(separator: "\n") { #expect(line.count <= 90, "\(line)") }
    for name in [
      "force", "no-store", "no-cache", "read-only", "check", "ttl", "require-cache", "mount", "input", "input-pattern",
      "output-root", "ignore", "ignore-arg", "env", "ignore-env", "only-env", "set", "salt", "strict", "mtime",
      "relocatable", "restore", "cache-failures", "tag", "sync", "outside", "outside-writes", "allow-network",
      "timeout", "retries", "no-pty", "no-stdin", "verbose", "quiet", "explain", "report", "help", "version",
    ] {
      #expect(help.output.contains("--\(name)"))
    }
    #expect(try run(Programs.acache, ["-h", "true"], environment: place.environment) == help)
    let version = try run(Programs.acache, ["--version"], environment: place.environment)
    #expect(version.output.hasPrefix("acache "))
    #expect(version.status == 0)
  }
}
