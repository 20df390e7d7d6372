import Foundation
import Testing

/// The faults come through `CASHER_FAULT` (CasherSystem, `Faults`), which counts the calls of one name.
@Suite("Calls that fail in the daemon")
struct FaultTests {
  /// Kinds of calls, and more of each than mounting and unmounting make.
  static let calls = [("openat", 60), ("write", 12), ("dup2", 3), ("poll", 3), ("read", 30)]

  @Test(
    "Mounting and unmounting come to an end whichever call fails once, and nobody can print to their caller",
    arguments: calls)
  func ending(call: String, count: Int) throws {
    let place = try Place()
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    try place.write("kept", to: "file")
    var mounts = 0
    for number in 1...count {
      // What is printed is read until nobody is left who could print: cat ends then.
      let mounted = try inTime("CASHER_FAULT=\(number):5:\(call) casherfs mount work 2>&1 | cat", in: place)
      try #require(mounted == 0, "\(number)")
      guard try place.casherfs("status", place.work).status == 0 else { continue }
      mounts += 1
      var isMounted = true
      for _ in 1...3 where isMounted {
        let unmounted = try inTime("casherfs unmount work", in: place)
        try #require(unmounted != 124, "\(number)")
        isMounted = unmounted != 0
      }
      #expect(!isMounted, "\(number)")
      #expect(place.read("file") == "kept")
    }
    // Past the last call there is no fault.
    #expect(mounts > 0)
  }

  @Test("A daemon that is killed at any moment of a call leaves nobody waiting, and nothing is lost", .root)
  func killed() throws {
    let place = try Place()
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    try place.write("kept", to: "file")
    #expect(try place.shell("casherfs mount work && casherfs unmount work", in: place.base).status == 0)
    // How many calls mounting takes depends on the process that does it; a call takes some more, of all kinds.
    var (number, calls) = (1, 0)
    while calls < 150, number < 3000 {
      if try inTime("CASHER_FAULT=\(number):kill casherfs mount work", in: place) == 0 {
        let called = try inTime("cd work && acache -- sh -c \"cat file; echo \(number) >made\"", in: place)
        try #require(called != 124, "\(number)")
        calls += 1
      }
      // What is left of the mount can be taken over, and what was in the directory is there.
      let again = try inTime(
        "casherfs unmount work || { casherfs mount work && casherfs unmount work; }", in: place)
      try #require(again == 0, "\(number)")
      #expect(place.read("file") == "kept", "\(number)")
      number += calls == 0 ? 20 : 1
    }
    #expect(calls == 150)
  }

  /// The status of a script; 124 when it had to be ended.
  private func inTime(_ script: String, in place: Place) throws -> Int32 {
    try place.shell("timeout 100 sh -c '\(script)' >printed 2>&1", in: place.base).status
  }
}
