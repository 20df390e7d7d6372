import Testing

/// The faults come through `CASHER_FAULT` (CasherSystem, `Faults`), which counts the calls of one name.
@Suite("A hit that comes to an end halfway")
struct HalfPlacedTests {
  /// What they move is in a new place before it is gone from the old one.
  static let scripts = [
    "mkdir d e && mv a d/b", "mkdir d && mv a d/b && ln -s d/b a",
    "mkdir d && cp -r t d && ln -s t d/l && mv a d/b",
    "mkdir d && ln a d/b && ln a d/c && rm a",
  ]

  private static let prepare = "find . -mindepth 1 -delete; seq 1 3000 > a; mkdir t; echo one > t/one; echo two > t/two"
  private static let look = "cat a d/b 2>/dev/null | sort -nu | wc -l; cat t/one d/t/one 2>/dev/null | sort -u"
  private static let everything = "3000\none\n"

  /// A place with a stored run of the script, not mounted, and as it was before that.
  private func withStored(_ script: String, _ body: (Place) throws -> Void) throws {
    let place = try Place()
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    try place.shell(HalfPlacedTests.prepare)
    #expect(try place.casherfs("mount", place.work).status == 0)
    #expect(try place.acache(script).status == 0)
    #expect(try place.casherfs("unmount", place.work).status == 0)
    try body(place)
  }

  @Test(
    "When a directory of a hit cannot be made, the command runs, and finds what it would have found",
    arguments: ["mkdir d e && mv a d/b", "mkdir d e f && ln -s x d/l && mv a d/b && rm -r t"])
  func failing(script: String) throws {
    try withStored(script) { place throws in
      let look = "find . -type f | sort | xargs sha256sum; find . | sort"
      let left = try place.shell(look).output
      var ran = 0
      // Mounting makes some directories, too; and a hit is tried once more before the command runs.
      for number in 1...25 {
        try place.shell(HalfPlacedTests.prepare)
        let mounted = try place.shell(
          "CASHER_FAULT=\(number)-\(number + 1):28:mkdirat casherfs mount work", in: place.base)
        guard mounted.status == 0 else { continue }
        let outcome = try place.acache(script, options: ["-v"])
        #expect(outcome.status == 0, "\(number): \(outcome)")
        if outcome.error.contains("could not be put in its place") { ran += 1 }
        #expect(try place.casherfs("unmount", place.work).status == 0)
        #expect(try place.shell(look).output == left, "\(number): \(outcome)")
      }
      #expect(ran > 0)
    }
  }

  @Test(
    "What a command moves is there under one of its names, whenever the daemon is killed in a hit", arguments: scripts)
  func killed(script: String) throws {
    try withStored(script) { place throws in
      var killed = 0
      for call in ["write", "unlinkat", "mkdirat", "openat"] {
        var isReached = true
        for number in 1...150 where isReached {
          try place.shell(HalfPlacedTests.prepare)
          let mounted = try place.shell("CASHER_FAULT=\(number):kill:\(call) casherfs mount work", in: place.base)
          if mounted.status == 0 {
            _ = try place.shell(
              "cd work && timeout 20 acache -- /bin/sh -c '\(script)' >../printed 2>&1", in: place.base)
            isReached = try place.shell("ls work", in: place.base).status != 0
            if isReached { killed += 1 }
          }
          let again = "casherfs unmount work || { casherfs mount work && casherfs unmount work; }"
          #expect(try place.shell("{ \(again); } >printed 2>&1", in: place.base).status == 0, "\(call) \(number)")
          #expect(try place.shell(HalfPlacedTests.look).output == HalfPlacedTests.everything, "\(call) \(number)")
          #expect(try place.shell("find . -name '.casher*'").output == "", "\(call) \(number)")
        }
      }
      #expect(killed > 0)
    }
  }
}
