import CasherRecord
import CasherSystem
import Testing

@Suite struct OutputFileTests {
  private let mount: FakeMount
  /// What was kept of the streams of each run, in order.
  private let kept = Monitor<[String]>([])

  init() throws {
    mount = try FakeMount { [kept] conversation in
      _ = try conversation.receiveCall()
      let bytes = try conversation.run()
      kept.update { $0.append(String(decoding: bytes, as: UTF8.self)) }
    }
  }

  private func obstacles() -> [Uncacheable] { mount.reports.flatMap(\.obstacles) }

  @Test func aFileOnStdoutIsTheCommandsStdout() throws {
    let outcome = try mount.shell("acache -- readlink /proc/self/fd/1 > out; cat out")
    #expect(outcome == .init(output: "\(mount.directory)/out\n", error: "", status: 0))
    #expect(mount.reports.first?.segments.map(\.length) == [UInt64(outcome.output.utf8.count)])
    #expect(kept.wait { $0.isEmpty ? nil : $0 } == [outcome.output])
    #expect(obstacles().isEmpty)
  }

  @Test func aShellThatOpenedTheFileForTheCommandAndWaitsIsNoOtherHolder() throws {
    let outcome = try mount.shell("sh -c 'acache -- readlink /proc/self/fd/1 > out; cat out'")
    #expect(outcome.output == "\(mount.directory)/out\n")
  }

  @Test func stdoutAndStderrInOneFileAreOneStreamInExactOrder() throws {
    let outcome = try mount.shell(
      "acache -- sh -c 'for i in 1 2 3; do echo o$i; echo e$i >&2; done; readlink /proc/$$/fd/2' > out 2>&1; cat out")
    #expect(outcome.output == "o1\ne1\no2\ne2\no3\ne3\n\(mount.directory)/out\n")
    #expect(mount.reports.first?.segments.map(\.stream) == [1])
  }

  @Test func stdoutAndStderrInTwoFilesAreTwoStreams() throws {
    let outcome = try mount.shell(
      "acache -- sh -c 'echo o; echo e >&2; readlink /proc/$$/fd/1 /proc/$$/fd/2' > out 2> err; cat out err")
    #expect(outcome.output == "o\n\(mount.directory)/out\n\(mount.directory)/err\ne\n")
    #expect(mount.reports.first?.segments.map(\.stream) == [1, 2])
  }

  @Test func aFileThatOthersWriteToIsFilledThroughAPipe() throws {
    // Each waits for all to have started, so that all have the file.
    let outcome = try mount.shell(
      """
      for i in 1 2 3; do
        acache -- sh -c "readlink /proc/\\$\\$/fd/1 >&2; mkdir s$i; \
          timeout 100 sh -c 'until [ -d s1 -a -d s2 -a -d s3 ]; do sleep 0.01; done' || echo alone; echo $i" &
      done > out
      wait; sort out
      """)
    #expect(outcome.output == "1\n2\n3\n")
    #expect(outcome.error.split(separator: "\n").count == 3)
    #expect(outcome.error.split(separator: "\n").allSatisfy { $0.hasPrefix("pipe:") })
    // Behind the line on stderr.
    #expect(kept.wait { $0.count < 3 ? nil : $0.map { $0.suffix(2) }.sorted() } == ["1\n", "2\n", "3\n"])
  }

  @Test func aFileThatIsAppendedToIsFilledThroughAPipe() throws {
    let outcome = try mount.shell("echo a > out; acache -- readlink /proc/self/fd/1 >> out; sed 's/:.*//' out")
    #expect(outcome.output == "a\npipe\n")
  }

  @Test func onlyWhatTheCommandWroteIsKept() throws {
    let outcome = try mount.shell("{ echo before; acache -- echo mine; echo after; } > out; cat out")
    #expect(outcome.output == "before\nmine\nafter\n")
    #expect(kept.wait { $0.isEmpty ? nil : $0 } == ["mine\n"])
  }

  @Test(
    "A file that is replaced, cut or written to by another hand meanwhile is no record of the output",
    arguments: ["echo x > $F", "truncate -s 1 $F", "printf 12345678 1<> $F"])
  func disturbed(how: String) throws {
    let file = "\(mount.directory.parent)/file"
    _ = try mount.shell("F=\(file) acache -- sh -c 'echo one; \(how); echo two' > \(file)")
    #expect(obstacles() == [.outputNotSequential])
  }

  @Test func aCommandMayReadTheFileItsOutputGoesTo() throws {
    let file = "\(mount.directory.parent)/file"
    let outcome = try mount.shell("acache -- sh -c 'echo one; cat \(file) >/dev/null; echo two' > \(file); cat \(file)")
    #expect(outcome.output == "one\ntwo\n")
    #expect(obstacles().isEmpty)
  }

  @Test func aProcessLeftBehindKeepsTheFile() throws {
    let outcome = try mount.shell(
      """
      mkfifo .views/one/gate .views/one/done
      acache -- sh -c '{ read x < gate; echo late; exec > /dev/null; echo > done; } & echo early' > out
      echo go > .views/one/gate; read x < .views/one/done; cat out
      """)
    #expect(outcome.output == "early\nlate\n")
    #expect(obstacles().contains(.backgroundProcess))
  }
}
