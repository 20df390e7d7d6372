import CasherRecord
import CasherSystem
import Foundation
import Testing

@testable import CasherTracer

@Suite struct CommandTests {
  typealias Kinds = OutsideAccess.Kinds

  @Test func aShellsReadsProbesAndWritesAreSeen() throws {
    let scratch = try Scratch()
    try scratch.write("in", "x")
    try scratch.write("sub/file", "x")
    try scratch.write("script", "cd sub\ncat ../in file nothing > out\ncat < out >> log\n[ -e ../probe ]\n")
    let trace = try trace(["/bin/sh", scratch("script").description], in: scratch.path)
    #expect(trace[scratch("in")].observed == .read)
    #expect(trace[scratch("sub/file")].observed == .read)
    #expect(trace[scratch("sub/nothing")].observed == .missing)
    #expect(trace[scratch("sub/out")].produced == [.truncated, .created])
    #expect(trace[scratch("sub/out")].observed == [])
    #expect(trace[scratch("sub/log")].produced == [.updated, .created])
    #expect(trace[scratch("probe")].observed == .missing)
    #expect(trace["/bin/sh"].observed.contains(.executed))
    #expect(trace["/bin/sh"].produced == [])
    #expect(trace.parser.obstacles() == [])
    #expect(trace.parser.mainExit == 1 << 8)
    #expect(trace.parser.liveProcesses == 0)
  }

  @Test func theDynamicLinkerAndItsLibrariesAreInputs() throws {
    let scratch = try Scratch()
    let trace = try trace(["/bin/true"], in: scratch.path)
    let paths = trace.parser.accesses().map(\.path.description)
    #expect(paths.contains { $0.contains("/ld-linux") })
    #expect(paths.contains { $0.hasSuffix("/libc.so.6") })
    #expect(trace["/etc/ld.so.cache"].observed == .read)
    #expect(trace["/etc/ld.so.preload"].observed == .missing)
  }

  @Test func scriptsBringTheirInterpretersAlong() throws {
    let scratch = try Scratch()
    try scratch.write("inner", "#!/bin/sh\nexit 0\n", executable: true)
    try scratch.write("outer", "#! \(scratch("inner")) -x\n", executable: true)
    let trace = try trace([scratch("outer").description], in: scratch.path)
    #expect(trace[scratch("outer")].observed.contains(.executed))
    #expect(trace[scratch("inner")].observed.contains(.executed))
    #expect(trace["/bin/sh"].observed.contains(.executed))
  }

  @Test func aScriptInTheMountBringsItsInterpreterAlong() throws {
    let scratch = try Scratch()
    try scratch.write("tool", "#!/bin/sh\nexit 0\n", executable: true)
    let trace = try trace([scratch("tool").description], in: scratch.path, mount: scratch.path)
    #expect(trace["/bin/sh"].observed.contains(.executed))
    #expect(trace.accesses[scratch("tool")] == nil)
  }

  @Test func aMissingInterpreterIsMissingNotTheScript() throws {
    let scratch = try Scratch()
    try scratch.write("tool", "#!/no/such/interpreter\n", executable: true)
    let trace = try trace(["/bin/sh", "-c", "./tool"], in: scratch.path)
    #expect(trace[scratch("tool")].observed.contains(.executed))
    #expect(!trace[scratch("tool")].observed.contains(.missing))
    #expect(trace["/no/such/interpreter"].observed == .missing)
  }

  @Test func aCompilerReadsHeadersAndProbesItsIncludePath() throws {
    let scratch = try Scratch()
    try scratch.write("first/.keep")
    try scratch.write("second/part.h", "int part;\n")
    try scratch.write("main.c", "#include <stdio.h>\n#include \"part.h\"\nint main(void) { return part; }\n")
    let trace = try trace(
      ["/usr/bin/gcc", "-Ifirst", "-Isecond", "-c", "main.c", "-o", "main.o"], in: scratch.path)
    #expect(trace.parser.mainExit == 0)
    #expect(trace[scratch("main.c")].observed.contains(.read))
    #expect(trace[scratch("second/part.h")].observed.contains(.read))
    #expect(trace[scratch("first/part.h")].observed == .missing)
    #expect(trace["/usr/include/stdio.h"].observed.contains(.read))
    #expect(!trace[scratch("main.o")].produced.isDisjoint(with: [.truncated, .madeNew]))
    #expect(trace.parser.obstacles() == [])
  }

  @Test func findListsEveryDirectory() throws {
    let scratch = try Scratch()
    try scratch.write("a/b/file")
    let trace = try trace(["/usr/bin/find", "a"], in: scratch.path)
    #expect(trace[scratch("a")].observed.contains(.listed))
    #expect(trace[scratch("a/b")].observed.contains(.listed))
    #expect(!trace[scratch("a/b/file")].observed.contains(.listed))
  }

  @Test func tarKeepsTimesAndModes() throws {
    let scratch = try Scratch()
    try scratch.write("from/sub/file")
    try scratch.write("to/.keep")
    let trace = try trace(["/bin/sh", "-c", "tar -C from -cf - . | tar -C to -xpf -"], in: scratch.path)
    #expect(trace[scratch("from/sub")].observed.contains(.listed))
    #expect(trace[scratch("from/sub/file")].observed.contains(.read))
    #expect(trace[scratch("to/sub")].produced.contains(.madeNew))
    #expect(trace[scratch("to/sub/file")].produced.isSuperset(of: [.madeNew, .attributesSet, .timeSet]))
  }

  @Test func renamesLinksAndRemovalsAreTold() throws {
    let scratch = try Scratch()
    for name in ["one", "two", "three", "dir/x"] { try scratch.write(name) }
    let trace = try trace(
      [
        "/bin/sh", "-c",
        "mv one uno; mv uno two; ln two hard; ln -s two soft; readlink soft; rm three; mkdir m; rmdir m; rm -r dir; "
          + "touch -d @5 two; chmod 600 hard; mv two final",
      ], in: scratch.path)
    #expect(trace[scratch("one")].produced.contains(.renamedAway))
    #expect(trace[scratch("uno")].produced.isSuperset(of: [.replaced, .renamedAway]))
    #expect(trace[scratch("two")].produced.isSuperset(of: [.replaced, .timeSet]))
    #expect(trace[scratch("hard")].produced.isSuperset(of: [.madeNew, .attributesSet]))
    #expect(trace[scratch("soft")].produced.isSuperset(of: [.madeNew, .notFollowed]))
    #expect(trace[scratch("three")].produced == [.removed, .notFollowed])
    #expect(trace[scratch("m")].produced == [.madeNew, .removed, .notFollowed])
    #expect(trace[scratch("dir/x")].produced == [.removed, .notFollowed])
    #expect(trace[scratch("dir")].produced == [.removed, .notFollowed])
    #expect(trace[scratch("final")].produced.isSuperset(of: [.replaced, .timeSet]))
  }

  @Test func aPythonProgramsModulesAndProbesAreInputs() throws {
    let scratch = try Scratch()
    try scratch.write("lib/helper.py", "value = 1\n")
    try scratch.write(
      "main.py", "import sys; sys.path[:0] = ['early', 'lib']\nimport helper\nopen('out', 'w').write('x')\n")
    try scratch.write("early/.keep")
    let python = try #require(
      ["/usr/bin/python3", "/usr/local/bin/python3"].first { access($0, X_OK) == 0 } ?? pyenv())
    let trace = try trace([python, "-S", "-B", "main.py"], in: scratch.path)
    #expect(trace.parser.mainExit == 0)
    #expect(trace[scratch("lib/helper.py")].observed.contains(.read))
    #expect(trace[scratch("early")].observed.contains(.listed))
    #expect(trace[scratch("out")].produced == [.truncated, .created])
    #expect(trace.parser.obstacles() == [])
  }

  @Test func theStatusIsTheCommandsOwn() throws {
    let scratch = try Scratch()
    #expect(try trace(["/bin/sh", "-c", "exit 7"], in: scratch.path).parser.mainExit == 7 << 8)
    let killed = try trace(["/bin/sh", "-c", "kill -9 $$"], in: scratch.path).parser.mainExit
    #expect(killed == SIGKILL)
    let segfault = try trace(["/bin/sh", "-c", "ulimit -c 0; kill -11 $$"], in: scratch.path).parser.mainExit
    #expect(segfault.map { $0 & 0x7f } == SIGSEGV)
  }

  @Test func aChildKilledInTheMiddleLeavesTheRestIntact() throws {
    let scratch = try Scratch()
    try scratch.write("in")
    let trace = try trace(
      ["/bin/sh", "-c", "(while :; do : < in; done) & child=$!; : < in; kill -9 $child; wait; : < late"],
      in: scratch.path)
    #expect(trace[scratch("in")].observed == .read)
    #expect(trace[scratch("late")].observed == .missing)
    #expect(trace.parser.liveProcesses == 0)
    #expect(trace.parser.obstacles() == [])
  }

  @Test func theTracesPipeEndsWithTheTracerAndHoldsNothingOpen() throws {
    let scratch = try Scratch()
    let trace = try trace(["/bin/sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"], in: scratch.path)
    // The command sees the number, and can do nothing with it.
    #expect(String(decoding: trace.output, as: UTF8.self).contains("900"))
    #expect(trace.parser.obstacles() == [])
  }

  @Test func aNestedCommandsSubtreeIsToldAlone() throws {
    let scratch = try Scratch()
    for name in ["outer", "inner", "innermost"] { try scratch.write(name) }
    let trace = try trace(
      ["/bin/sh", "-c", ": < outer; /bin/sh -c 'echo $$; : < inner; (: < innermost; : < none); : > made'; : < made"],
      in: scratch.path)
    let text = String(decoding: trace.output, as: UTF8.self)
    let nested = try #require(Int32(text.trimmingCharacters(in: .whitespacesAndNewlines)))
    let paths = trace.parser.accesses(ofSubtree: nested).map(\.path)
    #expect(paths.contains(scratch("inner")))
    #expect(paths.contains(scratch("innermost")))
    #expect(paths.contains(scratch("none")))
    #expect(!paths.contains(scratch("outer")))
    #expect(trace.parser.hasExited(nested))
    #expect(trace.parser.liveProcesses(ofSubtree: nested) == 0)
    // The outer command made it too, through its child: reading it back is no input.
    #expect(trace[scratch("made")].observed == [])
    #expect(trace[scratch("made")].produced == [.truncated, .created])
  }

  private func pyenv() -> String? {
    try? FileManager.default.contentsOfDirectory(atPath: "/root/.pyenv/versions").first.map {
      "/root/.pyenv/versions/\($0)/bin/python3"
    }
  }
}
