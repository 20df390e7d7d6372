import Foundation
import Testing

@Suite("What is not stored, and why")
struct UncacheableTests {
  @Test("An exit status other than 0, unless --cache-failures is given")
  func failure() throws {
    try withTwins { twins throws in
      for _ in 1...2 { try twins.notStored("echo out; echo err >&2; exit 3", "failed") }
      try twins.missThenHit("echo out; echo err >&2; exit 3", "--cache-failures")
    }
  }

  @Test("A command that is ended by a signal")
  func signal() throws {
    try withMount { place throws in
      for (name, status) in [("TERM", Int32(143)), ("KILL", 137), ("SEGV", 139)] {
        let outcome = try place.acache("echo out; kill -\(name) $$", options: ["-v"])
        #expect(outcome.status == status)
        #expect(outcome.output == "out\n")
        #expect(outcome.error.contains("signal"))
      }
      #expect(try Statistics(place).reasons == ["signalled": 3])
    }
  }

  @Test("An input that another process changes while the command runs")
  func inputChanged() throws {
    try withMount { place throws in
      try place.shell("echo one > in; mkfifo ../ready ../go")
      let call = "acache -v -- sh -c 'cat in; echo > ../ready; read x < ../go'"
      let script = "\(call) & read x < ../ready; echo two > in; echo > ../go; wait"
      let outcome = try place.shell("timeout 100 sh -c '\(script.replacing("'", with: "'\\''"))'")
      #expect(outcome.output == "one\n")
      #expect(outcome.error.contains("in was changed by another process"))
      #expect(try Statistics(place).reasons == ["input-changed": 1])
    }
  }

  @Test("A missing name that appears, and a listing that grows, while the command runs")
  func otherInputsChanged() throws {
    try withMount { place throws in
      try place.shell("mkdir d; mkfifo ../ready ../go")
      let call = "acache -v -- sh -c 'ls d; [ -e f ] || echo none; echo > ../ready; read x < ../go'"
      let script = "\(call) & read x < ../ready; echo two > d/new; echo > f; echo > ../go; wait"
      let outcome = try place.shell("timeout 100 sh -c '\(script.replacing("'", with: "'\\''"))'")
      #expect(outcome.output == "none\n")
      #expect(try Statistics(place).reasons == ["input-changed": 1])
    }
  }

  @Test("A network connection, unless --allow-network is given")
  func network() throws {
    try withTwins { twins throws in
      let connect = """
        /usr/bin/python3 -I -c 'import socket; s=socket.socket(); print(s.connect_ex(("127.0.0.1", 1)))'
        """
      try twins.notStored(connect, "network")
      try twins.missThenHit(connect, "--allow-network")
    }
  }

  @Test("A background process that is left")
  func background() throws {
    try withMount { place throws in
      try place.shell("mkfifo ../go")
      // Foundation waits for whoever has inherited its descriptors, the background process too.
      let script = """
        for f in /proc/self/fd/*; do n=${f##*/}; [ $n -le 2 ] || eval "exec $n>&-"; done
        timeout 100 acache -v -- sh -c 'echo out; { read x < ../go; echo late > late; } >/dev/null 2>&1 &'
        """
      let outcome = try run("/bin/bash", ["-c", script], in: place.work, environment: place.environment)
      #expect(outcome.status == 0)
      #expect(outcome.output == "out\n")
      #expect(outcome.error.contains("background"))
      try place.shell("timeout 100 sh -c 'echo > ../go; until [ -s late ]; do sleep 0.05; done'")
      #expect(place.read("late") == "late\n")
    }
  }

  @Test("A socket that is made; a FIFO is an output")
  func specialFiles() throws {
    try withTwins { twins throws in
      let bind = "/usr/bin/python3 -I -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'"
      try twins.notStored(bind, "special-file")
      try twins.miss("mkfifo p")
      try twins.edit("rm p")
      try twins.hit("mkfifo p")
      if geteuid() == 0 { try twins.notStored("mknod null c 1 3", "special-file") }
    }
  }

  @Test("A result that is larger than the cache may be")
  func tooLarge() throws {
    let place = try Place()
    place.environment["CASHER_MAX_CACHE_BYTES"] = "1M"
    #expect(try place.casherfs("mount", place.work).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    let outcome = try place.acache("head -c 3000000 /dev/zero > out; echo done")
    #expect(outcome == Outcome(status: 0, output: "done\n", error: ""))
    #expect(try place.shell("stat -c %s out").output == "3000000\n")
    #expect(try Statistics(place).uncacheable == 1)
  }

  @Test("A set-uid program, which would lose its privileges under strace", .root)
  func setUser() throws {
    try withTwins(prepare: "cd ../out; cp /usr/bin/id tool; chown 1234 tool; chmod 4755 tool") { twins throws in
      for _ in 1...2 { try twins.notStored("../out/tool -u -r", "outside-unobserved", "--outside=strace") }
    }
  }

  @Test("--no-store")
  func notAsked() throws {
    try withTwins { twins throws in
      for _ in 1...2 { try twins.notStored("echo x > out", "no-store", "--no-store") }
      try twins.miss("echo x > out")
      try twins.hit("echo x > out", "--no-store")
    }
  }

  @Test("A command that cannot be run or is not there has the statuses of a shell")
  func notRunnable() throws {
    try withMount { place throws in
      try place.shell("echo text > file")
      let none = try run(Programs.acache, ["--", "no-such-command"], in: place.work, environment: place.environment)
      #expect(none.status == 127)
      let bad = try run(Programs.acache, ["--", "./file"], in: place.work, environment: place.environment)
      #expect(bad.status == 126)
    }
  }

  @Test("stats counts what was not stored, and -v says why")
  func counted() throws {
    try withMount { place throws in
      let outcome = try place.acache("exit 5", options: ["-v"])
      #expect(outcome.status == 5)
      #expect(
        outcome.error.hasSuffix(
          "acache: not stored: the command exited with status 5 (--cache-failures would store it)\n"))
      #expect(try Statistics(place).reasons == ["failed": 1])
    }
  }

  @Test("The order of stdout and stderr in one file, and bytes that are no text, come back")
  func streams() throws {
    try withMount { place throws in
      let script = "for i in 1 2 3; do echo out$i; echo err$i >&2; done; printf '\\0\\377\\r\\n\\0'"
      let plain = try place.shell("{ \(script); } 2>&1 | od -c")
      for _ in 1...3 {
        #expect(
          try place.shell(
            "acache -- sh -c \"$S\" 2>&1 | od -c".replacing(
              "$S", with: script.replacing("\\", with: "\\\\").replacing("$", with: "\\$"))) == plain)
      }
      #expect(try place.counts() == Counts(hits: 2, misses: 1))
    }
  }
}
