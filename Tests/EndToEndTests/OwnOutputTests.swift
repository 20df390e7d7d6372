import Foundation
import Testing

@Suite("A command's own outputs")
struct OwnOutputTests {
  @Test("cmd > out is a hit the second time, with the output there, gone or spoilt")
  func redirected() throws {
    try withTwins(prepare: "seq 100 > in") { twins throws in
      try twins.missThenHit("sort -r in > out")
      try twins.edit("rm out")
      try twins.hit("sort -r in > out")
      try twins.edit("echo spoilt > out")
      try twins.call(either: "sort -r in > out")
      try twins.hit("sort -r in > out")
    }
  }

  @Test("A compilation is a hit the second time, with its object there or gone, and not after an edit")
  func compilation() throws {
    try withTwins(prepare: "echo 'int a = 1;' > a.c") { twins throws in
      try twins.missThenHit("gcc -c a.c")
      try twins.edit("rm a.o")
      try twins.hit("gcc -c a.c")
      try twins.edit("echo 'int a = 2;' > a.c")
      try twins.missThenHit("gcc -c a.c")
      try twins.edit("echo 'int a = 1;' > a.c")
      try twins.call(either: "gcc -c a.c")
    }
  }

  @Test("An output that is truncated after it was opened, as sort -o does, is a hit the second time")
  func truncatedLate() throws {
    try withTwins(prepare: "seq 20 > in") { twins throws in
      try twins.missThenHit("sort -r in -o out")
      try twins.edit("echo spoilt > out")
      try twins.hit("sort -r in -o out")
      try twins.edit("chmod 600 out")
      try twins.call(either: "sort -r in -o out")
    }
  }

  @Test("An output opened for reading and writing, and emptied, as Python's zipfile does, is a hit the second time")
  func truncatedForUpdate() throws {
    try withTwins(prepare: "echo old > out; echo one > in") { twins throws in
      let script = """
        python3 -c 'f = open("out", "w+b"); f.write(open("in", "rb").read() * 2); f.seek(2); print(f.read())'
        """
      try twins.missThenHit(script)
      try twins.edit("echo two > in")
      try twins.missThenHit(script)
      try twins.edit("echo spoilt > out")
      try twins.hit(script)
      try twins.edit("rm out")
      try twins.call(either: script)
      try twins.hit(script)
      try twins.edit("chmod 600 out")
      try twins.call(either: script)
    }
  }

  @Test("What was in a file that is truncated late counts when it was read or appended to before")
  func readBeforeTruncation() throws {
    let scripts = [
      "exec 3<>f; cat <&3; truncate -s 0 f; echo new >&3", "echo a >> f; cat f; truncate -s 0 f; echo b >> f",
      "exec 3>>f; ln -f f g; cat g; truncate -s 0 f; echo b >&3", "exec 3>>f; truncate -s 2 f; echo b >&3",
      "cat f; python3 -c 'open(\"f\", \"w+\").write(\"new\")'",
      "exec 3<>f; read x <&3; python3 -c 'open(\"f\", \"w+\").write(\"new\")'; echo $x",
      "exec 3>>f; python3 -c 'f = open(\"f\", \"w+\"); print(f.read())'; echo b >&3; cat f",
    ]
    for script in scripts {
      try withTwins { twins throws in
        try twins.call(either: script)
        for content in ["rm -f f g; echo one > f", "rm -f f g; echo two > f", "rm -f f g"] {
          try twins.edit(content)
          try twins.call(either: script)
        }
      }
    }
  }

  @Test("Who looks for a file, makes it and reads it back goes on differently with it there, as LaTeX does")
  func missedMadeAndReadBack() throws {
    try withTwins(prepare: "echo one > in") { twins throws in
      let script = """
        [ ! -f notes ] || { read old < notes; echo "had $old"; }
        read word < in; echo "$word" > notes; read new < notes; echo "have $new"
        """
      try twins.miss(script)
      try twins.miss(script)
      try twins.hit(script)
      try twins.edit("rm notes")
      try twins.hit(script)
      try twins.edit("echo two > in")
      try twins.miss(script)
      try twins.edit("echo one > in; echo two > notes")
      try twins.miss(script)
    }
  }

  @Test("An archive that ar makes empty, reads and fills is a hit the second time")
  func archive() throws {
    try withTwins(prepare: "echo 'int a = 1;' > a.c; gcc -c a.c; rm a.c") { twins throws in
      try twins.missThenHit("ar rcD lib.a a.o && ar t lib.a")
      try twins.edit("rm lib.a")
      try twins.hit("ar rcD lib.a a.o && ar t lib.a")
    }
  }

  @Test("mkdir -p and a file in the new directory are a hit the second time")
  func directoryAndFile() throws {
    try withTwins(prepare: "echo data > in") { twins throws in
      let script = "mkdir -p out/deep; cat in > out/deep/model"
      try twins.missThenHit(script)
      try twins.edit("rm -r out")
      try twins.hit(script)
      try twins.edit("rm out/deep/model")
      try twins.call(either: script)
      try twins.hit(script)
    }
  }

  @Test("A Python program that writes its bytecode cache is a hit the second time")
  func bytecode() throws {
    let prepare = "echo 'value = 1' > module.py; echo 'import module; print(module.value)' > main.py"
    try withTwins(prepare: prepare) { twins throws in
      // The cache's bytes hold the source's time, which is not the same in both trees.
      let script = "/usr/bin/python3 main.py"
      let place = twins.place
      #expect(try place.acache(script).output == "1\n")
      #expect(try place.acache(script).output == "1\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
      // Python itself goes by the source's time and size.
      try place.shell("echo 'value = 2' > module.py; touch -d @1234567890 module.py")
      #expect(try place.acache(script).output == "2\n")
    }
  }

  @Test("To other programs than Python a bytecode cache is a file like any other: found, missing, copied, removed")
  func bytecodeOfOthers() throws {
    let prepare = "echo 'value = 1' > module.py; touch -d @1234567890 module.py; /usr/bin/python3 -m compileall -q ."
    try withTwins(prepare: prepare) { twins throws in
      let cache = try #require(try twins.place.shell("ls __pycache__/*.pyc").output.split(separator: "\n").first)
      for script in [
        "find . | sort", "ls -R", "grep -rc value . | sort", "cp -rT __pycache__ copy; ls copy",
        "cksum < \(cache) | wc -l",
        "[ -e other/__pycache__ ] || echo missing", "[ -e __pycache__/no.cpython-311.pyc ] || echo missing",
      ] { try twins.missThenHit(script) }
      try twins.edit("printf x >> \(cache)")
      try twins.miss("grep -rc value . | sort")
      try twins.edit("mkdir -p other/__pycache__")
      try twins.miss("[ -e other/__pycache__ ] || echo missing")
      try twins.missThenHit("rm -r __pycache__; mkdir __pycache__; ls")
    }
  }

  @Test("What is made only where it is missing never overwrites what another hand wrote")
  func conditional() throws {
    try withTwins { twins throws in
      let script = "[ -e out ] || echo made > out"
      try twins.missThenHit(script)
      try twins.edit("echo mine > out")
      try twins.miss(script)
      try twins.edit("rm out")
      try twins.hit(script)
      try twins.edit("rm out; mkdir out")
      try twins.miss(script)
    }
  }

  @Test("Overwriting keeps another hand's permission bits, owner, links and symlink as without acache")
  func ontoOthers() throws {
    try withTwins(prepare: "echo data > in") { twins throws in
      let script = "cat in > out"
      try twins.missThenHit(script)
      for before in [
        "chmod 600 out", "chmod 4755 out", geteuid() == 0 ? "chown 12:34 out" : "chmod 640 out", "ln out second",
        "echo other > second",
        "rm out; ln -s second out", "rm out second; ln -s missing out", "rm out; mkfifo unrelated",
      ] {
        try twins.edit(before)
        try twins.call(either: script)
        try twins.hit(script)
      }
    }
  }

  @Test("An output without write permission or in the place of a directory fails or not as without acache")
  func obstacles() throws {
    try withTwins(prepare: "echo data > in") { twins throws in
      try twins.missThenHit("cat in > out")
      try twins.edit("rm out; mkdir out")
      try twins.call(either: "cat in > out")
      try twins.edit("rmdir out")
      try twins.hit("cat in > out")
    }
  }

  @Test("A counter counts and a log grows")
  func counterAndLog() throws {
    try withTwins(prepare: "echo 0 > counter") { twins throws in
      for _ in 1...4 { try twins.miss("echo $(($(cat counter) + 1)) > counter; echo line >> log") }
      try twins.edit("echo 0 > counter; rm log")
      try twins.hit("echo $(($(cat counter) + 1)) > counter; echo line >> log")
    }
  }

  @Test("A file that is read and then overwritten is an input")
  func readThenOverwritten() throws {
    try withTwins(prepare: "echo b > f; echo a >> f") { twins throws in
      try twins.miss("sort f > t; cat t > f; rm t")
      try twins.edit("echo c > f")
      try twins.miss("sort f > t; cat t > f; rm t")
      try twins.edit("echo b > f; echo a >> f")
      try twins.hit("sort f > t; cat t > f; rm t")
    }
  }

  @Test("A file that is made and then read by the same command is no input")
  func madeThenRead() throws {
    try withTwins(prepare: "echo one > in") { twins throws in
      try twins.missThenHit("cat in > out; cat out")
      try twins.edit("echo other > out")
      try twins.call(either: "cat in > out; cat out")
      try twins.hit("cat in > out; cat out")
    }
  }

  @Test("O_EXCL, mkdir and ln onto what exists fail the second time, as without acache")
  func exclusive() throws {
    try withTwins { twins throws in
      for script in ["set -C; echo x > excl", "mkdir d", "ln -s x l", "mkfifo p"] {
        try twins.miss(script + " 2>/dev/null && echo made || echo there")
        try twins.call(either: script + " 2>/dev/null && echo made || echo there", "--strict")
      }
    }
  }

  @Test("With --strict the state before the run must be the same, exactly")
  func strict() throws {
    try withTwins(prepare: "echo one > in") { twins throws in
      twins.options = ["--strict"]
      let script = "[ -e out ] && echo there; cat in > out"
      try twins.miss(script)
      try twins.missThenHit(script)
      try twins.edit("rm out")
      try twins.hit(script)
      try twins.edit("echo mine > out")
      try twins.miss(script)
      try twins.hit(script)
    }
  }

  @Test("make rebuilds after an edit of the same size")
  func make() throws {
    let prepare = "printf 'out: in\\n\\tcp in out\\n' > Makefile; echo one > in"
    try withTwins(prepare: prepare) { twins throws in
      try twins.miss("make")
      try twins.edit("echo two > in; touch -d '1 hour ago' out")
      try twins.call(either: "make")
      try twins.edit("cmp in out")
    }
  }

  @Test("Permission bits, set-ids, empty files and an explicit time of outputs come back")
  func attributes() throws {
    try withTwins { twins throws in
      let script = "umask 027; echo x > a; chmod 6711 a; : > b; mkdir -m 1777 c; touch -d @1234567890 a; cp -p a c/d"
      try twins.miss(script)
      try twins.edit("rm -r a b c")
      try twins.hit(script)
      #expect(try twins.place.shell("stat -c %Y a c/d").output == "1234567890\n1234567890\n")
    }
  }

  @Test("Temporary files that a command makes and removes leave nothing and do not count")
  func temporary() throws {
    try withTwins(prepare: "echo one > in") { twins throws in
      let script = "t=$(mktemp ./tmp.XXXXXX); cat in > $t; mv $t out; u=$(mktemp ./tmp.XXXXXX); rm $u"
      try twins.missThenHit(script)
      try twins.edit("rm out")
      try twins.hit(script)
    }
  }
}
