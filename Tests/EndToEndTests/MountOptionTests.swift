import Foundation
import Testing

@Suite("acache --mount")
struct MountOptionTests {
  private func isMounted(_ place: Place) throws -> Bool {
    try place.shell("grep -cF \"$(pwd -P | sed 's/ /\\\\040/g') fuse\" /proc/mounts").output != "0\n"
  }

  @Test("Mounts the directory for the call, and no longer; results are kept from call to call")
  func once() throws {
    let place = try Place()
    try place.write("1", to: "in")
    for _ in 1...2 {
      let outcome = try place.acache("cat in > out; cat out", options: ["--mount", place.work])
      #expect(outcome == Outcome(status: 0, output: "1", error: ""))
      #expect(try !isMounted(place))
      #expect(place.read("out") == "1")
    }
    #expect(try place.counts() == Counts(hits: 1, misses: 1))
    try place.shell("mkdir sub")
    #expect(try place.acache("cat ../in", options: ["--mount=.."], in: place.work + "/sub").output == "1")
    #expect(try place.acache("exit 3", options: ["--mount", "."]).status == 3)
    #expect(try !isMounted(place))
  }

  @Test("Calls at once share the mount, and it goes with the last of them")
  func shared() throws {
    let place = try Place()
    let outcome = try place.shell(
      """
      for i in 1 2 3 4 5 6 7 8; do acache --mount . --require-cache -- sh -c "echo $i > out$i; echo $i" & done; wait
      """)
    #expect(outcome.error == "")
    #expect(outcome.output.split(separator: "\n").sorted() == (1...8).map { "\($0)" })
    #expect(try !isMounted(place))
    for number in 1...8 { #expect(place.read("out\(number)") == "\(number)\n") }
    #expect(try place.counts() == Counts(hits: 0, misses: 8))
  }

  @Test("Calls that come while a mount ends get one all the same")
  func endingMount() throws {
    let place = try Place()
    let outcome = try place.shell(
      """
      for i in $(seq 25); do
        for d in 0.00 0.02 0.04 0.06; do (sleep $d; exec acache --mount . --require-cache -- echo x) & done; wait
      done
      """)
    #expect(outcome.error == "")
    #expect(outcome.output == String(repeating: "x\n", count: 100))
    #expect(try !isMounted(place))
  }

  @Test("A mount that was there stays")
  func mounted() throws {
    try withMount { place throws in
      for _ in 1...2 { #expect(try place.acache("echo x", options: ["--mount", place.work]).output == "x\n") }
      #expect(try isMounted(place))
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("An acache that is killed leaves no mount")
  func killed() throws {
    let place = try Place()
    try place.shell("mkfifo ../ready")
    let outcome = try place.shell(
      """
      acache --mount . -- sh -c 'echo > ../ready; exec sleep 1000' & call=$!
      timeout 100 sh -c 'read x < ../ready'; kill -KILL $call; wait 2>/dev/null
      timeout 100 sh -c 'while mountpoint -q "$PWD"; do sleep 0.05; done'; echo $?
      """)
    #expect(outcome.output.hasSuffix("0\n"))
    #expect(try !isMounted(place))
  }

  @Test("Where it cannot be mounted the command runs plainly, and not with --require-cache")
  func impossible() throws {
    let place = try Place()
    let missing = try place.acache("echo x", options: ["--mount", "/no/such"])
    #expect(missing.output == "x\n")
    #expect(
      missing.error
        == "acache: /no/such of --mount cannot be used (No such file or directory); running without cache\n")
    let elsewhere = try place.acache("echo x", options: ["--mount", "/usr/lib", "--require-cache"])
    #expect(elsewhere.status == 125)
    #expect(elsewhere.output == "")
    #expect(elsewhere.error.contains("/usr/lib of --mount does not hold the working directory"))
    place.environment["CASHER_CACHE_DIR"] = "/proc/no"
    let store = try place.acache("echo x", options: ["--mount", "."])
    #expect(store.output == "x\n")
    #expect(store.error.hasPrefix("acache: . cannot be mounted: "))
  }
}
