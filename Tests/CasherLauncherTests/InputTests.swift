import CasherRecord
import CasherSystem
import Testing

@Suite struct InputTests {
  private static func running() throws -> FakeMount {
    try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.run()
    }
  }

  private static func inputs(_ mount: FakeMount) -> [UInt8] {
    mount.messages.flatMap { if case .input(let bytes, _) = $0 { bytes } else { [UInt8]() } }
  }

  @Test func aPipeIsReadAsFarAsTheCommandReadsIt() throws {
    let mount = try InputTests.running()
    let outcome = try mount.shell("seq 3 | { acache -- sh -c 'read x; echo got $x'; cat; }")
    #expect(outcome.output == "got 1\n2\n3\n")
    #expect(mount.reports.first?.consumed == 2)
    #expect(InputTests.inputs(mount) == Array("1\n".utf8))
  }

  @Test func aPipeIsReadToItsEnd() throws {
    let mount = try InputTests.running()
    #expect(try mount.shell("seq 3 | acache -- sort -r").output == "3\n2\n1\n")
    #expect(mount.reports.first?.reachedInputEnd == true)
    #expect(mount.reports.first?.consumed == 6)
  }

  @Test func aMegabyteGoesThroughAPipe() throws {
    let mount = try InputTests.running()
    let outcome = try mount.shell("seq 1000000 | acache -- md5sum; seq 1000000 | md5sum")
    let lines = outcome.output.split(separator: "\n")
    #expect(lines.count == 2 && lines.first == lines.last)
    #expect(mount.reports.first?.consumed == 6_888_896)
    #expect(InputTests.inputs(mount).count == 6_888_896)
  }

  @Test func aCommandThatDoesNotReadLeavesThePipeAlone() throws {
    let mount = try InputTests.running()
    #expect(try mount.shell("seq 3 | { acache -- true; cat; }").output == "1\n2\n3\n")
    #expect(mount.reports.first?.consumed == 0)
  }

  @Test func aProcessLeftBehindGetsTheRestOfThePipeOnce() throws {
    let mount = try InputTests.running()
    let outcome = try mount.shell(
      """
      mkfifo .views/one/gate
      { echo one; echo two; cat .views/one/gate >/dev/null; echo three; } |
        acache -- sh -c 'read a; echo $a; exec 3<&0; { read b; echo > gate; read c; echo $b $c; } <&3 &' | cat
      """)
    #expect(outcome.output == "one\ntwo three\n")
  }

  @Test func anEndlessWriterEndsWithTheCommand() throws {
    let mount = try InputTests.running()
    #expect(try mount.shell("yes | acache -- head -1").output == "y\n")
  }

  @Test func aFileIsReadFromItsOffset() throws {
    let mount = try InputTests.running()
    let outcome = try mount.shell("seq 3 > ../list; while read x; do acache -- echo $x; done < ../list")
    #expect(outcome.output == "1\n2\n3\n")
    let second = try mount.shell("{ read x; acache -- head -c 2; cat; } < ../list")
    #expect(second.output == "2\n3\n")
    #expect(mount.reports.last?.consumed == 2)
  }

  @Test func aSocketIsReadAsFarAsTheCommandReadsIt() throws {
    let mount = try InputTests.running()
    let outcome = try mount.shell(
      """
      python3 - <<'END'
      import socket, subprocess
      a, b = socket.socketpair()
      a.sendall(b'one\\ntwo\\n')
      subprocess.run(['acache', '--', 'sh', '-c', 'read x; echo got $x'], stdin=b)
      a.close()
      print(b.recv(100))
      END
      """)
    #expect(outcome.output == "got one\nb'two\\n'\n")
  }

  @Test func whatIsShownBeforeADecisionIsNotTaken() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.send(.wantInput(count: 3))
      _ = try conversation.receive()
      try conversation.send(.wantInput(count: 100))
      _ = try conversation.receive()
      try conversation.run()
    }
    let outcome = try mount.shell("seq 3 | { acache -- sh -c 'read x; echo got $x'; cat; }")
    #expect(outcome.output == "got 1\n2\n3\n")
    #expect(InputTests.inputs(mount) == Array("1\n2\n3\n".utf8))
    let ends = mount.messages.compactMap { if case .input(_, let isEnd) = $0 { isEnd } else { nil } }
    #expect(ends == [false, true])
  }

  @Test func whatThePipeCannotHoldIsTakenAndGivenToTheCommandFirst() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.send(.wantInput(count: 1_000_000))
      _ = try conversation.receive()
      try conversation.run()
    }
    let outcome = try mount.shell("seq 1000000 | acache -- md5sum; seq 1000000 | md5sum")
    let lines = outcome.output.split(separator: "\n")
    #expect(lines.count == 2 && lines.first == lines.last)
    #expect(InputTests.inputs(mount).count == 6_888_896)
    #expect(mount.reports.first?.consumed == 6_888_896)
  }

  @Test func aDaemonThatGoesAfterTakingInputLeavesTheCommandAllOfIt() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.send(.wantInput(count: 1_000_000))
      _ = try conversation.receive()
    }
    let outcome = try mount.shell("seq 1000000 | acache -q -- md5sum; seq 1000000 | md5sum")
    let lines = outcome.output.split(separator: "\n")
    #expect(lines.count == 2 && lines.first == lines.last)
  }

  @Test func aHitTakesWhatTheCommandTook() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.send(
        .hit(
          HitReply(
            run: Digest(words: (1, 2, 3, 4)), exitStatus: 0, segments: [], inlineTranscript: [], consume: 2,
            duration: 0)))
    }
    #expect(try mount.shell("seq 3 | { acache -- head -c 2; cat; }").output == "2\n3\n")
    #expect(try mount.shell("seq 3 > ../list; { acache -- head -c 2; cat; } < ../list").output == "2\n3\n")
  }

  @Test func withoutInputTheCommandReadsNothing() throws {
    let mount = try InputTests.running()
    #expect(try mount.shell("seq 3 | { acache -n -- wc -c; cat; }").output == "0\n1\n2\n3\n")
  }
}
