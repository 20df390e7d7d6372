import CasherRecord
import CasherSystem
import Testing

@Suite struct CallTests {
  @Test func aHitReplaysStreamsAndStatusAndRunsNothing() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.send(
        .hit(
          HitReply(
            run: Digest(words: (1, 2, 3, 4)), exitStatus: 3,
            segments: [
              StreamSegment(stream: 1, length: 3), StreamSegment(stream: 2, length: 4),
              StreamSegment(stream: 1, length: 2),
            ], inlineTranscript: Array("outerr\n!\n".utf8), consume: 0, duration: 1_500_000_000)))
    }
    #expect(try mount.shell("acache -- touch ran; ls -A; ").output.contains("ran") == false)
    let outcome = try mount.shell("acache -v -- true")
    #expect(outcome.output == "out!\n")
    #expect(outcome.error.hasSuffix("\nacache: hit 000000000000, saved 1.50 s\nerr\n"))
    #expect(outcome.status == 3)
    #expect(try mount.shell("acache -- true | true; echo ${PIPESTATUS[0]}").status == 0)
  }

  @Test func theCallSaysWhatTheKeyNeeds() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.run()
    }
    _ = try mount.shell(
      """
      umask 027; FOO=bar acache --strict --env X --salt 2 --set A=1 --set B=2 --set A=3 --tag t=1 -- echo "a b"
      """, in: "sub")
    guard case .call(let request) = mount.messages.first else { throw Conversation.Ended() }
    #expect(request.arguments == [Array("echo".utf8), Array("a b".utf8)])
    #expect(request.directory == "sub")
    #expect(request.mount == mount.directory)
    #expect(request.umask == 0o27)
    #expect(request.input == .none)
    #expect(request.options.strict)
    #expect(request.options.environmentAdded == ["X"])
    #expect(request.options.tags == [Array("t=1".utf8)])
    #expect(request.environment.contains(Array("FOO=bar".utf8)))
    #expect(
      request.options.extras == ["set\0A=3", "set\0B=2", "salt\u{0}2"].map { Array($0.utf8) })
  }

  @Test func outsideAMountTheCommandRunsPlainly() throws {
    let outcome = try FakeMount.shell("cd /tmp; acache -- sh -c 'echo hi; exit 4'")
    #expect(
      outcome
        == .init(
          output: "hi\n", error: "acache: /tmp: not inside a casherfs mount; running without cache\n", status: 4))
    #expect(try FakeMount.shell("cd /tmp; acache -q -- true").error == "")
    #expect(try FakeMount.shell("cd /tmp; acache --require-cache -- true").status == 125)
    #expect(try FakeMount.shell("cd /tmp; acache -q -- nothing-there").status == 127)
  }

  @Test func aDaemonThatIsGoneChangesNothingForTheCommand() throws {
    let silent = try FakeMount { _ in }
    let outcome = try silent.shell("acache -- sh -c 'echo hi; exit 4'")
    #expect(outcome.output == "hi\n")
    #expect(outcome.status == 4)
    #expect(outcome.error.hasSuffix("; running without cache\n"))

    let dropping = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.send(
        .run(
          RunReply(
            view: "", run: Digest(words: (1, 2, 3, 4)), outside: .trust, outsideIgnored: [], messages: [])))
    }
    let dropped = try dropping.shell("acache -- sh -c 'echo hi; exit 4'")
    #expect(dropped.output == "hi\n")
    #expect(dropped.status == 4)
    #expect(dropped.error == "acache: the daemon has gone; the result is not stored\n")
  }

  @Test func aRefusalToCacheIsSaid() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.send(.plain("the store is full"))
    }
    let outcome = try mount.shell("acache -- echo hi")
    #expect(
      outcome == .init(output: "hi\n", error: "acache: the store is full; running without cache\n", status: 0))
  }

  @Test func badUsageIsOneSentenceAnd125() throws {
    let cases = [
      ("--nonsense -- true", "acache: --nonsense is no option of acache (acache --help lists them)\n"),
      ("-x true", "acache: -x is no option of acache (acache --help lists them)\n"),
      ("", "acache: there is no command to run (acache --help tells how)\n"),
      ("--outside=moon -- true", "acache: --outside: 'moon' is none of auto, view, strace, trust\n"),
      ("--tag x -- true", "acache: --tag: 'x' is not of the form NAME=VALUE\n"),
      ("--env", "acache: --env needs a value: NAME\n"),
      ("--force=yes true", "acache: --force takes no value\n"),
    ]
    for (arguments, message) in cases {
      #expect(try FakeMount.shell("acache \(arguments)") == .init(output: "", error: message, status: 125))
    }
    let variable = try FakeMount.shell("CASHER_FORCE=perhaps acache true")
    #expect(variable.error == "acache: CASHER_FORCE is 'perhaps', neither 1 nor 0\n")
  }

  @Test func variablesGiveDefaults() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.run()
    }
    _ = try mount.shell("CASHER_STRICT=1 CASHER_NO_STORE=0 CASHER_OUTSIDE=trust CASHER_SALT=s acache true")
    guard case .call(let request) = mount.messages.first else { throw Conversation.Ended() }
    #expect(request.options.strict)
    #expect(!request.options.noStore)
    #expect(request.options.outside == .trust)
    #expect(request.options.extras == [Array("salt\0s".utf8)])
  }

  @Test func aNestedCallsAccessesComeFromTheOuterTrace() throws {
    let calls = Monitor<Int>(0)
    let wanted = Monitor<(Conversation, (Int32, Bool)?)?>(nil)
    let traced = Monitor<CallerMessage?>(nil)
    let mount = try FakeMount { conversation in
      let request = try conversation.receiveCall()
      let isOuter = calls.update {
        $0 += 1; return $0 == 1
      }
      if isOuter {
        wanted.update { $0 = (conversation, nil) }
        try conversation.send(
          .run(
            RunReply(
              view: FakeMount.view, run: Digest(words: (1, 2, 3, 4)), outside: .strace, outsideIgnored: [],
              messages: [])))
        while true {
          let message = try conversation.receive()
          if case .traced = message { traced.update { $0 = message } }
          if case .finished = message { break }
        }
        try conversation.send(.recorded(uncacheable: nil, lines: []))
        return
      }
      #expect(request.isTraced)
      #expect(request.parentView == FakeMount.view)
      var reply = RunReply(
        view: FakeMount.view, run: Digest(words: (1, 2, 3, 4)), outside: .strace, outsideIgnored: [], messages: [])
      reply.isWithinRun = true
      try conversation.send(.run(reply))
      guard case .started(let process) = try conversation.receive() else { throw Conversation.Ended() }
      if let outer = wanted.withLock({ $0?.0 }) { try outer.send(.traceWanted(process: process)) }
      guard case .finished(let report) = try conversation.receive() else { throw Conversation.Ended() }
      #expect(report.accesses.allSatisfy { $0.observed == .missing })
      #expect(report.obstacles.isEmpty)
      _ = traced.wait { $0 }
      try conversation.send(.recorded(uncacheable: nil, lines: []))
    }
    let outcome = try mount.shell(
      "mkdir -p .views/one/.views/one; acache -- sh -c 'acache -- cat /etc/hostname >/dev/null; cat /etc/group >/dev/null'"
    )
    #expect(outcome.error == "")
    guard case .traced(_, let accesses, let obstacles) = traced.withLock({ $0 }) else { throw Conversation.Ended() }
    #expect(accesses.contains { $0.path == "/etc/hostname" && $0.observed.contains(.read) })
    #expect(!accesses.contains { $0.path == "/etc/group" })
    #expect(obstacles.isEmpty)
  }
}
