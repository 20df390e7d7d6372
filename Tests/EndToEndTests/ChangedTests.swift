import Foundation
import Testing

@Suite("What would run again")
struct ChangedTests {
  private func changes(_ place: Place, _ arguments: String...) throws -> [[String: Any]] {
    try run(Programs.casherfs, ["changed", "--json"] + arguments, environment: place.environment)
      .json(as: [[String: Any]].self)
  }

  private func paths(_ change: [String: Any]?) -> [String] {
    (change?["changed"] as? [[String: Any]] ?? []).compactMap { $0["path"] as? String }
  }

  @Test("A run is listed with the inputs that changed, through the daemon and without it", arguments: [true, false])
  func changed(isMounted: Bool) throws {
    try withMount { place throws in
      try place.shell("mkdir d; echo 1 > in; echo 2 > d/in2; echo 3 > still")
      try place.acache("cat in d/* > out")
      try place.acache("cat still > copy")
      if !isMounted { #expect(try place.casherfs("unmount", place.work).status == 0) }
      #expect(try place.casherfs("changed").status == 0)
      #expect(try changes(place).isEmpty)
      try place.shell("echo more >> in; touch d/new still")
      let list = try changes(place)
      #expect(list.count == 1)
      #expect(list.first?["command"] as? String == "/bin/sh -c 'cat in d/* > out'")
      #expect(paths(list.first) == ["d", "in"])
      #expect(try place.casherfs("changed").status == 1)
      #expect(try place.casherfs("changed").output.hasSuffix("1 of 2 commands would run again\n"))
      #expect(try place.casherfs("changed", "@").status == 0)
      #expect(paths(try changes(place, "@{1}").first) == ["d", "in"])
      #expect(try changes(place, "--command", "*still*").isEmpty)
      try place.shell("rm d/new; echo 1 > in")
      #expect(try place.casherfs("changed").status == 0)
    }
  }

  @Test("A command that has a fitting run among several is not listed, and the run that does not fit says so")
  func variants() throws {
    try withMount { place throws in
      for text in ["1", "2"] {
        try place.write(text, to: "in")
        try place.acache("cat in")
      }
      try place.write("1", to: "in")
      #expect(try changes(place).isEmpty)
      let one = try changes(place, "@")
      #expect(one.first?["other_run_fits"] as? Bool == true)
      #expect(paths(one.first) == ["in"])
      try place.shell("rm in")
      let list = try changes(place)
      #expect(paths(list.first) == ["in"])
      #expect(((list.first?["changed"] as? [[String: Any]])?.first?["now"] as? String) == "absent")
    }
  }

  @Test("A directory that is gone is said, and a limit holds")
  func limits() throws {
    try withMount { place throws in
      for number in 1...3 { try place.acache("echo \(number) < in 2>/dev/null; echo \(number) > f") }
      try place.shell("echo new > in")
      #expect(try changes(place).count == 3)
      #expect(try changes(place, "--limit", "2").count == 2)
      #expect(try place.casherfs("changed", "-n1").output.contains("only the newest were looked at"))
      #expect(try place.casherfs("unmount", place.work).status == 0)
      try place.shell("rm -r work", in: place.base)
      #expect(try place.casherfs("changed").output.contains("cannot be looked at"))
    }
  }
}
