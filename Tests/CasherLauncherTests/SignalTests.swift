import CasherRecord
import CasherSystem
import Testing

@Suite("acache ends when it is told to, whatever it waits for") struct SignalTests {
  @Test("While the daemon decides", arguments: ["TERM", "INT", "HUP"])
  func deciding(signal: String) throws {
    let told = Monitor(false)
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      told.update { $0 = true }
      _ = try conversation.receive()
    }
    // Interactive job control, since a script's background jobs ignore SIGINT.
    let outcome = try mount.shell(
      "set -m; acache -- true & eventually \"grep -q unix_stream /proc/$!/wchan\"; "
        + "kill -\(signal) $!; wait $!; echo $?")
    #expect(outcome.output == "\(128 + ["TERM": 15, "INT": 2, "HUP": 1][signal, default: 0])\n")
  }

  @Test("While the daemon makes ready to know the command by its processes")
  func withoutView() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.send(
        .run(
          RunReply(
            view: ".views/none", run: Digest(words: (1, 2, 3, 4)), outside: .trust, outsideIgnored: [],
            messages: [])))
      while true {
        if case .withoutView = try conversation.receive() { break }
      }
      // Never `.proceed`.
      _ = try? FileDescriptor.open("/dev/null", FileDescriptor.readOnly)
      _ = try conversation.receive()
    }
    let outcome = try mount.shell(
      """
      acache -- touch .views/one/ran & child=$!
      eventually 'grep -q unix_stream /proc/$child/wchan && [ -z "$(cat /proc/$child/task/$child/children)" ]'
      kill -TERM $child; wait $child; echo $?; ls .views/one
      """)
    #expect(outcome.output == "143\nsub\n")
  }

  @Test("While a reader does not take what the command prints")
  func blockedReader() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.run()
    }
    let outcome = try mount.shell(
      """
      mkfifo pipe; exec 5<>pipe
      acache -- sh -c 'echo $$ > pid; exec yes' > pipe & child=$!
      eventually '[ -s .views/one/pid ]'
      eventually 'grep -q poll /proc/$child/wchan && grep -q pipe_write /proc/$(cat .views/one/pid)/wchan'
      kill -TERM $child; wait $child; echo $?
      """)
    #expect(outcome.output == "143\n")
  }

  @Test("While the result is stored")
  func storing() throws {
    let mount = try FakeMount { conversation in
      _ = try conversation.receiveCall()
      try conversation.send(
        .run(
          RunReply(
            view: FakeMount.view, run: Digest(words: (1, 2, 3, 4)), outside: .trust, outsideIgnored: [],
            messages: [])))
      while true {
        if case .finished = try conversation.receive() { break }
      }
      _ = try conversation.receive()
    }
    let outcome = try mount.shell(
      """
      acache -- sh -c 'echo > ended' & child=$!
      eventually '[ -e .views/one/ended ] && grep -q unix_stream /proc/$child/wchan'
      kill -TERM $child; wait $child; echo $?
      """)
    #expect(outcome.output == "143\n")
  }
}
