import Foundation
import Testing

@Suite("Attempts, and their time")
struct AttemptTests {
  /// Fails until it has been called as often as the script's counter says.
  private func counting(to limit: Int) -> String {
    "echo >> ../tries; [ $(wc -l < ../tries) -ge \(limit) ] || { echo no >&2; exit 3; }; cat; echo done > out"
  }

  @Test("--retries runs a command that fails again, and gives it its input again; the attempt that works is stored")
  func retries() throws {
    try withMount { place throws in
      try place.write("", to: "../tries")
      let options = ["--outside=trust", "--retries", "3"]
      let outcome = try place.acache("cat > /dev/null; " + counting(to: 3), options: options, input: "text")
      #expect(outcome.status == 0)
      #expect(outcome.error == "no\nno\n")
      #expect(place.read("out") == "done\n")
      #expect(try Statistics(place).reasons == ["failed": 2])
      // What is replayed is the attempt that worked.
      #expect(
        try place.acache("cat > /dev/null; " + counting(to: 3), options: options, input: "text").error == "")
      #expect(try place.counts().hits == 1)
    }
  }

  @Test("The last attempt's status is acache's, also without a mount; only it is stored with --cache-failures")
  func exhausted() throws {
    try withMount { place throws in
      let options = ["--outside=trust", "--retries=1", "--cache-failures"]
      try place.write("", to: "../tries")
      #expect(try place.acache(counting(to: 9), options: options).status == 3)
      #expect(place.read("../tries") == "\n\n")
      #expect(try place.acache(counting(to: 9), options: options).status == 3)
      #expect(place.read("../tries") == "\n\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
      let outside = try place.acache(
        "cat; echo >> tries; exit 4", options: ["-q", "--retries=1"], in: place.base, input: "x")
      #expect(outcome(outside) == "4 xx")
      #expect(place.read("../tries") == "\n\n\n\n")
    }
  }

  @Test("A configuration file sets retries and time limits, for some commands or all; acache's own options go before")
  func configured() throws {
    try withMount { place throws in
      try place.write("", to: "../tries")
      func configure(_ limit: String) throws {
        try place.write(
          """
          outside: trust
          commands:
            - match: "/bin/sh *tries*"
              retries: 2
              timeout: 200s
            - match: "/bin/sh *sleep*"
              timeout: \(limit)
              retries: 1
          """, to: "casher.yml")
      }
      try configure("200ms")
      #expect(try place.acache("cat > /dev/null; " + counting(to: 3), input: "text").error == "no\nno\n")
      #expect(try place.acache("cat > /dev/null; " + counting(to: 3), input: "text").error == "")
      #expect(try place.counts().hits == 1)
      try place.write("", to: "../tries")
      #expect(try place.acache(counting(to: 9), options: ["--retries=0"]).error == "no\n")
      #expect(place.read("../tries") == "\n")
      let slow = try withTimeEnough { limit in
        try configure(limit)
        try place.write("", to: "../slow")
        let outcome = try place.acache("echo >> ../slow; sleep 1000", options: ["-v"])
        return (outcome, place.read("../slow") == "\n\n")
      }
      #expect(slow.status == 124 && slow.error.contains("attempt 1 of 2 took too long"), "\(slow)")
      #expect(place.read("../slow") == "\n\n")
      try place.write("retries: many\n", to: "casher.yml")
      #expect(try place.casherfs("config", "check", place.work + "/casher.yml").status == 30)
    }
  }

  private func outcome(_ outcome: Outcome) -> String { "\(outcome.status) \(outcome.output)" }

  /// Calls `body` with a time limit that is longer each time, until the command has come to where it is to be ended: how
  /// long that takes is the machine's affair.
  private func withTimeEnough(_ body: (_ limit: String) throws -> (Outcome, gotThere: Bool)) throws -> Outcome {
    for limit in ["200ms", "2s", "20s"] {
      let (outcome, gotThere) = try body(limit)
      if gotThere { return outcome }
    }
    return try body("200s").0
  }

  @Test("--timeout ends everything that the command has started, however it hid, with 124", arguments: [true, false])
  func timeout(isMounted: Bool) throws {
    try withMount { place throws in
      let script = """
        trap '' TERM
        (setsid sh -c 'trap "" TERM; (sleep 1000 & echo $! > ../1; exec sleep 1000) & echo $! > ../2; wait' &)
        (python3 -Ic 'import os,time
        if os.fork(): os._exit(0)
        os.setsid()
        if os.fork(): os._exit(0)
        open("../3.new", "w").write(str(os.getpid())); os.rename("../3.new", "../3")
        time.sleep(1000)')
        until [ -s ../1 ] && [ -s ../2 ] && [ -s ../3 ]; do sleep 0.01; done
        echo ready
        while :; do sleep 1000; done
        """
      try place.shell("mkdir ../sub")
      let directory = isMounted ? place.work : place.base + "/sub"
      var (attempts, time) = (0, "")
      let outcome = try withTimeEnough { limit in
        try place.shell("rm -f ../[123]")
        attempts += 1
        time = ["200ms": "200 ms", "2s": "2.0 s", "20s": "20.0 s"][limit] ?? "3 min 20 s"
        let outcome = try place.acache(script, options: ["--timeout", limit], in: directory)
        return (outcome, outcome.output == "ready\n")
      }
      #expect(outcome.status == 124)
      #expect(outcome.output == "ready\n")
      #expect(outcome.error.contains("acache: the command took longer than \(time) and was ended\n"))
      for name in ["1", "2", "3"] {
        let text = try place.shell("cat ../\(name)").output
        let process = try #require(Int32(text.trimmingCharacters(in: .newlines)), "\(name): '\(text)'")
        #expect(kill(process, 0) != 0, "process \(name) is still there")
      }
      if isMounted { #expect(try Statistics(place).reasons == ["timed-out": attempts]) }
    }
  }

  @Test("A command that ends in its time is stored; one that ends well when asked to end is not")
  func inTime() throws {
    try withMount { place throws in
      for _ in 1...2 { #expect(try place.acache("echo x", options: ["--timeout", "1m"]).output == "x\n") }
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
      let polite = "trap 'echo bye; exit 0' TERM; echo hi; while :; do sleep 0.05; done"
      var attempts = 0
      let outcome = try withTimeEnough { limit in
        attempts += 1
        let outcome = try place.acache(polite, options: ["--timeout", limit, "-q"])
        return (outcome, outcome.output.hasPrefix("hi\n"))
      }
      #expect(outcome.status == 124)
      #expect(outcome.output == "hi\nbye\n")
      #expect(try Statistics(place).reasons == ["timed-out": attempts])
    }
  }
}

@Suite("The report of a call")
struct ReportTests {
  private func report(_ place: Place, _ script: String, _ options: [String] = [], in directory: String? = nil) throws
    -> [String: Any]
  {
    let path = place.base + "/report"
    try? FileManager.default.removeItem(atPath: path)
    try place.acache(script, options: options + ["--report", path], in: directory)
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
  }

  @Test("--report says how the call was answered, by which run, and why")
  func answers() throws {
    try withMount { place throws in
      try place.write("1", to: "in")
      let first = try report(place, "cat in; echo e >&2")
      #expect(first["answer"] as? String == "run")
      #expect(first["stored"] as? Bool == true)
      #expect(first["uncacheable"] is NSNull)
      #expect(first["mount"] as? String == place.work)
      #expect(first["command"] as? [String] == ["/bin/sh", "-c", "cat in; echo e >&2"])
      #expect(first["stdout_bytes"] as? Int == 1)
      #expect(first["stderr_bytes"] as? Int == 2)
      #expect(first["attempts"] as? Int == 1)
      let second = try report(place, "cat in; echo e >&2")
      #expect(second["answer"] as? String == "hit")
      #expect(second["run"] as? String == first["run"] as? String)
      #expect(second["saved_seconds"] as? Double == first["command_seconds"] as? Double)
      try place.write("2", to: "in")
      let third = try report(place, "cat in; echo e >&2")
      #expect((third["explanation"] as? [String])?.contains { $0.contains("in: was file") } == true)
      let failed = try report(place, "exit 3")
      #expect(failed["exit_status"] as? Int == 3)
      #expect((failed["uncacheable"] as? [String: Any])?["code"] as? String == "failed")
      let late = try report(place, "sleep 100", ["--timeout=100ms", "--retries=1"])
      #expect(late["timed_out"] as? Bool == true)
      #expect(late["attempts"] as? Int == 2)
      let plain = try report(place, "exit 4", in: place.base)
      #expect(plain["answer"] as? String == "plain")
      #expect(plain["mount"] is NSNull)
      #expect(plain["exit_status"] as? Int == 4)
      let refused = try report(place, "echo new", ["--read-only"])
      #expect(refused["answer"] as? String == "looked")
      #expect(refused["exit_status"] as? Int == 75)
    }
  }

  @Test("A report that cannot be written is said, and changes nothing")
  func unwritable() throws {
    try withMount { place throws in
      let outcome = try place.acache("echo x; exit 2", options: ["--report", "/no/such/place"])
      #expect(outcome.status == 2)
      #expect(outcome.output == "x\n")
      #expect(outcome.error == "acache: the report cannot be written to /no/such/place (No such file or directory)\n")
    }
  }
}
