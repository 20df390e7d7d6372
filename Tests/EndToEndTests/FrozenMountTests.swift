import Foundation
import Testing

/// A freeze that is shown at another directory.
@Suite("Frozen mounts", .serialized) struct FrozenMountTests {
  private static let script =
    "mkdir -p d/e; echo out > out; head -c 200000 /dev/urandom > d/e/big; echo 'echo ran' > d/script; "
    + "chmod 750 d/script; ln -s e/big d/link; : > d/empty"
  private static let look =
    "cat out; sha256sum d/e/big d/link; d/script; find . | sort; stat -c '%n %a %s %Y' out d/script d/empty"

  /// Calls `body` with a place whose directory was frozen after a run and changed then, the number of the freeze, what
  /// `look` showed, and a directory to show it at.
  private func withFreeze(_ body: (Place, String, Outcome, String) throws -> Void) throws {
    let place = try Place()
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    #expect(try place.acache(FrozenMountTests.script).status == 0)
    #expect(try place.casherfs("unmount", place.work).status == 0)
    let wanted = try place.shell(FrozenMountTests.look)
    #expect(wanted.status == 0)
    try place.shell("rm -r d; echo changed > out")
    let listed = try place.casherfs("freezes", place.work, "--json").json(as: [[String: Any]].self)
    let id = try #require(listed.first?["id"] as? Int)
    let shown = place.base + "/shown"
    try place.shell("mkdir '\(shown)'; echo hidden > '\(shown)/hidden'")
    defer { _ = try? place.casherfs("unmount", "--lazy", shown) }
    try body(place, "\(id)", wanted, shown)
  }

  @Test("All of it is there as it was, nothing can be changed, and what it covers is back afterwards")
  func shown() throws {
    try withFreeze { place, id, wanted, shown throws in
      let mounted = try place.casherfs("mount", "--frozen", id, shown)
      #expect(mounted.status == 0 && mounted.error == "")
      #expect(try place.shell(FrozenMountTests.look, in: shown) == wanted)
      for script in [
        "echo x > new", "echo x >> out", "rm out", "mkdir new", "chmod 600 out", "mv out moved", "ln out second",
        "touch out", ": > d/script",
      ] {
        let outcome = try place.shell("LC_ALL=C; \(script)", in: shown)
        #expect(outcome.status != 0 && outcome.error.contains("Read-only file system"), "\(script): \(outcome)")
      }
      #expect(try place.shell(FrozenMountTests.look, in: shown) == wanted)
      let status = try place.casherfs("status", shown, "--json").json(as: [[String: Any]].self)
      #expect(status.first?["frozen"] as? Int == Int(id))
      #expect(try place.casherfs("mount", "--frozen", id, shown).status == 5)
      #expect(try place.casherfs("freeze", shown).status == 0)
      #expect(try place.casherfs("unmount", shown).error == "")
      #expect(try place.shell("ls; cat hidden", in: shown).output == "hidden\nhidden\n")
      #expect(try place.shell("ls ../cache/mounts/frozen-*").output == "lock\nlog\n")
      #expect(try place.casherfs("freezes", shown, "--json").output == "[]\n")
    }
  }

  @Test("acache there runs its command as without, and says that there is nothing to cache with")
  func plain() throws {
    try withFreeze { place, id, wanted, shown throws in
      #expect(try place.casherfs("mount", "--frozen", id, shown).status == 0)
      let before = try place.counts()
      let outcome = try place.acache("cat out", in: shown)
      #expect(outcome.status == 0 && outcome.output == "out\n")
      #expect(outcome.error.contains("shows freeze \(id), read-only, and nothing is recorded in it"))
      #expect(try place.acache("cat out", options: ["--require-cache"], in: shown).status == 125)
      #expect(try place.counts() == before)
    }
  }

  @Test("Its contents stay while it is shown; what was evicted before is named")
  func evicted() throws {
    try withFreeze { place, id, wanted, shown throws in
      #expect(try place.casherfs("mount", "--frozen", id, shown).status == 0)
      #expect(try place.casherfs("evict", "--max-size", "0").status == 0)
      #expect(try place.shell(FrozenMountTests.look, in: shown) == wanted)
      #expect(try place.casherfs("unmount", shown).status == 0)
      #expect(try place.casherfs("evict", "--max-size", "0").status == 0)
      let empty = try place.casherfs("mount", "--frozen", id, shown)
      #expect(empty.status == 0, "its symlink is left")
      #expect(empty.error.contains("d/e/big cannot be had: its content is no longer in the cache"))
      #expect(try place.shell("find . ! -type d", in: shown).output == "./d/link\n")
      #expect(try place.casherfs("unmount", shown).status == 0)
      #expect(try place.casherfs("mount", "--frozen", "99", shown).status == 14)
      #expect(try place.casherfs("mount", "--frozen", "x", shown).status == 2)
    }
  }

  @Test("After its daemon was killed nothing stays pinned, and it can be shown again")
  func killed() throws {
    try withFreeze { place, id, wanted, shown throws in
      #expect(try place.casherfs("mount", "--frozen", id, shown).status == 0)
      let status = try place.casherfs("status", shown, "--json").json(as: [[String: Any]].self)
      let daemon = try #require((status.first?["process"] as? Int).flatMap { Int32(exactly: $0) })
      kill(daemon, SIGKILL)
      try place.waitForEnd(of: daemon)
      #expect(try place.casherfs("status", shown).status == 11)
      #expect(try place.casherfs("mount", "--frozen", id, shown).status == 0)
      #expect(try place.shell(FrozenMountTests.look, in: shown) == wanted)
      let again = try place.casherfs("status", shown, "--json").json(as: [[String: Any]].self)
      let second = try #require((again.first?["process"] as? Int).flatMap { Int32(exactly: $0) })
      kill(second, SIGKILL)
      try place.waitForEnd(of: second)
      #expect(try place.casherfs("unmount", shown).status == 0)
      #expect(try place.casherfs("evict", "--max-size", "0").status == 0)
      #expect(try place.shell("find ../cache/blobs -type f | wc -l").output == "0\n")
    }
  }

  @Test("A frozen mount of the directory itself leaves what is placed there alone")
  func beside() throws {
    try withFreeze { place, id, wanted, shown throws in
      #expect(try place.casherfs("mount", "--frozen", id, place.work).status == 0)
      #expect(try place.shell(FrozenMountTests.look) == wanted)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.shell("cat out").output == "changed\n")
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(try place.acache(FrozenMountTests.script).status == 0)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.shell("cat out").output == "out\n")
    }
  }
}
