import Foundation
import Testing

/// What is on record of a directory that was frozen, and how it is compared with the directory.
@Suite("Freezes on record", .serialized) struct FreezeRecordTests {
  private struct Listed: Equatable {
    var cause: String
    var files: Int
  }

  private func listed(_ place: Place) throws -> [Listed] {
    try place.casherfs("freezes", place.work, "--json").json(as: [[String: Any]].self).map {
      Listed(cause: $0["cause"] as? String ?? "", files: $0["files"] as? Int ?? -1)
    }
  }

  /// Paths with the commands that made them, of the freeze listed first.
  private func results(_ place: Place) throws -> [String: String] {
    let id = try #require(
      try place.casherfs("freezes", place.work, "--json").json(as: [[String: Any]].self).first?["id"] as? Int)
    let shown = try place.casherfs("freezes", "--show", "\(id)", "--json").json(as: [String: Any].self)
    let results = try #require(shown["results"] as? [[String: Any]])
    return Dictionary(
      uniqueKeysWithValues: results.map { ($0["path"] as? String ?? "", $0["command"] as? String ?? "") })
  }

  private static let script = "mkdir -p d; cat in > out; echo two > d/two; chmod 640 d/two; ln -sf two d/link"
  private static let left: Set = ["out", "d/two", "d/link"]

  @Test(
    "Every way to freeze is on record, with what runs made and what they put back",
    arguments: ["freeze", "unmount", "umount", "fusermount3", "TERM", "killed, freeze", "killed, unmount"])
  func recorded(way: String) throws {
    try withMount { place throws in
      try place.write("hello\n", to: "in")
      #expect(try place.acache(FreezeRecordTests.script).status == 0)
      #expect(try place.acache("echo alone > alone").status == 0)
      try place.shell("rm -r out d")
      #expect(try place.acache(FreezeRecordTests.script).status == 0)
      #expect(try place.counts().hits == 1)
      try place.shell("echo mine > by-hand")
      let daemon = try #require(try place.daemon())
      if way.hasPrefix("killed") {
        kill(daemon, SIGKILL)
        try place.waitForEnd(of: daemon)
      }
      let command =
        switch way {
        case "freeze", "unmount", "killed, freeze", "killed, unmount":
          "casherfs \(way.split(separator: " ").last ?? "") '\(place.work)'"
        case "umount": "umount '\(place.work)'"
        case "fusermount3": "fusermount3 -u '\(place.work)'"
        default: "kill -TERM \(daemon)"
        }
      #expect(try place.shell(command, in: "/").status == 0)
      if way != "freeze" { try place.waitForEnd(of: daemon) }
      let cause = way == "freeze" ? "freeze" : way.hasPrefix("killed") ? "recovery" : "unmount"
      #expect(try listed(place) == [Listed(cause: cause, files: 4)])
      let results = try results(place)
      #expect(Set(results.keys) == FreezeRecordTests.left.union(["alone"]))
      #expect(results["alone"]?.contains("echo alone > alone") == true)
      #expect(results["d/link"] == results["out"] && results["out"]?.contains("cat in > out") == true)
      let check = try place.casherfs("verify", place.work)
      #expect(check.status == 0 && check.output.contains("4 same"), "\(check)")
    }
  }

  @Test("A later freeze has what is still as it was left, of earlier mounts too")
  func goneOn() throws {
    try withMount { place throws in
      try place.write("hello\n", to: "in")
      #expect(try place.acache(FreezeRecordTests.script).status == 0)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      try place.shell("echo changed > out; rm d/link")
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(try place.acache("echo more > more").status == 0)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(Set(try results(place).keys) == ["d/two", "more"])
      #expect(try listed(place) == [Listed(cause: "unmount", files: 2), Listed(cause: "unmount", files: 3)])
    }
  }

  @Test("verify tells what is changed, missing, or has another mode, and checks parts and earlier freezes")
  func verified() throws {
    try withMount { place throws in
      try place.write("hello\n", to: "in")
      #expect(try place.acache(FreezeRecordTests.script).status == 0)
      #expect(try place.casherfs("verify", place.work).status == 14)
      let frozen = try place.casherfs("freeze", place.work)
      #expect(frozen.status == 0)
      #expect(try place.casherfs("verify", place.work).status == 0)
      try place.shell("echo Hello > out; rm d/link; chmod 600 d/two")
      let check = try place.casherfs("verify", place.work)
      #expect(check.status == 1)
      #expect(check.output.contains("changed     out\n") && check.output.contains("missing     d/link\n"))
      #expect(check.output.contains("mode        d/two (was 640, is 600)"))
      let part = try place.casherfs("verify", "--json", place.work + "/d").json(as: [String: Any].self)
      #expect(part["checked"] as? Int == 2 && part["missing"] as? [String] == ["d/link"])
      #expect(part["changed"] as? [String] == [])
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.casherfs("verify", place.work).status == 0)
      let id = try place.casherfs("freezes", "--json").json(as: [[String: Any]].self).last?["id"] as? Int ?? 0
      #expect(try place.casherfs("verify", "--freeze", "\(id)", place.work).status == 1)
      #expect(try place.casherfs("verify", "--freeze", "999", place.work).status == 14)
      #expect(try place.casherfs("verify", "--freeze", "x", place.work).status == 2)
      #expect(try place.casherfs("verify", "--freeze", "\(id)", place.base).status == 2)
      #expect(try place.casherfs("verify").status == 2)
      #expect(try place.casherfs("verify", "--store", place.work).status == 2)
      #expect(try place.casherfs("verify", "--store").status == 0)
    }
  }

  @Test("Runs go, and the freeze still names them; only what is asked for is forgotten")
  func evicted() throws {
    try withMount { place throws in
      try place.write("hello\n", to: "in")
      #expect(try place.acache(FreezeRecordTests.script).status == 0)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.casherfs("clear", "--yes").status == 0)
      #expect(try results(place)["out"]?.contains("cat in > out") == true)
      #expect(try place.casherfs("verify", place.work).status == 0)
      #expect(try place.casherfs("verify", "--store").status == 0)
      #expect(try place.casherfs("freezes", "--forget", place.work).output == "forgot 1 freeze\n")
      #expect(try listed(place) == [])
      #expect(try place.casherfs("verify", place.work).status == 14)
    }
  }

  @Test("What a run within another made is that run's")
  func nested() throws {
    try withMount { place throws in
      #expect(try place.acache("acache -- sh -c 'echo in > in'; echo out > out").status == 0)
      #expect(try place.casherfs("freeze", place.work).status == 0)
      let results = try results(place)
      #expect(results["in"] == "sh -c 'echo in > in'")
      #expect(results["out"]?.hasPrefix("/bin/sh -c") == true)
    }
  }

  @Test("So many freezes of a directory are kept, and those that are alike share what they hold")
  func kept() throws {
    try withMount { place throws in
      #expect(try place.acache("echo a > a").status == 0)
      try place.shell("for n in $(seq 25); do casherfs freeze . >/dev/null; done")
      let listed = try listed(place)
      #expect(listed.count == 20 && listed.allSatisfy { $0 == Listed(cause: "freeze", files: 1) })
    }
  }
}
