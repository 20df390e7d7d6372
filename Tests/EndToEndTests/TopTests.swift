import Foundation
import Testing

@Suite("Watching a mount")
struct TopTests {
  @Test("Each look is a line of counts after the events since the one before")
  func lines() throws {
    try withMount { place throws in
      try place.acache("echo before")
      // One look, then what happens after it until the third look is seen.
      let watch = try Running(Programs.casherfs, ["top", place.work, "-i", "100ms"], environment: place.environment)
      defer { watch.end() }
      let first = try watch.line { $0.hasPrefix("requests_per_second=") }
      #expect(first.contains(" hits=0 misses=1 not_stored=0 "))
      try place.acache("echo later")
      try place.acache("echo later")
      try place.acache("exit 1")
      #expect(try watch.line { $0.hasPrefix("run ") }.contains("echo later"))
      #expect(try watch.line { $0.hasPrefix("stored ") }.contains("echo later"))
      #expect(try watch.line { $0.hasPrefix("hit ") }.contains("echo later"))
      #expect(try watch.line { $0.hasPrefix("not stored ") }.contains("failed"))
      #expect(try watch.line { $0.hasPrefix("requests_per_second=") }.contains(" hits=1 misses=3 not_stored=1 "))
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(watch.waitForEnd() == 0)
    }
  }

  @Test("A command that runs is shown as running; JSON has an object on each line")
  func json() throws {
    try withMount { place throws in
      try place.shell("mkfifo ../fifo")
      let command = try Running(
        Programs.acache, ["--", "/bin/sh", "-c", "echo ready; cat ../fifo"], in: place.work,
        environment: place.environment)
      defer { command.end() }
      #expect(try command.line { _ in true } == "ready")
      // Opening waits for the command to open the other end.
      let writer = try FileHandle(forWritingTo: URL(fileURLWithPath: place.base + "/fifo"))
      let looks = try place.casherfs("top", "--json", "-n", "2", "-i", "50ms", in: place.work).output
        .split(separator: "\n")
      #expect(looks.count == 2)
      for look in looks {
        let json = try #require(try JSONSerialization.jsonObject(with: Data(look.utf8)) as? [String: Any])
        let running = try #require(json["running"] as? [[String: Any]])
        #expect(running.count == 1)
        #expect((running[0]["command"] as? String)?.contains("fifo") == true)
        #expect((running[0]["elapsed_seconds"] as? Double ?? 0) > 0)
      }
      try writer.close()
      #expect(command.waitForEnd() == 0)
    }
  }

  @Test("On a terminal the picture is drawn over")
  func terminal() throws {
    try withMount { place throws in
      try place.acache("echo shown")
      let outcome = try place.shell(
        "TERM=xterm script -qec 'casherfs top -n 2 -i 10ms' /dev/null", in: place.work)
      #expect(outcome.output.components(separatedBy: "\u{1b}[H").count == 3)
      #expect(outcome.output.contains("echo shown"))
      #expect(outcome.output.contains("requests/s"))
    }
  }

  @Test("Where nothing is mounted it says so")
  func absent() throws {
    let place = try Place()
    let outcome = try place.casherfs("top", place.work)
    #expect(outcome.status == 10)
    #expect(outcome.error.contains("is not mounted"))
  }
}

/// A program that runs beside the test, whose lines are read as they come.
private final class Running {
  private let process = Process()
  private let output = Pipe()
  private var rest = ""

  init(_ program: String, _ arguments: [String], in directory: String = "/", environment: [String: String]) throws {
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: directory)
    process.environment = environment
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    // As in `run`: a child must not inherit the signals that tests' threads block.
    var (none, blocked) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &blocked)
    defer { pthread_sigmask(SIG_SETMASK, &blocked, nil) }
    try process.run()
  }

  struct Ended: Error { let text: String }

  /// The next line that fits; those before it are passed over.
  func line(where fits: (String) -> Bool) throws -> String {
    while true {
      while let end = rest.firstIndex(of: "\n") {
        let line = String(rest[..<end])
        rest = String(rest[rest.index(after: end)...])
        if fits(line) { return line }
      }
      let more = output.fileHandleForReading.availableData
      if more.isEmpty { throw Ended(text: rest) }
      rest += String(decoding: more, as: UTF8.self)
    }
  }

  func waitForEnd() -> Int32 {
    _ = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return process.terminationStatus
  }

  func end() { if process.isRunning { process.terminate() } }
}
