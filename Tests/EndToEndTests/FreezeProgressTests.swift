import Foundation
import Testing

/// What a freeze says while it writes.
@Suite("Progress of a freeze", .serialized) struct FreezeProgressTests {
  private static let script = "for n in 1 2 3; do head -c 50000 /dev/urandom > $n; done"

  /// Calls `body` with a mount in which the script's three files are placed.
  private func withPlaced(_ body: (Place) throws -> Void) throws {
    try withMount { place throws in
      #expect(try place.acache(FreezeProgressTests.script).status == 0)
      try place.shell("rm 1 2 3")
      #expect(try place.acache(FreezeProgressTests.script).status == 0)
      try body(place)
    }
  }

  private func onTerminal(_ command: String, _ place: Place, kind: String = "xterm") throws -> String {
    let outcome = try Terminal.run(
      """
      os.environ['TERM'] = '\(kind)'
      print(T('casherfs', '\(command)', '\(place.work)').end())
      """, in: place, directory: "/")
    return outcome.output
  }

  @Test("On a terminal a bar counts files and bytes, and goes away at the end", arguments: ["freeze", "unmount"])
  func bar(command: String) throws {
    try withPlaced { place throws in
      let shown = try onTerminal(command, place)
      #expect(shown.contains("0 of 3 files, 0 B of 146.5 KiB"), "\(shown)")
      #expect(shown.contains("[----"))
      #expect(shown.contains("\\r\\x1b[K"))
    }
  }

  @Test("So it does where the daemon was killed")
  func killed() throws {
    try withPlaced { place throws in
      let daemon = try #require(try place.daemon())
      kill(daemon, SIGKILL)
      try place.waitForEnd(of: daemon)
      #expect(try onTerminal("freeze", place).contains("0 of 3 files, 0 B of 146.5 KiB"))
    }
  }

  @Test("Elsewhere nothing is drawn, and the log has one line")
  func log() throws {
    try withPlaced { place throws in
      #expect(!(try onTerminal("freeze", place, kind: "dumb")).contains("of 3 files"))
      let log = try place.casherfs("log", "--daemon", place.work, "-n", "0").output
      let lines = log.split(separator: "\n").filter { $0.contains("event=freeze ") }
      #expect(lines.count == 1)
      #expect(lines.first?.contains("files=3 bytes=150000 failed=0 cause=freeze id=1 results=3") == true)
    }
  }
}
