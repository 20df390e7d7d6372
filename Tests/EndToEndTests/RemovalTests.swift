import Foundation
import Testing

@Suite("Removing runs")
struct RemovalTests {
  @Test("A mount that has answered from a run many times does not after it was removed")
  func removal() throws {
    try withMount { place throws in
      try place.write("1\n", to: "in")
      let script = "cat in > out; cat in"
      for _ in 1...3 { try place.acache(script) }
      #expect(try place.counts() == Counts(hits: 2, misses: 1))
      let id = try #require(try place.casherfs("show", "@", "--json").json(as: [String: Any].self)["id"] as? String)
      #expect(try place.casherfs("rm", id, "0000000000").status == 12, "all or nothing")
      #expect(try place.casherfs("show", id).status == 0)
      let removed = try place.casherfs("rm", id, "@", "--json").json(as: [String: Any].self)
      #expect(removed["runs"] as? [String] == [id])
      #expect(try place.casherfs("show", id).status == 12)
      #expect(try place.acache(script).output == "1\n")
      #expect(try place.counts() == Counts(hits: 2, misses: 2))
      #expect(try place.acache(script).output == "1\n")
      #expect(try place.counts() == Counts(hits: 3, misses: 2))
      #expect(try place.casherfs("verify", "--store").status == 0)
    }
  }

  @Test("Calls go on, and never fail, while runs are removed under them")
  func racing() throws {
    try withMount { place throws in
      try place.write("1\n", to: "in")
      nonisolated(unsafe) var isDone = false
      let (environment, work) = (place.environment, place.work)
      let group = DispatchGroup()
      for number in 0..<3 {
        DispatchQueue.global().async(group: group) {
          for _ in 0..<15 {
            let outcome = try? run(
              Programs.acache, ["--", "/bin/sh", "-c", "cat in; cat in > out\(number); echo err >&2"], in: work,
              environment: environment)
            #expect(outcome == Outcome(status: 0, output: "1\n", error: "err\n"))
          }
        }
      }
      DispatchQueue.global().async {
        group.wait()
        isDone = true
      }
      while !isDone { _ = try place.casherfs("clear", "--yes") }
      #expect(try place.casherfs("stats", "--json").json(as: [String: Any].self)["errors"] as? Int == 0)
      #expect(try place.casherfs("verify", "--store").status == 0)
    }
  }

  @Test("invalidate takes what fits by tag, command or file read, and the runs around it")
  func invalidate() throws {
    try withMount { place throws in
      try place.shell("mkdir d; echo 1 > d/in; echo 2 > other")
      func left() throws -> Int { try place.casherfs("log", "--json").json(as: [Any].self).count }
      func recorded() throws {
        _ = try place.casherfs("clear", "--yes")
        try place.acache("cat d/in > a", options: ["--tag", "stage=one"])
        try place.acache("cat other > b")
        try place.acache("acache -- cat other > c; test -e d/in")
        try place.acache("echo 3 > d/made")
        #expect(try left() == 5)
      }
      try recorded()
      let dry = try place.casherfs("invalidate", "--path", "other", "--dry-run", in: place.work)
      #expect(dry.output.hasSuffix("would remove 3 runs\n"))
      #expect(try left() == 5)
      #expect(try place.casherfs("invalidate", "--path", place.work + "/other").output.hasPrefix("removed 3 runs"))
      #expect(try left() == 2)
      #expect(try place.casherfs("invalidate", "--path", "d/made", in: place.work).output.hasPrefix("removed 0 runs"))
      try recorded()
      try place.shell("rm other")
      #expect(try place.casherfs("invalidate", "--path", "work/other", in: place.base).output.hasPrefix("removed 3"))
      try place.shell("echo 2 > other")
      try recorded()
      #expect(try place.casherfs("invalidate", "--tag", "stage=one").output.hasPrefix("removed 1 run"))
      #expect(try place.casherfs("invalidate", "--tag", "stage=two").output.hasPrefix("removed 0 runs"))
      // The nested run is taken, and with it the one that it was started in.
      #expect(try place.casherfs("invalidate", "--command", "cat other").output.hasPrefix("removed 2 runs"))
      let json = try place.casherfs("invalidate", "--command", "*", "--json").json(as: [String: Any].self)
      #expect((json["runs"] as? [Any])?.count == 2)
      try place.acache("cat other > b")
      #expect(try place.casherfs("invalidate", "--path", "/usr/bin/cat").output.hasPrefix("removed 1 run"))
    }
  }

  @Test("clear asks on a terminal, and elsewhere wants --yes")
  func clear() throws {
    try withMount { place throws in
      try place.acache("seq 100000 > out; rm out; echo done")
      let refused = try place.casherfs("clear")
      #expect(refused.status == 2)
      #expect(refused.error.contains("--yes"))
      let asked = try place.shell(
        "echo n | script -qec 'casherfs clear' /dev/null; echo status $?", in: place.base)
      #expect(asked.output.contains("Remove all 1 run"))
      #expect(asked.output.contains("nothing was removed"))
      #expect(try place.casherfs("log", "--json").json(as: [Any].self).count == 1)
      _ = try place.shell("echo y | script -qec 'casherfs clear' /dev/null", in: place.base)
      #expect(try place.casherfs("log", "--json").output == "[]\n")
      try place.acache("echo again")
      #expect(try place.casherfs("clear", "--yes").status == 0)
      #expect(try place.casherfs("stats", "--json").json(as: [String: Any].self)["stored_bytes"] as? Int == 0)
      #expect(try place.casherfs("clear", "--yes").status == 0)
    }
  }
}
