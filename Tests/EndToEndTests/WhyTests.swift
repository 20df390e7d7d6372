import Foundation
import Testing

/// Which command made a file, and from what.
@Suite("Provenance", .serialized) struct WhyTests {
  private func why(_ place: Place, _ name: String) throws -> [String: Any] {
    try place.casherfs("why", "--json", place.work + "/" + name).json(as: [String: Any].self)
  }

  private func command(_ answer: [String: Any]) -> String? {
    (answer["run"] as? [String: Any])?["command"] as? String
  }

  @Test("In a mount and after it, the command, its directory and what it was made from are told at once")
  func made() throws {
    try withMount { place throws in
      try place.shell("mkdir sub")
      try place.write("2\n1\n", to: "sub/numbers")
      #expect(try place.acache("sort numbers > sorted", in: place.work + "/sub").status == 0)
      #expect(try place.acache("head -n 1 sub/sorted > least; ln -s least link; ln least second").status == 0)
      try place.shell("rm least link second")
      #expect(try place.acache("head -n 1 sub/sorted > least; ln -s least link; ln least second").status == 0)
      for isMounted in [true, false] {
        if !isMounted { #expect(try place.casherfs("unmount", place.work).status == 0) }
        let text = try place.casherfs("why", "sub/sorted", in: place.work)
        #expect(text.status == 0)
        #expect(text.output.hasPrefix("\(place.work)/sub/sorted: as the run left it\n"))
        #expect(text.output.contains("command     /bin/sh -c 'sort numbers > sorted'\n"))
        #expect(text.output.contains("directory   \(place.work)/sub\n"))
        #expect(text.output.contains("  sub/numbers"))
        let least = try why(place, "least")
        #expect(command(least)?.contains("head -n 1 sub/sorted") == true && least["state"] as? String == "same")
        let from = try #require(least["made_from"] as? [[String: Any]])
        let sorted = try #require(from.first { $0["path"] as? String == "sub/sorted" })
        let maker = try #require((try why(place, "sub/sorted")["run"] as? [String: Any])?["id"] as? String)
        #expect(sorted["run"] as? String == maker)
        #expect(command(try why(place, "link")) == command(least))
        #expect(command(try why(place, "second")) == command(least))
        #expect(try place.casherfs("why", "sub/numbers", in: place.work).status == 20)
        #expect(try place.casherfs("why", "never", in: place.work).status == 20)
      }
      let all = try place.casherfs("why", "--all", place.work + "/least")
      let few = try place.casherfs("why", place.work + "/least")
      #expect(all.output.split(separator: "\n").count >= few.output.split(separator: "\n").count)
      #expect(few.output.contains("made by") && few.output.contains("sort numbers > sorted"))
    }
  }

  @Test("What has changed since, is gone, or was removed by a run is told as that")
  func changed() throws {
    try withMount { place throws in
      #expect(try place.acache("echo one > one; echo two > two; echo three > three").status == 0)
      #expect(try place.acache("rm three").status == 0)
      try place.shell("echo other > one; rm two; chmod 600 one")
      for isMounted in [true, false] {
        if !isMounted { #expect(try place.casherfs("unmount", place.work).status == 0) }
        let one = try place.casherfs("why", place.work + "/one")
        #expect(one.status == 1 && one.output.contains("one: changed since the run, now file "))
        #expect(one.output.contains("echo one > one"))
        let two = try place.casherfs("why", place.work + "/two")
        #expect(two.status == 1 && two.output.contains("two: gone\n"))
        let three = try place.casherfs("why", place.work + "/three")
        #expect(three.status == 1 && three.output.contains("three: removed by the run\n"))
        #expect(three.output.contains("rm three"))
      }
      try place.shell("echo one > one; chmod 600 one")
      let again = try place.casherfs("why", place.work + "/one")
      #expect(again.status == 0 && again.output.contains("as the run left it, but for its mode, which is 600 now"))
    }
  }

  @Test("Of several runs that left it the one that did so last counts, and within runs the innermost")
  func latest() throws {
    try withMount { place throws in
      #expect(try place.acache("echo same > file; : first").status == 0)
      #expect(try place.acache("echo same > file; : second").status == 0)
      #expect(command(try why(place, "file"))?.hasSuffix("second'") == true)
      #expect(try place.acache("echo same > file; : first").status == 0)
      #expect(try place.counts().hits == 1)
      #expect(command(try why(place, "file"))?.hasSuffix("first'") == true)
      #expect(try place.acache("acache -- sh -c 'echo inner > inner'; echo outer > outer").status == 0)
      let inner = try why(place, "inner")
      #expect(command(inner) == "sh -c 'echo inner > inner'")
      #expect((inner["part_of"] as? [String])?.count == 1)
      // The same inner call as a hit within another command.
      #expect(try place.acache("acache -- sh -c 'echo inner > inner'; echo again > again").status == 0)
      #expect(try place.counts().hits == 2)
      #expect(command(try why(place, "inner")) == "sh -c 'echo inner > inner'")
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(command(try why(place, "inner")) == "sh -c 'echo inner > inner'")
    }
  }

  @Test("The same content elsewhere names the run; an evicted run is known from the freeze")
  func elsewhere() throws {
    try withMount { place throws in
      #expect(try place.acache("echo some content > made").status == 0)
      try place.shell("cp made ../copy; cp made moved; rm made")
      let copy = try place.casherfs("why", place.base + "/copy")
      #expect(copy.status == 0)
      #expect(copy.output.contains("the same content was made as \(place.work)/made"))
      #expect(command(try why(place, "moved"))?.contains("echo some content") == true)
      #expect(try place.acache("echo kept > kept").status == 0)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.casherfs("evict", "--max-size", "0").status == 0)
      let kept = try place.casherfs("why", place.work + "/kept")
      #expect(kept.status == 0 && kept.output.contains("no longer stored") && kept.output.contains("echo kept > kept"))
      try place.shell("echo x >> kept", in: place.work)
      let changed = try place.casherfs("why", place.work + "/kept")
      #expect(changed.status == 1 && changed.output.contains("echo kept > kept"))
      #expect(try place.casherfs("why", place.work + "/moved").status == 20)
    }
  }

  @Test("A file that a run left outside of the mount")
  func outside() throws {
    try withMount { place throws in
      #expect(try place.acache("echo out > ../outside").status == 0)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      let outside = try place.casherfs("why", place.base + "/outside")
      #expect(outside.status == 0 && outside.output.contains("echo out > ../outside"))
    }
  }
}
