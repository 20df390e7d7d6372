import Foundation
import Testing

@Suite("Running and replaying")
struct ReplayTests {
  @Test("Many outputs come back where all, some or none of their names are taken, and leave the others alone")
  func manyNames() throws {
    try withTwins(prepare: "mkdir d; echo mine > d/other") { twins throws in
      let script = "i=0; while [ $i -lt 300 ]; do echo $i > d/f$i; i=$((i+1)); done"
      try twins.miss(script)
      try twins.hit(script)
      for change in ["rm d/f*", "rm d/f*1*", "rm d/f*; echo theirs > d/f7; echo more > d/f299", "echo theirs > d/f70"] {
        try twins.edit(change)
        try twins.call(either: script)
        try twins.edit(change)
        try twins.hit(script)
        try twins.edit("cat d/* | cksum; ls d | wc -l; cat d/other")
        // Nothing of what they took the place of comes to light again.
        try twins.edit("rm d/f7 d/f70 d/f299; cat d/* | cksum; ls d | wc -l")
        try twins.call(either: script)
      }
    }
  }

  @Test("The second call of a command runs nothing and prints the same")
  func secondCall() throws {
    try withMount { place throws in
      try place.write("some text\n", to: "input")
      // Outside the mount and not observed: tells whether anything was run.
      let script = "cat input; echo problem >&2; exit 0"
      let first = try place.acache(script)
      #expect(first == Outcome(status: 0, output: "some text\n", error: "problem\n"))
      #expect(try place.counts() == Counts(hits: 0, misses: 1))
      #expect(try place.acache(script) == first)
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("A changed input runs the command again, and changed back it is a hit again")
  func changedInput() throws {
    try withMount { place throws in
      try place.write("one", to: "input")
      #expect(try place.acache("cat input").output == "one")
      try place.write("two", to: "input")
      #expect(try place.acache("cat input").output == "two")
      try place.write("one", to: "input")
      #expect(try place.acache("cat input").output == "one")
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
    }
  }

  @Test("A hit puts files, modes, directories, links and removals back")
  func outputs() throws {
    try withMount { place throws in
      let script = "mkdir -p d/e; echo x > d/e/f; chmod 640 d/e/f; ln -s e/f d/l; ln d/e/f d/h; rm -f gone; : > empty"
      let look = "ls -R; stat -c '%a %h %F' d/e/f; readlink d/l; cat d/h"
      try place.write("", to: "gone")
      #expect(try place.acache(script).status == 0)
      let wanted = try place.shell(look)
      try place.shell("rm -rf d empty; : > gone")
      #expect(try place.acache(script).status == 0)
      #expect(try place.shell(look) == wanted)
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("What a hit has placed is an ordinary file after unmounting")
  func unmounted() throws {
    try withMount { place throws in
      try place.acache("seq 1000 > out")
      try place.shell("rm out")
      try place.acache("seq 1000 > out")
      #expect(try place.counts().hits == 1)
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(try place.shell("tail -n 1 out; wc -l < out").output == "1000\n1000\n")
      #expect(try place.shell("ls -a").output == ".\n..\nout\n")
    }
  }

  @Test("A command that fails is not stored, and its status is passed on")
  func failing() throws {
    try withMount { place throws in
      for _ in 1...2 {
        let outcome = try place.acache("echo no >&2; exit 3")
        #expect(outcome == Outcome(status: 3, output: "", error: "no\n"))
      }
      #expect(try place.counts() == Counts(hits: 0, misses: 2))
    }
  }

  @Test("A name that was missing counts: when it appears, the command runs again")
  func appearing() throws {
    try withMount { place throws in
      let script = "[ -e extra ] && echo yes || echo no"
      #expect(try place.acache(script).output == "no\n")
      #expect(try place.acache(script).output == "no\n")
      try place.write("", to: "extra")
      #expect(try place.acache(script).output == "yes\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
    }
  }

  @Test("A file that appears in a listed directory runs the command again")
  func listing() throws {
    try withMount { place throws in
      #expect(try place.acache("ls").output == "")
      try place.write("", to: "new")
      #expect(try place.acache("ls").output == "new\n")
    }
  }

  @Test("Standard input from a pipe is part of the key")
  func pipedInput() throws {
    try withMount { place throws in
      #expect(try place.acache("sort -r", input: "1\n2\n").output == "2\n1\n")
      #expect(try place.acache("sort -r", input: "1\n2\n").output == "2\n1\n")
      #expect(try place.acache("sort -r", input: "1\n3\n").output == "3\n1\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
    }
  }

  @Test("Which of a parallel make's recipes gets its standard input makes no difference, redirecting it does")
  func parallelMake() throws {
    try withMount { place throws in
      let recipe = "@acache -- sh -c 'test -p /dev/stdin; echo $@ $$?; [ $@ = a ] || sleep 0.1'"
      try place.write("all: a b c\na b c:\n\t\(recipe)\n", to: "Makefile")
      let first = try place.shell("make -j3 </dev/null")
      #expect(first.status == 0)
      #expect(try place.counts() == Counts(hits: 0, misses: 3))
      // In another order, so that others get the standard input.
      let second = try place.shell("make -j3 c b a </dev/null")
      #expect(second.status == 0)
      #expect(second.output.split(separator: "\n").sorted() == first.output.split(separator: "\n").sorted())
      #expect(try place.counts() == Counts(hits: 3, misses: 3))
      try place.write("all: a b c\na b c:\n\t\(recipe) </dev/null\n", to: "Makefile")
      #expect(try place.shell("make -j3 </dev/null").output.split(separator: "\n").sorted() == ["a 1", "b 1", "c 1"])
      #expect(try place.counts() == Counts(hits: 3, misses: 6))
    }
  }

  @Test("A hit leaves Python's bytecode as a run would: kept when it fits the source, replaced when it does not")
  func bytecode() throws {
    try withMount { place throws in
      let command = "/usr/bin/python3 main.py"
      let look = "od -An -tu4 -j8 -N4 __pycache__/module.*.pyc"
      try place.write("import module\nprint(module.value)\n", to: "main.py")
      try place.write("value = 1\n", to: "module.py")
      try place.shell("touch -d @1700000000 module.py")
      #expect(try place.acache(command).output == "1\n")
      #expect(try place.shell(look).output.contains("1700000000"))
      try place.write("value = 2\n", to: "module.py")
      try place.shell("touch -d @1700000001 module.py")
      #expect(try place.acache(command).output == "2\n")
      #expect(try place.shell(look).output.contains("1700000001"))
      try place.write("value = 1\n", to: "module.py")
      try place.shell("touch -d @1700000000 module.py")
      #expect(try place.acache(command).output == "1\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
      #expect(try place.shell(look).output.contains("1700000000"))
    }
  }

  @Test("Bytecode that Python checks by hash is kept by a hit when it fits the source, and replaced when it does not")
  func bytecodeByHash() throws {
    try withMount { place throws in
      let compile = "/usr/bin/python3 -m compileall -q --invalidation-mode checked-hash module.py"
      let look = "cat __pycache__/module.*.pyc | sha256sum"
      var left: [String] = []
      for value in 1...2 {
        try place.write("value = \(value)\n", to: "module.py")
        try place.acache(compile)
        left.append(try place.shell(look).output)
      }
      #expect(left[0] != left[1])
      try place.write("value = 1\n", to: "module.py")
      try place.acache(compile)
      #expect(try place.shell(look).output == left[0])
      try place.write("value = 2\n", to: "module.py")
      try place.acache(compile)
      #expect(try place.shell(look).output == left[1])
      #expect(try place.counts() == Counts(hits: 2, misses: 2))
      let number = try place.shell("stat -c %i __pycache__/module.*.pyc").output
      try place.acache(compile)
      #expect(try place.shell("stat -c %i __pycache__/module.*.pyc").output == number)
      #expect(try place.counts() == Counts(hits: 3, misses: 2))
    }
  }

  @Test("The environment is part of the key")
  func environment() throws {
    try withMount { place throws in
      place.environment["COLOUR"] = "red"
      #expect(try place.acache("echo $COLOUR").output == "red\n")
      place.environment["COLOUR"] = "blue"
      #expect(try place.acache("echo $COLOUR").output == "blue\n")
      place.environment["COLOUR"] = "red"
      #expect(try place.acache("echo $COLOUR").output == "red\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
    }
  }

  @Test("A counter counts and a log grows under acache")
  func readModifyWrite() throws {
    try withMount { place throws in
      try place.write("0\n", to: "counter")
      for wanted in 1...3 {
        try place.acache("echo $(($(cat counter) + 1)) > counter; echo line >> log")
        #expect(place.read("counter") == "\(wanted)\n")
      }
      #expect(place.read("log") == "line\nline\nline\n")
    }
  }

  @Test("Where nothing is mounted the command runs plainly, and one line says so")
  func unmountedDirectory() throws {
    let place = try Place()
    let outcome = try place.acache("echo out; exit 4")
    #expect(outcome.status == 4)
    #expect(outcome.output == "out\n")
    #expect(outcome.error.split(separator: "\n").count == 1)
  }
}
