import Foundation
import Testing

/// The store is damaged while files of it are shown.
@Suite("A store that is damaged", .serialized) struct StoreDamageTests {
  /// `big` and `d/other` are too large for the database, `soft` is kept compressed, `small` is in the database.
  private static let script =
    "mkdir -p d; head -c 3000000 /dev/urandom > big; head -c 100000 /dev/urandom > d/other; "
    + "seq 1 400000 > soft; echo small > small"

  private func withPlaced(_ body: (Place) throws -> Void) throws {
    let place = try Place()
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    #expect(try place.acache(StoreDamageTests.script, options: ["--sync"]).status == 0)
    try place.shell("sha256sum big d/other soft small > ../sums; rm -r big d soft small")
    #expect(try place.acache(StoreDamageTests.script).status == 0)
    #expect(try place.counts().hits == 1)
    try body(place)
  }

  private func killDaemon(_ place: Place) throws {
    let daemon = try #require(try place.daemon())
    kill(daemon, SIGKILL)
    try place.waitForEnd(of: daemon)
  }

  private func areWhole(_ place: Place) throws -> Bool { try place.shell("sha256sum --quiet -c ../sums").status == 0 }

  /// How the list of what is placed can be damaged; `$list` is its path.
  private static let damages = [
    "truncate -s 0 \"$list\"", "truncate -s -40 \"$list\"", "printf garbage | dd of=\"$list\" conv=notrunc",
    "printf '\\377\\377\\377' | dd of=\"$list\" bs=1 seek=60 conv=notrunc", "printf garbage >> \"$list\"",
  ]

  private func damage(_ place: Place, _ how: String) throws {
    #expect(
      try place.shell("list=$(ls '\(place.base)'/cache/mounts/*/placed); \(how) 2>/dev/null", in: "/").status == 0)
  }

  @Test("The list of what is placed is made good from its copy", arguments: damages)
  func listWithCopy(how: String) throws {
    try withPlaced { place throws in
      try killDaemon(place)
      try damage(place, how)
      let mounted = try place.casherfs("mount", place.work)
      #expect(mounted.status == 0 && mounted.error.contains("recovered 4 files"), "\(mounted)")
      #expect(!mounted.error.contains("damaged"))
      #expect(try areWhole(place))
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try areWhole(place))
    }
  }

  @Test(
    "Where there is no copy, whatever comes next says that the list of what is placed is damaged, and what may be missing, once",
    arguments: ["mount", "freeze"])
  func listWithoutCopy(command: String) throws {
    try withPlaced { place throws in
      try killDaemon(place)
      try damage(place, StoreDamageTests.damages[2])
      try place.shell("rm -r '\(place.base)/.local/state'", in: "/")
      let outcome = try place.casherfs(command, place.work)
      #expect(outcome.error.contains("the list of files that were only in the cache is damaged"), "\(outcome)")
      for name in ["big", "d/other", "soft", "small"] {
        #expect(outcome.error.contains("casherfs: \(name)") && outcome.error.contains("may be missing"), "\(outcome)")
      }
      #expect(outcome.status == (command == "mount" ? 0 : 1))
      if command == "mount" { #expect(try place.casherfs("unmount", place.work).status == 0) }
      #expect(try place.casherfs("mount", place.work).error == "")
    }
  }

  @Test("A page of the database's shared memory that cannot be had ends neither the daemon nor a command")
  func cutOffIndex() throws {
    try withPlaced { place throws in
      let daemon = try #require(try place.daemon())
      // What is touched beyond the end of a mapped file, or on a full disk that writes elsewhere each time, ends a process.
      try place.shell("truncate -s 0 '\(place.base)'/cache/casher.sqlite-shm", in: "/")
      let outcome = try place.acache("echo hello; echo made > made")
      #expect(outcome.status == 0 && outcome.output == "hello\n", "\(outcome)")
      #expect(outcome.error.contains("casher.sqlite-shm") && outcome.error.split(separator: "\n").count == 1)
      #expect(place.read("made") == "made\n")
      #expect(try place.daemon() == daemon)
      // Nothing is lost: the next daemon has the index made anew.
      kill(daemon, SIGKILL)
      try place.waitForEnd(of: daemon)
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(try areWhole(place))
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try areWhole(place))
    }
  }

  /// Changes a byte of each file that `files` (find's arguments) finds in the cache, and puts its time of modification back.
  private func flip(_ place: Place, _ files: String) throws {
    let flipping = """
      find '\(place.base)/cache'/\(files) -type f | while read -r file; do
        touch -r "$file" ../times; chmod 600 "$file"
        printf X | dd of="$file" bs=1 seek=20000 conv=notrunc 2>/dev/null; touch -r ../times "$file"; chmod 400 "$file"
      done
      """
    #expect(try place.shell(flipping).status == 0)
  }

  @Test("Content that is changed after the file was read is not given: it cannot be read any more")
  func changedBlob() throws {
    try withPlaced { place throws in
      #expect(try areWhole(place))
      try flip(place, "blobs")
      #expect(try place.shell("cat big > /dev/null").status != 0)
      #expect(try place.shell("cat d/other > /dev/null").status != 0)
      // The command makes it anew.
      #expect(try place.acache("cp small big; cp small d/other").status == 0)
      #expect(try place.shell("cmp small big && cmp small d/other").status == 0)
    }
  }

  @Test("A plain copy that is changed after the file was read is made again")
  func changedCopy() throws {
    try withPlaced { place throws in
      #expect(try areWhole(place))
      try flip(place, "inflated")
      #expect(try areWhole(place))
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try areWhole(place))
    }
  }

  @Test("What could not be had is no longer named when it stands there again")
  func madeAgain() throws {
    try withPlaced { place throws in
      try killDaemon(place)
      try place.shell("rm -r '\(place.base)/cache/blobs'", in: "/")
      let mounted = try place.casherfs("mount", place.work)
      for name in ["big", "d/other"] { #expect(mounted.error.contains("\(name) cannot be had"), "\(mounted)") }
      #expect(try place.acache(StoreDamageTests.script, options: ["--sync"]).status == 0)
      try place.shell("sha256sum big d/other soft small > ../sums")
      let ended = try place.casherfs("unmount", place.work)
      #expect(ended.status == 0 && ended.error == "", "\(ended)")
      #expect(try areWhole(place))
    }
  }

  @Test("What could not be had is no longer named when its directory is gone and another is made with the file in it")
  func madeAgainInAnotherDirectory() throws {
    try withPlaced { place throws in
      try killDaemon(place)
      try place.shell("rm -r '\(place.base)/cache/blobs'", in: "/")
      #expect(try place.casherfs("mount", place.work).error.contains("d/other cannot be had"))
      try place.shell("mv d before")
      #expect(try place.acache(StoreDamageTests.script, options: ["--sync"]).status == 0)
      let moved = try place.casherfs("freeze", place.work)
      #expect(moved.status == 1 && moved.error.contains("other") && !moved.error.contains("big"), "\(moved)")
      try place.shell("sha256sum big d/other soft small > ../sums; rm -r before")
      let ended = try place.casherfs("unmount", place.work)
      #expect(ended.status == 0 && ended.error == "", "\(ended)")
      #expect(try areWhole(place))
    }
  }

  @Test("A freeze names what could not be had with its own reason: lost from the cache, or in a directory that is gone")
  func reasons() throws {
    try withPlaced { place throws in
      try killDaemon(place)
      try place.shell("rm -r '\(place.base)/cache/blobs'", in: "/")
      #expect(try place.casherfs("mount", place.work).error.contains("cannot be had"))
      try place.shell("rm -r d")
      let frozen = try place.casherfs("freeze", place.work)
      #expect(frozen.error.contains("big: its content is no longer in the cache"), "\(frozen)")
      #expect(frozen.error.contains("d/other: its directory is gone"), "\(frozen)")
      let given = try place.casherfs("freeze", "--forget-missing", place.work)
      #expect(given.status == 0 && given.error.contains("gone; forgotten"), "\(given)")
      #expect(try place.casherfs("unmount", place.work).status == 0)
    }
  }

  @Test("Only what still cannot be had is forgotten", arguments: [false, true])
  func forgetting(isMounted: Bool) throws {
    try withPlaced { place throws in
      try killDaemon(place)
      let away = "cd '\(place.base)/cache' && mv blobs away && mkdir -m 700 blobs"
      let back = "cd '\(place.base)/cache' && rmdir blobs && mv away blobs"
      try place.shell(away, in: "/")
      #expect(try place.casherfs("mount", place.work).error.contains("big cannot be had"))
      if !isMounted { try killDaemon(place) }
      try place.shell(back, in: "/")
      let frozen = try place.casherfs("freeze", "--forget-missing", place.work)
      #expect(frozen.status == 0 && frozen.error == "", "\(frozen)")
      #expect(try areWhole(place))
    }
  }

  @Test("A directory that was made again by hand after the cache was lost is not said to be gone")
  func madeAgainByHand() throws {
    try withPlaced { place throws in
      try killDaemon(place)
      try place.shell("rm -r '\(place.base)/cache/blobs'", in: "/")
      #expect(try place.casherfs("freeze", place.work).error.contains("d/other"))
      try place.shell("rm -r d && mkdir d && echo other > d/other && sha256sum d/other > ../sums")
      let mounted = try place.casherfs("mount", place.work)
      #expect(mounted.error.contains("big cannot be had") && !mounted.error.contains("other"), "\(mounted)")
      #expect(try areWhole(place))
    }
  }

  @Test("When the database is gone, content that lies beside it is still had", arguments: ["mount", "freeze"])
  func databaseGone(command: String) throws {
    try withPlaced { place throws in
      try killDaemon(place)
      try place.shell("rm '\(place.base)'/cache/casher.sqlite*", in: "/")
      let outcome = try place.casherfs(command, place.work)
      let named = outcome.error.split(separator: "\n").filter { !$0.contains("recovered") }
      #expect(named.count == 1 && named[0].contains("small"), "\(outcome)")
      #expect(try place.shell("grep -v small ../sums | sha256sum --quiet -c").status == 0)
    }
  }

  private func spoilDatabase(_ place: Place) throws {
    try place.shell("head -c 20000 /dev/urandom > casher.sqlite; rm -f casher.sqlite-*", in: place.base + "/cache")
  }

  @Test("After a database was repaired the daemon that is there gives what lies beside it, stores, and ends")
  func repairedWhileServed() throws {
    try withPlaced { place throws in
      try spoilDatabase(place)
      #expect(try place.shell("cat big > /dev/null").status != 0)
      #expect(try place.casherfs("verify", "--store", "--repair").status == 0)
      #expect(try place.shell("grep -v small ../sums | sha256sum --quiet -c").status == 0)
      let other = try place.acache("echo other > small", options: ["-v", "--sync"])
      #expect(other.status == 0 && other.error.contains("stored"), "\(other)")
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.shell("grep -v small ../sums | sha256sum --quiet -c && cat small").status == 0)
    }
  }

  @Test(
    "Where the daemon is dead and the database cannot be used, each file that is in the cache alone is named",
    arguments: ["mount", "freeze", "unmount"])
  func namedWithoutDatabase(command: String) throws {
    try withPlaced { place throws in
      try killDaemon(place)
      try spoilDatabase(place)
      for attempt in [command, "freeze"] {
        let outcome = try place.casherfs(attempt, place.work)
        #expect(outcome.status == 9, "\(outcome)")
        for name in ["big", "d/other", "small", "soft"] {
          #expect(outcome.error.contains("\(name) cannot be had before"), "\(outcome)")
        }
      }
      try place.shell("mkdir -p d; echo other > small", in: place.work)
      let later = try place.casherfs("freeze", place.work)
      #expect(later.error.contains("big cannot") && !later.error.contains("small"), "\(later)")
      #expect(try place.casherfs("verify", "--store", "--repair").status == 0)
      #expect(try place.casherfs("freeze", place.work).status == 0)
      #expect(try place.shell("grep -v small ../sums | sha256sum --quiet -c").status == 0)
    }
  }

  @Test("When the database's log is taken away under another daemon, that is told as damage, and mended as that")
  func logGone() throws {
    try withPlaced { place throws in
      let other = place.base + "/second"
      try place.shell("mkdir '\(other)'")
      #expect(try place.casherfs("mount", other).status == 0)
      defer { _ = try? place.casherfs("unmount", "--lazy", other) }
      try killDaemon(place)
      try place.shell("rm casher.sqlite-wal", in: place.base + "/cache")
      let outcome = try place.casherfs("mount", place.work)
      #expect(outcome.status == 9 && outcome.error.contains("verify --store --repair"), "\(outcome)")
      #expect(try place.casherfs("verify", "--store", "--repair").status == 0)
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(try place.shell("grep -v small ../sums | sha256sum --quiet -c").status == 0)
    }
  }
}
