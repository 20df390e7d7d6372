import Foundation
import Testing

/// The store's directory vanishes while files of it are shown.
@Suite("A store that vanishes", .serialized) struct StoreGoneTests {
  /// Leaves `d/big` and `d/other`, which are too large for the database, and `small` as placed files.
  private static let script =
    "mkdir -p d; head -c 200000 /dev/urandom > d/big; head -c 100000 /dev/urandom > d/other; echo small > small"
  private static let placed: Set = ["d/big", "d/other", "small"]

  private func withPlaced(_ body: (Place) throws -> Void) throws {
    let place = try Place()
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    #expect(try place.acache(StoreGoneTests.script).status == 0)
    try place.shell("sha256sum d/big d/other small > ../sums; rm -r d small")
    #expect(try place.acache(StoreGoneTests.script).status == 0)
    #expect(try place.counts().hits == 1)
    try body(place)
  }

  private func copies(_ place: Place) throws -> String {
    try place.shell("ls ../.local/state/casher 2>/dev/null | wc -l").output
  }

  private func killDaemon(_ place: Place) throws {
    let daemon = try #require(try place.daemon())
    kill(daemon, SIGKILL)
    try place.waitForEnd(of: daemon)
  }

  /// The paths that are said not to be had.
  private func named(_ outcome: Outcome) -> Set<String> {
    Set(
      outcome.error.split(separator: "\n").compactMap { line in
        StoreGoneTests.placed.first { line.contains("casherfs: \($0)") }
      })
  }

  @Test(
    "While the daemon is dead: whatever comes next names every file that was seen",
    arguments: ["mount", "freeze", "unmount"])
  func dead(command: String) throws {
    try withPlaced { place throws in
      #expect(try copies(place) == "1\n")
      // One becomes ordinary, one is removed, one is written: none of these is missed.
      #expect(try place.acache("echo gone > gone").status == 0)
      try place.shell("rm gone")
      #expect(try place.acache("echo gone > gone").status == 0)
      try place.shell("rm gone; mv d/other moved; mv moved d/other")
      try killDaemon(place)
      try place.shell("rm -rf '\(place.base)/cache'", in: "/")
      let outcome = try place.casherfs(command, place.work)
      #expect(named(outcome) == StoreGoneTests.placed, "\(outcome)")
      #expect(outcome.status == (command == "mount" ? 0 : 1))
      if command == "mount" {
        #expect(named(try place.casherfs("freeze", place.work)) == StoreGoneTests.placed)
        try killDaemon(place)
        #expect(named(try place.casherfs("mount", place.work)) == StoreGoneTests.placed)
      } else {
        #expect(named(try place.casherfs("mount", place.work)) == StoreGoneTests.placed)
      }
      #expect(try place.casherfs("freeze", "--forget-missing", place.work).status == 0)
      #expect(try place.casherfs("unmount", place.work).error == "")
      #expect(try place.shell("find . -type f").output == "")
      #expect(try copies(place) == "0\n")
    }
  }

  @Test("While the daemon lives: what is open or in the database is written, the rest is named")
  func alive() throws {
    try withPlaced { place throws in
      #expect(try place.shell("sha256sum -c ../sums").status == 0)
      // It keeps nothing of what the test waits for the end of.
      let reader = """
        import os, time
        os.closerange(3, 4096)
        file = os.open("d/big", os.O_RDONLY)
        open("../reader.new", "w").write(str(os.getpid()))
        os.rename("../reader.new", "../reader")
        time.sleep(600)
        """
      let open = try place.shell(
        """
        python3 -Ic '\(reader)' </dev/null >/dev/null 2>&1 &
        timeout 100 sh -c 'while ! test -s ../reader; do sleep 0.01; done'
        """)
      #expect(open.status == 0)
      defer { _ = try? place.shell("kill $(cat ../reader)") }
      try place.shell("rm -rf '\(place.base)/cache'", in: "/")
      #expect(try place.shell("cat small").output == "small\n")
      let outcome = try place.casherfs("freeze", place.work)
      #expect(!named(outcome).contains("d/big"), "\(outcome)")
      #expect(named(outcome).isSubset(of: ["d/other"]))
      #expect(try place.shell("grep -E 'big|small' ../sums | sha256sum -c").status == 0)
      try place.shell("kill $(cat ../reader)")
      try killDaemon(place)
      let again = try place.casherfs("mount", place.work)
      #expect(again.status == 0 && named(again) == named(outcome), "\(again)")
      #expect(try place.shell("grep -E 'big|small' ../sums | sha256sum -c").status == 0)
    }
  }

  @Test("What can no longer be had is given up when that is asked for, also while the daemon lives")
  func givenUp() throws {
    try withPlaced { place throws in
      try place.shell("rm -rf '\(place.base)/cache/blobs'", in: "/")
      let refused = try place.casherfs("unmount", place.work)
      #expect(refused.status == 1 && named(refused) == ["d/big", "d/other"], "\(refused)")
      #expect(named(try place.casherfs("freeze", "--forget-missing", place.work)) == ["d/big", "d/other"])
      #expect(try place.casherfs("freeze", place.work).status == 0)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.shell("find . -type f").output == "./small\n")
    }
  }

  @Test("Nothing is kept anywhere of what has become ordinary")
  func tidy() throws {
    try withPlaced { place throws in
      #expect(try copies(place) == "1\n")
      #expect(try place.casherfs("freeze", place.work).status == 0)
      #expect(try copies(place) == "0\n")
      try place.shell("rm -r d")
      #expect(try place.acache(StoreGoneTests.script).status == 0)
      #expect(try copies(place) == "1\n")
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try copies(place) == "0\n")
      #expect(try place.shell("sha256sum -c ../sums").status == 0)
    }
  }

  @Test("A mount with another cache names what a killed daemon left in the one before, which still has it")
  func anotherStore() throws {
    try withPlaced { place throws in
      try killDaemon(place)
      let other = ["--cache-dir", place.base + "/other"]
      let outcome = try place.casherfs("mount", other[0], other[1], place.work)
      #expect(outcome.status == 0 && named(outcome) == StoreGoneTests.placed, "\(outcome)")
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(try place.shell("sha256sum -c ../sums").status == 0)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.casherfs("mount", other[0], other[1], place.work).error == "")
    }
  }

  @Test("Empty files need no cache: they are there after it is gone", arguments: ["freeze", "mount"])
  func empty(command: String) throws {
    try withPlaced { place throws in
      let script = "mkdir -p d; : > d/empty"
      #expect(try place.acache(script).status == 0)
      try place.shell("rm d/empty")
      #expect(try place.acache(script).status == 0)
      try killDaemon(place)
      try place.shell("rm -rf '\(place.base)/cache'", in: "/")
      let outcome = try place.casherfs(command, place.work)
      #expect(named(outcome) == StoreGoneTests.placed && !outcome.error.contains("empty"), "\(outcome)")
      #expect(try place.shell("test -f d/empty && ! test -s d/empty").status == 0)
    }
  }

  @Test("What a command makes after the cache directory is gone outlives the daemon")
  func madeAfterwards() throws {
    try withPlaced { place throws in
      let script = "echo tiny > tiny"
      #expect(try place.acache(script).status == 0)
      try place.shell("rm tiny; rm -rf '\(place.base)/cache'", in: place.work)
      let outcome = try place.acache(script)
      #expect(outcome.status == 0 && outcome.error.contains("running without cache"), "\(outcome)")
      try killDaemon(place)
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(place.read("tiny") == "tiny\n")
    }
  }

  @Test("While a copy of the cache stands in its place the daemon is found, and frozen what it shows")
  func replacedByCopy() throws {
    try withPlaced { place throws in
      try place.shell("cp -a cache copy; mv cache away; mv copy cache", in: place.base)
      let outcome = try place.acache("echo tiny > tiny")
      #expect(outcome.error.contains("running without cache"), "\(outcome)")
      #expect(try place.casherfs("status", place.work).status == 0)
      #expect(try place.casherfs("freeze", place.work).status == 0)
      #expect(try place.casherfs("unmount", place.work).error == "")
      #expect(try place.shell("sha256sum -c ../sums; cat tiny").status == 0)
      #expect(try copies(place) == "0\n")
    }
  }
}
