import CasherSystem
import Foundation
import Testing

/// Files that a hit shows and that are not in the directory yet: when they come to be there, and that none is ever lost.
@Suite("Placed files", .root, .serialized) struct PlacedFileTests {
  /// Leaves `out`, `d/big` (200 KB that do not compress) and `d/script` as placed files.
  private static let script =
    "mkdir -p d; tr a-z A-Z < in > out; head -c 200000 /dev/urandom > d/big; echo 'echo ran' > d/script; chmod 750 d/script"
  private static let look = "cat out; sha256sum d/big; d/script; stat -c '%n %a %s %h %F' out d/big d/script; ls -A . d"

  /// Calls `body` with a mount in which the script's outputs are placed, and with what `look` shows of them.
  private func withPlaced(_ options: String..., body: (Place, Outcome) throws -> Void) throws {
    let place = try Place()
    #expect(try place.shell("mkdir -p ../beneath && mount --bind . ../beneath").status == 0)
    defer { _ = try? place.shell("umount -l '\(place.base)/beneath'", in: "/") }
    let mounted = try run(Programs.casherfs, ["mount"] + options + [place.work], environment: place.environment)
    try #require(mounted.status == 0, "\(mounted.error)")
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    try place.write("hello\n", to: "in")
    #expect(try place.acache(PlacedFileTests.script).status == 0)
    let wanted = try place.shell(PlacedFileTests.look)
    try place.shell("rm -r out d")
    #expect(try place.acache(PlacedFileTests.script).status == 0)
    #expect(try place.shell(PlacedFileTests.look) == wanted)
    #expect(try place.counts().hits == 1)
    try body(place, wanted)
  }

  private func killDaemon(_ place: Place) throws {
    let daemon = try #require(try place.daemon())
    kill(daemon, SIGKILL)
    try place.waitForEnd(of: daemon)
  }

  private func beneath(_ place: Place) throws -> [String] {
    try place.shell("find . -type f -printf '%P\\n' | sort", in: place.base + "/beneath").output
      .split(separator: "\n").map(String.init)
  }

  private func placed(_ place: Place) throws -> Int {
    let mounts = try place.casherfs("status", "--json").json(as: [[String: Any]].self)
    return mounts.first { $0["directory"] as? String == place.work }?["placed.files"] as? Int ?? -1
  }

  @Test("A hit writes nothing to the directory; what is changed then is written alone")
  func nothingWritten() throws {
    try withPlaced { place, _ throws in
      #expect(try beneath(place) == ["in"])
      #expect(try placed(place) == 3)
      #expect(try place.shell("echo more >> out; mv d/big d/moved; cat out").output == "HELLO\nmore\n")
      #expect(try beneath(place) == ["in", "out"])
      #expect(try place.acache("cat d/moved | wc -c").output == "200000\n")
      #expect(try place.acache("cat d/moved | wc -c").output == "200000\n")
      #expect(try place.counts().hits == 2)
      #expect(try beneath(place) == ["in", "out"])
    }
  }

  @Test("A placed file is an input and an output like any other")
  func inputsAndOutputs() throws {
    try withPlaced { place, wanted throws in
      #expect(try place.acache("cp d/big copy; d/script > ran").status == 0)
      #expect(try place.acache("acache -- sh -c 'cp copy second; mv ran third'").status == 0)
      try place.shell("rm copy second third")
      #expect(try place.acache("cp d/big copy; d/script > ran").status == 0)
      #expect(try place.counts().hits == 2)
      #expect(try place.acache("acache -- sh -c 'cp copy second; mv ran third'").status == 0)
      #expect(try place.counts().hits == 3)
      #expect(try place.shell("cmp second d/big && cmp copy d/big && cat third").output == "ran\n")
      #expect(try place.acache("echo x >> second; sed -i s/ran/RAN/ third").status == 0)
      #expect(try place.shell("tail -c 2 second; cat third").output == "x\nRAN\n")
      #expect(try place.acache(PlacedFileTests.script, options: ["--check"]).status == 1)
    }
  }

  @Test(
    "Who has a placed file open sees what is written to it, and that it is truncated",
    arguments: [
      "tr a-z A-Z < out > out; cat out", "exec 3< out; : > out; cat <&3",
      "exec 3< out; echo more >> out; cat <&3; echo again >> out; cat <&3; stat -c %s out",
      "exec 3< out 4> out; echo written >&4; cat <&3; exec 5< out; exec 4>&-; echo again >> out; cat <&3; cat <&5; cat out",
      "exec 3< out; read x <&3; sed -i s/l/L/ out; cat <&3; cat out", "exec 3< out; truncate -s 20 out; od -c <&3",
      """
      python3 -c 'import mmap
      with open("out", "rb") as reader:
          seen = mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ)
          with open("out", "r+b") as writer:
              writer.write(b"HE"); writer.flush()
              print(seen[:], reader.read())
              both = mmap.mmap(writer.fileno(), 0); both[0:1] = b"_"
              print(seen[:]); both.flush()
          print(open("out").read())'
      """,
    ])
  func openWhileChanged(_ script: String) throws {
    try withTwins(prepare: "echo hello > in") { twins throws in
      try twins.miss("cat in > out")
      try twins.edit("rm out")
      try twins.hit("cat in > out")
      #expect(try placed(twins.place) == 1)
      try twins.edit(script)
      #expect(try placed(twins.place) == 0)
      // Also under acache, and from a run's view into another.
      try twins.hit("cat in > out")
      try twins.call(either: script)
      try twins.edit("cat out")
    }
  }

  @Test("casherfs freeze makes all of them ordinary, and the mount goes on")
  func frozen() throws {
    try withPlaced { place, wanted throws in
      let outcome = try place.casherfs("freeze", place.work)
      #expect(outcome.status == 0)
      #expect(outcome.output.contains("3 files written"))
      #expect(try placed(place) == 0)
      #expect(try beneath(place) == ["d/big", "d/script", "in", "out"])
      #expect(try place.shell(PlacedFileTests.look) == wanted)
      #expect(try place.casherfs("freeze", place.work).status == 0)
      #expect(try place.casherfs("freeze", place.base).status == 0)
    }
  }

  @Test("Every way to unmount leaves ordinary files", arguments: ["casherfs", "umount", "fusermount3", "TERM", "INT"])
  func unmounted(way: String) throws {
    try withPlaced { place, wanted throws in
      let daemon = try #require(try place.daemon())
      let command =
        switch way {
        case "casherfs": "casherfs unmount '\(place.work)'"
        case "umount": "umount '\(place.work)'"
        case "fusermount3": "fusermount3 -u '\(place.work)'"
        default: "kill -\(way) \(daemon)"
        }
      #expect(try place.shell(command, in: "/").status == 0)
      try place.waitForEnd(of: daemon)
      #expect(try place.shell(PlacedFileTests.look) == wanted)
      #expect(try place.casherfs("mount", place.work).error == "")
      #expect(try placed(place) == 0)
    }
  }

  @Test("After the daemon was killed the next mount has them all, and says so in one line")
  func mountedAgain() throws {
    try withPlaced { place, wanted throws in
      try killDaemon(place)
      let status = try place.casherfs("status", place.work)
      #expect(status.status == 11 && status.output.contains("casherfs mount \(place.work)"))
      let again = try place.casherfs("mount", place.work)
      #expect(again.status == 0)
      #expect(again.error.contains("recovered 3 files") && again.error.split(separator: "\n").count == 1)
      #expect(try place.shell(PlacedFileTests.look) == wanted)
      #expect(try beneath(place) == ["in"])
      try place.shell("mv d e; mv e/big e/moved; rm e/script; echo x > e/ordinary; mv -f e/moved e/ordinary")
      try killDaemon(place)
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(try place.shell("ls e; wc -c < e/ordinary; cat out").output == "ordinary\n200000\nHELLO\n")
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.shell("ls e; wc -c < e/ordinary; cat out").output == "ordinary\n200000\nHELLO\n")
    }
  }

  @Test("After the daemon was killed, freeze and unmount write them", arguments: ["freeze", "unmount"])
  func writtenAfterKill(command: String) throws {
    try withPlaced { place, wanted throws in
      try killDaemon(place)
      #expect(try place.casherfs(command, place.work).status == 0)
      #expect(try place.shell(PlacedFileTests.look) == wanted)
      #expect(try place.casherfs("status", place.work).status == 10)
      #expect(try place.shell("cat ../cache/mounts/*/placed | wc -c").output == "0\n")
    }
  }

  @Test("Whose directory was moved meanwhile is found again")
  func movedDirectory() throws {
    try withPlaced { place, wanted throws in
      try killDaemon(place)
      try place.shell("mkdir -p other/deep; mv d other/deep/d2", in: place.base + "/beneath")
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(try place.shell("mv other/deep/d2 d; rm -r other; \(PlacedFileTests.look)") == wanted)
    }
  }

  @Test("What cannot be had is named, and remembered until it can be or the user gives it up")
  func lost() throws {
    try withPlaced { place, wanted throws in
      try killDaemon(place)
      let store = place.base + "/cache"
      try place.shell("mv '\(store)/blobs' '\(store)/away'; mkdir -m 700 '\(store)/blobs'", in: "/")
      let again = try place.casherfs("mount", place.work)
      #expect(again.status == 0)
      #expect(again.error.contains("d/big cannot be had"))
      #expect(try place.shell("cat out; d/script; ls d").output == "HELLO\nran\nscript\n")
      let frozen = try place.casherfs("freeze", place.work)
      #expect(frozen.status == 1 && frozen.error.contains("d/big"))
      try killDaemon(place)
      try place.shell("rmdir '\(store)/blobs'; mv '\(store)/away' '\(store)/blobs'", in: "/")
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(try place.shell(PlacedFileTests.look) == wanted)
      try killDaemon(place)
      try place.shell("rm -r '\(store)/blobs'; mkdir -m 700 '\(store)/blobs'", in: "/")
      #expect(try place.casherfs("unmount", place.work).status == 1)
      #expect(try place.casherfs("freeze", "--forget-missing", place.work).status == 0)
      #expect(try place.casherfs("freeze", place.work).status == 0)
    }
  }

  @Test("Evicting everything leaves what is placed, also while the daemon is dead")
  func notEvicted() throws {
    try withPlaced { place, wanted throws in
      #expect(try place.casherfs("evict", "--max-size", "0").status == 0)
      #expect(try place.shell(PlacedFileTests.look) == wanted)
      try killDaemon(place)
      #expect(try place.casherfs("evict", "--max-size", "0").status == 0)
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(try place.shell(PlacedFileTests.look) == wanted)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.casherfs("evict", "--max-size", "0").status == 0)
      #expect(try place.shell("find ../cache/blobs -type f | wc -l").output == "0\n")
      #expect(try place.shell(PlacedFileTests.look) == wanted)
    }
  }

  @Test("Where the directory's disk is full, freeze names what it cannot write and loses nothing")
  func fullDisk() throws {
    let place = try Place()
    #expect(try place.shell("mount -t tmpfs -o size=3m tmpfs .").status == 0)
    defer { _ = try? place.shell("umount -l '\(place.work)'; umount -l '\(place.work)'", in: "/") }
    #expect(try place.casherfs("mount", place.work).status == 0)
    let script = "head -c 1500000 /dev/urandom > one; echo small > two"
    #expect(try place.acache(script).status == 0)
    let wanted = try place.shell("sha256sum one two")
    // What is removed gives its space back when the last who had it open is known to have closed it.
    let fill = "until head -c 2000000 /dev/zero > filler 2>/dev/null; do sleep 0.01; done"
    #expect(try place.shell("rm one two; timeout 100 sh -c '\(fill)'").status == 0)
    #expect(try place.acache(script).status == 0)
    #expect(try place.shell("sha256sum one two") == wanted)
    #expect(try place.shell("echo x >> one").status != 0)
    let outcome = try place.casherfs("freeze", place.work)
    #expect(outcome.status == 1 && outcome.error.contains("one: No space left on device"))
    let kept = try place.casherfs("unmount", place.work)
    #expect(kept.status == 1 && kept.error.contains("one: No space left on device"))
    #expect(try place.shell("sha256sum one two") == wanted)
    let daemon = try #require(try place.daemon())
    kill(daemon, SIGTERM)
    try place.waitForEnd(of: daemon)
    #expect(try place.shell("ls").output == "filler\ntwo\n")
    #expect(try place.casherfs("mount", place.work).status == 0)
    #expect(try place.shell("sha256sum one two") == wanted)
    try place.shell("rm filler")
    #expect(try place.casherfs("unmount", place.work).status == 0)
    let left = try place.shell("ls -la; sha256sum one two")
    #expect(left.output.hasSuffix(wanted.output), "\(left)")
  }
}
