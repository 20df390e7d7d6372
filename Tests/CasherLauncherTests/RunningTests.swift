import CasherRecord
import CasherSystem
import Testing

@Suite struct RunningTests {
  private let mount: FakeMount

  init() throws {
    mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.run(outside: .strace)
    }
  }

  @Test func theCommandsStatusIsAcachesStatus() throws {
    #expect(try mount.shell("acache -- sh -c 'exit 7'").status == 7)
    #expect(try mount.shell("acache -- sh -c 'kill -TERM $$'").status == 143)
    #expect(try mount.shell("acache true").status == 0)
  }

  @Test func theStreamsStayApartAndTheirOrderIsReported() throws {
    // Each word is written once acache has taken the one before from its pipe.
    let command = """
      import fcntl, os, struct, termios, time
      for stream, word in ((1, b"one"), (2, b"two"), (1, b"three")):
          os.write(stream, word + b"\\n")
          while fcntl.ioctl(stream, termios.FIONREAD, bytes(4)) != bytes(4): time.sleep(0.001)
      """
    let outcome = try mount.shell("acache -- timeout 100 python3 -c '\(command)'")
    #expect(outcome == .init(output: "one\nthree\n", error: "two\n", status: 0))
    #expect(
      mount.reports.first?.segments == [
        StreamSegment(stream: 1, length: 4), StreamSegment(stream: 2, length: 4), StreamSegment(stream: 1, length: 6),
      ])
  }

  @Test func stdoutAndStderrThatAreOneFileKeepTheirExactOrder() throws {
    let outcome = try mount.shell(
      "acache -- sh -c 'for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done' 2>&1")
    #expect(outcome.output == (1...9).map { "o\($0)\ne\($0)\n" }.joined())
    #expect(mount.reports.first?.segments == [StreamSegment(stream: 1, length: 54)])
    guard case .call(let request) = mount.messages.first else { throw Conversation.Ended() }
    #expect(request.options.extras.contains(Array("streams\0joined".utf8)))
  }

  @Test func theCommandIsInItsViewAtThePathOfTheMount() throws {
    let outcome = try mount.shell("acache -- sh -c 'pwd -P; touch made'; ls; ls ../.views/one/sub", in: "sub")
    #expect(outcome.output == "\(mount.directory)/sub\nmade\n")
  }

  @Test func theCommandFindsWhatItWouldFindPlainly() throws {
    let script = """
      sh -c 'echo "$0"; env | grep -v "^_="; umask; ulimit -a; ls /proc/self/fd; ps -o pgid=,ni=,tty= -p $$;
      grep -E "^Sig(Blk|Ign)" /proc/self/status; cat /proc/self/oom_score_adj'
      """
    let prologue = "umask 027; ulimit -n 500; trap '' HUP; cd sub;"
    let plain = try mount.shell(prologue + "echo $$ >/dev/null; " + script + " | sed 's/^ *[0-9]* /PGID /'")
    let cached = try mount.shell(prologue + "acache -- " + script + " | sed 's/^ *[0-9]* /PGID /'")
    #expect(plain.output == cached.output)
    #expect(cached.error == "")
  }

  @Test func argumentsOfAnyBytesArrive() throws {
    let outcome = try mount.shell("acache -- printf '%s|' '' $'a\\nb' $'\\xff\\xfe' '--' '-v' | od -An -tx1")
    #expect(outcome.output == " 7c 61 0a 62 7c ff fe 7c 2d 2d 7c 2d 76 7c\n")
  }

  @Test func theProcessGetsTheNameItWasCalledBy() throws {
    let outcome = try mount.shell(
      "ln -s /bin/bash .views/one/mybash; acache -- ./mybash -c 'tr \"\\0\" \" \" < /proc/$$/cmdline; echo $0'")
    #expect(outcome.output == "./mybash -c tr \"\\0\" \" \" < /proc/$$/cmdline; echo $0 ./mybash\n")
  }

  @Test func aScriptWithoutAnInterpreterIsTheShells() throws {
    let outcome = try mount.shell(
      "echo 'echo $0 $1' > .views/one/script; chmod +x .views/one/script; acache -- ./script one")
    #expect(outcome == .init(output: "./script one\n", error: "", status: 0))
  }

  @Test func aCommandThatIsNotThereIs127AndIsNotStored() throws {
    let outcome = try mount.shell("acache -- no-such-command")
    #expect(outcome == .init(output: "", error: "acache: no-such-command: command not found\n", status: 127))
    #expect(mount.reports.first?.obstacles == [.failed(127)])
    #expect(try mount.shell("acache -- ./none").error == "acache: ./none: No such file or directory\n")
  }

  @Test func aCommandThatMayNotBeExecutedIs126() throws {
    let outcome = try mount.shell("acache -- /etc/passwd")
    #expect(outcome == .init(output: "", error: "acache: /etc/passwd: Permission denied\n", status: 126))
    #expect(try mount.shell("acache -- /tmp").status == 126)
    let broken = try mount.shell(
      "printf '#!/no/interpreter\\n' > .views/one/x; chmod +x .views/one/x; acache -- ./x")
    #expect(broken.status == 127)
  }

  @Test func placesWhereTheCommandWasNotAreReported() throws {
    _ = try mount.shell("PATH=/no/such//./dir:$PATH acache -- true")
    let missing = mount.reports.first?.accesses.filter { $0.observed.contains(.missing) }.map(\.path) ?? []
    #expect(missing.contains("/no/such/dir/true"))
  }

  @Test func filesReadOutsideAreReported() throws {
    _ = try mount.shell("acache -- cat /etc/hostname /no/such/file")
    let report = try #require(mount.reports.first)
    #expect(report.accesses.contains { $0.path == "/etc/hostname" && $0.observed.contains(.read) })
    #expect(report.accesses.contains { $0.path == "/no/such/file" && $0.observed.contains(.missing) })
    #expect(report.accesses.contains { $0.path.lastComponent == "cat" && $0.observed.contains(.executed) })
    #expect(!report.accesses.contains { $0.path.lastComponent == "acache" })
    #expect(report.obstacles.isEmpty)
    #expect(!report.leftProcesses)
  }

  @Test func withoutAViewTheCommandRunsOnceTheDaemonIsReadyToKnowItByItsProcesses() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.run(view: ".views/none")
    }
    #expect(try mount.shell("acache -- sh -c 'echo hi; exit 2'") == .init(output: "hi\n", error: "", status: 2))
    let asked = mount.messages.firstIndex { if case .withoutView = $0 { true } else { false } }
    let started = mount.messages.lastIndex { if case .started = $0 { true } else { false } }
    #expect(try #require(asked) < #require(started))
    #expect(mount.reports.first?.obstacles.isEmpty == true)
  }

  @Test func underAForeignTracerTheCommandRunsAndIsNotStored() throws {
    let outcome = try mount.shell("strace -f -o /dev/null acache -- sh -c 'echo hi; exit 2'")
    #expect(outcome == .init(output: "hi\n", error: "", status: 2))
    #expect(mount.reports.first?.obstacles.map(\.code) == ["tracer-unavailable"])
  }

  @Test func preloadedLibrariesReachTheCommandAndNotTheTracer() throws {
    let outcome = try mount.shell("LD_PRELOAD=/no/lib.so acache -- sh -c 'echo $LD_PRELOAD' 2>/dev/null")
    #expect(outcome.output == "/no/lib.so\n")
  }

  @Test func aProcessLeftBehindDelaysNeitherTheStatusNorTheEndOfTheOutput() throws {
    // The left process waits for the fifo, which is written only once acache's output has ended.
    let outcome = try mount.shell(
      """
      mkfifo .views/one/gate
      out=$(acache -- sh -c 'sh -c "read x < gate; echo $x > done" >/dev/null 2>&1 & echo hi')
      echo "got $out"
      echo go > .views/one/gate
      """)
    #expect(outcome.output == "got hi\n")
    #expect(mount.reports.first?.leftProcesses == true)
    #expect(mount.reports.first?.obstacles.contains(.backgroundProcess) == true)
  }

  @Test func theOutputOfAProcessLeftBehindStillArrives() throws {
    let outcome = try mount.shell(
      """
      mkfifo .views/one/gate
      { acache -- sh -c '{ read x < gate; echo late; } & echo early'; echo go > .views/one/gate; } | cat
      """)
    #expect(outcome.output == "early\nlate\n")
  }

  @Test func aSignalToAcacheReachesTheCommand() throws {
    let outcome = try mount.shell(
      """
      acache -- sh -c 'trap "echo caught; exit 9" TERM; echo $$ > ready; while :; do sleep 0.01; done' &
      eventually '[ -s .views/one/ready ]'
      kill -TERM $!; wait $!; echo $?
      """)
    #expect(outcome.output == "caught\n9\n")
  }

  @Test func killingAcacheKillsTheCommand() throws {
    let outcome = try mount.shell(
      """
      acache -- sh -c 'echo $$ > ready; exec sleep 100' &
      eventually '[ -s .views/one/ready ]'
      kill -KILL $!; wait $! 2>/dev/null
      eventually '! kill -0 $(cat .views/one/ready) 2>/dev/null'; echo gone
      """)
    #expect(outcome.output == "gone\n")
  }

  @Test func aStoppedCommandStopsAcacheAndGoesOnWithIt() throws {
    let outcome = try mount.shell(
      """
      set -m
      acache -- sh -c 'kill -STOP $$; echo on'
      jobs; fg >/dev/null; echo $?
      """)
    #expect(outcome.output.contains("Stopped"))
    #expect(outcome.output.hasSuffix("on\n0\n"))
  }

  @Test func aReaderThatGoesAwayEndsTheCommand() throws {
    let outcome = try mount.shell("acache -- yes | head -1; echo ${PIPESTATUS[0]}")
    #expect(outcome == .init(output: "y\n141\n", error: "", status: 0))
    #expect(mount.reports.first?.obstacles.isEmpty == false)
  }

  @Test func closedStreamsStayClosed() throws {
    let outcome = try mount.shell("acache -- sh -c 'echo /proc/self/fd/* >&2' 2>&1 <&-")
    let plain = try mount.shell("sh -c 'echo /proc/self/fd/* >&2' 2>&1 <&-")
    #expect(outcome == plain)
    #expect(try mount.shell("acache -- sh -c 'echo x' >&-").status != 0)
  }

  @Test func variablesThatAreNotAskedForAreKeptFromTheCommand() throws {
    let outcome = try mount.shell("A=1 B=2 C=3 acache --only-env A,B,PATH -- env | grep -v PATH | sort")
    #expect(outcome.output == "A=1\nB=2\n")
  }
}
