import Foundation
import Testing

@Suite("What the cache says it did")
struct DaemonLogTests {
  /// The events of the mount's log, each with its line.
  private func events(_ place: Place) throws -> [(event: Substring, line: Substring)] {
    let text = try place.casherfs("log", "--daemon", place.work, "--limit", "0").output
    return text.split(separator: "\n").map { line in
      (line.split(separator: "event=").last?.prefix { $0 != " " } ?? "", line)
    }
  }

  @Test("The log has a line for each step of a call, in order")
  func steps() throws {
    try withMount { place throws in
      try place.write("1", to: "in")
      for _ in 1...2 { try place.acache("cat in > out", options: ["--sync"]) }
      try place.acache("exit 3", options: ["-v"])
      let events = try events(place)
      #expect(
        events.map(\.event) == [
          "mounted", "lookup", "miss", "run", "capture", "store", "stored", "lookup", "hit", "lookup", "miss", "run",
          "capture", "uncacheable",
        ])
      #expect(events.first?.line.contains("\(place.base)/cache") == true)
      #expect(events[2].line.contains(#"event=miss reason=new command="/"#) || events[2].line.contains("reason=new"))
      #expect(events.last?.line.contains("reason=failed") == true)
      #expect(try place.casherfs("log", "--follow").status == 2)
    }
  }

  @Test("The log is begun anew at its limit, three earlier ones are kept, and no line is lost between them")
  func rotation() throws {
    let place = try Place()
    place.environment["CASHER_LOG_SIZE"] = "1K"
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    try place.shell("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do acache --sync -- echo call$i; done")
    let logs = try place.shell("cd ../cache/mounts/*/; ls log*; stat -c %s log* | sort -n | tail -n 1").output
    #expect(logs.hasPrefix("log\nlog.1\nlog.2\nlog.3\n"))
    #expect((logs.split(separator: "\n").last.flatMap { Int($0) } ?? 0) <= 1024)
    // What is kept is a piece of the whole without a gap.
    let events = try events(place).map(\.event)
    let cycle: [Substring] = ["lookup", "miss", "run", "capture", "store", "stored"]
    let first = cycle.firstIndex(of: events.first ?? "") ?? 0
    for (index, event) in events.enumerated() { #expect(event == cycle[(first + index) % cycle.count]) }
    try place.shell("rm ../cache/mounts/*/log; acache -- echo call12")
    #expect(try place.shell("cat ../cache/mounts/*/log").output.contains("event=hit"))
  }

  @Test("log --daemon -f prints lines as they come, across logs")
  func follow() throws {
    let place = try Place()
    place.environment["CASHER_LOG_SIZE"] = "1K"
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    let outcome = try place.shell(
      """
      cd ..; mkfifo lines; casherfs log --daemon -f work > lines & exec 3< lines
      cd work; for i in 1 2 3 4 5 6 7 8; do acache --sync -- echo call$i 3<&-; done > ../out
      timeout 100 grep -m 1 -q 'event=run.*call8' <&3; echo $?; kill $!
      """)
    #expect(outcome.output == "0\n")
  }

  @Test("log --daemon -f misses no line, though the log is begun anew more than once between two of its looks")
  func followLate() throws {
    let place = try Place()
    place.environment["CASHER_LOG_SIZE"] = "1K"
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    let outcome = try place.shell(
      """
      cd ..; mkfifo lines; casherfs log --daemon -f work > lines & exec 3< lines
      read -r line <&3; kill -STOP $!
      cd work; for i in 1 2 3 4 5 6; do acache --sync -- echo call$i 3<&-; done > ../out
      ls ../cache/mounts/*/log.2 >/dev/null; kill -CONT $!
      timeout 30 grep -m 6 -o 'event=run .*call[0-9]' <&3 | grep -o 'call.'; kill $!
      """)
    #expect(outcome == Outcome(status: 0, output: (1...6).map { "call\($0)\n" }.joined(), error: ""))
  }

  @Test("Entries reach the journal, with a field for each key")
  func journal() throws {
    let place = try Place()
    let receiver = """
      import os, socket
      s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
      s.bind('journal')
      print('ready', flush=True)
      while True:
          entry = s.recv(65536)
          print(repr(entry), flush=True)
          if b'CASHER_EVENT=stored' in entry: break
      """
    place.environment["CASHER_JOURNAL"] = place.base + "/journal"
    let outcome = try place.shell(
      """
      cd ..; mkfifo lines; timeout 100 python3 -c "\(receiver)" > lines & exec 3< lines; read x <&3
      casherfs mount work; cd work; acache --sync -- sh -c 'echo a
      echo b' > /dev/null 3<&-; cat <&3; cd ..; casherfs unmount work
      """)
    #expect(outcome.output.contains(#"MESSAGE=mounted directory="#))
    #expect(outcome.output.contains(#"PRIORITY=6\nSYSLOG_IDENTIFIER=casherfs\nCASHER_MOUNT="#))
    #expect(outcome.output.contains(#"CASHER_EVENT=miss\nCASHER_REASON=new\nCASHER_COMMAND\n"#))
    #expect(outcome.output.contains(#"CASHER_EVENT=stored\nCASHER_RUN="#))
  }

  @Test("acache -v names the phases as they begin, the cache, and why it is a miss")
  func phases() throws {
    try withMount { place throws in
      let miss = try place.acache("echo x", options: ["-v"])
      let lines = miss.error.split(separator: "\n")
      #expect(lines.first == "acache: lookup in \(place.base)/cache")
      #expect(lines.dropFirst().first?.hasPrefix("acache: miss: no run of this command") == true)
      #expect(lines.dropFirst(2).first?.hasPrefix("acache: run ") == true)
      #expect(lines.dropFirst(3).prefix(2) == ["acache: capture", "acache: store"])
      #expect(lines.last?.hasPrefix("acache: stored, took ") == true)
      let hit = try place.acache("echo x", options: ["-v"]).error.split(separator: "\n")
      #expect(hit.count == 2 && hit[1].hasPrefix("acache: hit "))
    }
  }

  @Test("An eviction that began by itself is in the log")
  func eviction() throws {
    let place = try Place()
    place.environment["CASHER_MAX_CACHE_BYTES"] = "300K"
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    for number in 1...6 {
      try place.acache("head -c 100000 /dev/urandom > f; echo \(number)", options: ["--sync"])
    }
    #expect(try events(place).contains { $0.event == "evicted" && $0.line.contains("freed_bytes=") })
  }
}
