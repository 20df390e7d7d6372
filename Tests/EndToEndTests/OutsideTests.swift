import Foundation
import Testing

@Suite("Outside the mount")
struct OutsideTests {
  @Test(
    "What was read outside and then replaced or removed is an input whose value is gone: not stored",
    arguments: [[], ["--outside=strace"]])
  func readThenReplaced(options: [String]) throws {
    try withTwins(prepare: "echo aaa > ../out/f") { twins throws in
      twins.options = options
      for script in [
        "sed -i s/a/b/ ../out/f; cat ../out/f",
        "cat ../out/f > ../out/g; echo x >> ../out/g; mv ../out/g ../out/f; cat ../out/f",
        "n=$(cat ../out/f); rm ../out/f; echo $n+ > ../out/f; cat ../out/f",
      ] {
        try twins.notStored(script, "outside-update")
        try twins.notStored(script, "outside-update")
      }
      try twins.missThenHit("echo new > ../out/t; mv ../out/t ../out/h; cat ../out/h")
      try twins.edit("echo other > ../out/h")
      try twins.call(either: "echo new > ../out/t; mv ../out/t ../out/h; cat ../out/h")
    }
  }

  @Test("The content of a file outside counts, and its permission bits")
  func content() throws {
    try withTwins(prepare: "echo one > ../out/f") { twins throws in
      try twins.missThenHit("cat ../out/f; stat -c %a ../out/f")
      try twins.edit("echo two > ../out/f")
      try twins.missThenHit("cat ../out/f; stat -c %a ../out/f")
      try twins.edit("chmod 600 ../out/f")
      try twins.missThenHit("cat ../out/f; stat -c %a ../out/f")
      try twins.edit("echo one > ../out/f; chmod 644 ../out/f")
      try twins.hit("cat ../out/f; stat -c %a ../out/f")
    }
  }

  @Test("A missing name outside counts, also in a directory that is missing")
  func absent() throws {
    try withTwins { twins throws in
      let script = "cat ../out/d/f ../out/f 2>/dev/null || echo none"
      try twins.missThenHit(script)
      try twins.edit("echo there > ../out/f")
      try twins.missThenHit(script)
      try twins.edit("mkdir ../out/d; echo deep > ../out/d/f")
      try twins.missThenHit(script)
      try twins.edit("rm -r ../out/*")
      try twins.hit(script)
    }
  }

  @Test("A file outside that is only looked up counts")
  func status() throws {
    try withTwins(prepare: "echo one > ../out/f") { twins throws in
      let script = "[ -s ../out/f ] && stat -c %s ../out/f; [ -x ../out/f ] && echo x; [ -d ../out/f ] || echo file"
      try twins.missThenHit(script)
      try twins.edit("echo longer > ../out/f")
      try twins.missThenHit(script)
      try twins.edit("chmod 755 ../out/f")
      try twins.missThenHit(script)
      try twins.edit("rm ../out/f; mkdir ../out/f")
      try twins.missThenHit(script)
    }
  }

  @Test("A listing outside counts")
  func listing() throws {
    try withTwins(prepare: "echo one > ../out/a") { twins throws in
      try twins.missThenHit("ls -p ../out; cat ../out/*")
      try twins.edit("echo two > ../out/b")
      try twins.missThenHit("ls -p ../out; cat ../out/*")
      try twins.edit("rm ../out/b")
      try twins.hit("ls -p ../out; cat ../out/*")
    }
  }

  @Test("A symlink outside counts, as a target, as a component and dangling")
  func links() throws {
    let prepare = "cd ../out; mkdir a b; echo 1 > a/f; echo 2 > b/f; ln -s a l; ln -s l/f m; ln -s none dangling"
    try withTwins(prepare: prepare) { twins throws in
      let script = "cat ../out/l/f ../out/m; cat ../out/dangling 2>/dev/null || readlink ../out/dangling"
      try twins.missThenHit(script)
      try twins.edit("ln -sfn b ../out/l")
      try twins.missThenHit(script)
      try twins.edit("echo there > ../out/none")
      try twins.missThenHit(script)
      try twins.edit("rm ../out/none; ln -sfn a ../out/l")
      try twins.hit(script)
      try twins.edit("rm ../out/m; cp ../out/a/f ../out/m")
      try twins.call(either: "readlink ../out/m || " + script)
    }
  }

  @Test("A dangling symlink outside that is looked at and followed counts", arguments: [[], ["--outside=strace"]])
  func danglingOutside(options: [String]) throws {
    try withTwins { twins throws in
      twins.options = options
      try twins.edit("ln -s nowhere \"$OUT\"/l")
      let script = "cd \"$OUT\"; [ -L l ] && echo link; [ -e l ] || echo nowhere"
      try twins.missThenHit(script)
      try twins.edit("echo x > \"$OUT\"/nowhere")
      try twins.miss(script)
      try twins.edit("rm \"$OUT\"/nowhere")
      try twins.hit(script)
      try twins.edit("rm \"$OUT\"/l")
      try twins.notStored(script + "; [ -L l ]", "failed")
    }
  }

  @Test("A program outside, its interpreter and its libraries count")
  func executables() throws {
    let prepare = """
      cd ../out; cp /bin/cat interpreter; printf '#!../out/interpreter\\nfirst\\n' > tool; chmod 755 tool
      echo 'int value(void) { return 1; }' > l.c; gcc -shared -fPIC -o libvalue.so l.c
      echo '#include <stdio.h>\nint value(void); int main(void) { printf("%d\\\\n", value()); }' > m.c
      gcc -o program m.c -L. -lvalue
      """
    try withTwins(prepare: prepare) { twins throws in
      let script = "../out/tool; LD_LIBRARY_PATH=../out ../out/program"
      try twins.missThenHit(script)
      try twins.edit("sed -i s/first/second/ ../out/tool")
      try twins.missThenHit(script)
      try twins.edit("cp /usr/bin/wc ../out/interpreter")
      try twins.missThenHit(script)
      try twins.edit("cd ../out; sed -i s/1/2/ l.c; gcc -shared -fPIC -o libvalue.so l.c")
      try twins.missThenHit(script)
    }
  }

  @Test("A static program and one started by vfork, posix_spawn or a thread pool is seen")
  func startedOtherwise() throws {
    let prepare = """
      echo '#include <stdio.h>\nint main(void) { FILE *f = fopen("../out/f", "r"); int c; \
      while ((c = fgetc(f)) != EOF) putchar(c); }' > s.c; gcc -static -o s s.c
      echo one > ../out/f; echo two > ../out/g
      """
    try withTwins(prepare: prepare) { twins throws in
      let python = """
        /usr/bin/python3 -I -c '
        import os, subprocess, concurrent.futures as c
        print(subprocess.run(["./s"], capture_output=True).stdout)
        os.waitpid(os.posix_spawn("./s", ["./s"], {}), 0)
        with c.ThreadPoolExecutor(8) as p: print(list(p.map(lambda n: open("../out/g").read(), range(16)))[0])'
        """
      try twins.missThenHit(python)
      try twins.edit("echo three > ../out/f")
      try twins.missThenHit(python)
      try twins.edit("echo four > ../out/g")
      try twins.missThenHit(python)
    }
  }

  @Test("Paths are followed through changes of directory and openat with descriptors")
  func relativePaths() throws {
    try withTwins(prepare: "mkdir -p ../out/d/e; echo one > ../out/d/e/f; echo two > ../out/d/g") { twins throws in
      let script = """
        cd ../out/d/e && cat f && cd .. && cat g && /usr/bin/python3 -I -c '
        import os
        d = os.open("e", os.O_PATH); os.fchdir(os.open(".", os.O_RDONLY))
        print(os.read(os.open("f", os.O_RDONLY, dir_fd=d), 10), os.access("e/none", os.F_OK))'
        """
      try twins.missThenHit(script)
      try twins.edit("echo changed > ../out/d/e/f")
      try twins.missThenHit(script)
      try twins.edit("echo changed > ../out/d/g")
      try twins.missThenHit(script)
      try twins.edit("echo > ../out/d/e/none")
      try twins.missThenHit(script)
    }
  }

  @Test("Thousands of processes are followed")
  func manyProcesses() throws {
    try withTwins(prepare: "echo one > ../out/f") { twins throws in
      let script = "i=0; while [ $i -lt 1500 ]; do (:); i=$((i+1)); done; cat ../out/f"
      try twins.missThenHit(script)
      try twins.edit("echo two > ../out/f")
      try twins.miss(script)
    }
  }

  @Test("What is written outside comes back, temporary files do not")
  func writes() throws {
    try withTwins(prepare: "echo one > in") { twins throws in
      let script =
        "t=$(mktemp ../out/t.XXXXXX); cat in > $t; cp $t ../out/made; rm $t; mkdir -p ../out/d; chmod 600 ../out/made"
      try twins.missThenHit(script)
      try twins.edit("rm -r ../out/*")
      try twins.hit(script)
      try twins.edit("echo two > in")
      try twins.call(either: script)
      try twins.edit("ls -l ../out | wc -l")
    }
  }

  @Test("Extended attributes of files written outside come back, and those that were there stay")
  func attributesOutside() throws {
    try withTwins { twins throws in
      func same() throws {
        let attributes = "cd \"$OUT\"; getfattr -d made old"
        let plain = try run(
          "/bin/sh", ["-c", "cd '\(twins.plainOutside)'; getfattr -d made old"], environment: twins.place.environment)
        #expect(try twins.place.shell(attributes).output == plain.output)
      }
      try twins.edit("cd \"$OUT\"; echo old > old; setfattr -n user.mine -v 1 old")
      let script = "cd \"$OUT\"; echo new > old; echo x > made; setfattr -n user.a -v 2 made"
      try twins.miss(script)
      try same()
      try twins.edit("cd \"$OUT\"; rm made; echo other > old")
      try twins.hit(script)
      try same()
      try twins.hit(script)
      try same()
    }
  }

  @Test("--outside-writes: refuse stores nothing, ignore puts nothing back")
  func writePolicies() throws {
    try withTwins { twins throws in
      try twins.notStored("echo x > ../out/f", "outside-write", "--outside-writes=refuse")
      try twins.edit("rm ../out/f")
      let place = twins.place
      for _ in 1...2 { try place.acache("echo y > ../out/g", options: ["--outside-writes=ignore"]) }
      #expect(try place.shell("cat ../out/g; rm ../out/g").output == "y\n")
      try place.acache("echo y > ../out/g", options: ["--outside-writes=ignore"])
      #expect(try place.counts().hits >= 1)
      #expect(try place.shell("ls ../out").output == "")
    }
  }

  @Test("A file outside that is updated in place or grows is not taken for an output")
  func updates() throws {
    try withTwins(prepare: "echo 0 > ../out/counter") { twins throws in
      for _ in 1...3 {
        try twins.call(either: "n=$(cat ../out/counter); echo $((n+1)) > ../out/counter; echo line >> ../out/log")
      }
      for _ in 1...3 { try twins.call(either: "sed -i s/line/row/ ../out/log; sort -o ../out/log ../out/log") }
      for _ in 1...3 { try twins.call(either: "echo more >> ../out/log") }
    }
  }

  @Test(
    "A database outside that is asked and not changed is an input, though it is opened for writing",
    arguments: [[], ["--outside=strace"]])
  func openedForWriting(options: [String]) throws {
    try withTwins(prepare: "sqlite3 ../out/db 'create table t(n); insert into t values (1)'") { twins throws in
      twins.options = options
      // What was changed just before may have been changed in the same tick of the clock.
      let settle = "touch -d '1 hour ago' ../out/db; sleep 0.1"
      for (edit, isNew) in [("true", true), ("sqlite3 ../out/db 'insert into t values (2)'", true), ("true", false)] {
        try twins.edit(edit + "; " + settle)
        let asking = "sqlite3 ../out/db 'select * from t'"
        if isNew { try twins.miss(asking) }
        try twins.hit(asking)
      }
      try twins.notStored("sqlite3 ../out/db 'insert into t values (3)'", "outside-update")
    }
  }

  @Test("A hard link that a command makes outside is one each time", arguments: [[], ["--outside=strace"]])
  func hardLinkMade(options: [String]) throws {
    try withTwins(prepare: "echo one > ../out/a") { twins throws in
      twins.options = options
      for _ in 1...3 {
        try twins.call(either: "ln ../out/a ../out/b 2>/dev/null; stat -c %h ../out/a")
        try twins.edit("rm ../out/b")
      }
    }
  }

  @Test("A symlink outside that leads to what the command itself writes keeps nothing from being stored")
  func symlinkToOutput() throws {
    try withTwins(prepare: "echo one > in; mkdir ../out/d; ln -s x ../out/d/l; echo old > ../out/d/x") { twins throws in
      for script in [
        "cat in > ../out/d/x; ls -l ../out/d | wc -l", "cat in > ../out/d/x; ln -s x ../out/d/l 2>/dev/null; true",
      ] {
        for _ in 1...2 { try twins.call(either: script) }
        try twins.hit(script)
      }
    }
  }

  @Test("What is removed, renamed or linked outside ends as without acache")
  func removals() throws {
    try withTwins(prepare: "cd ../out; echo 1 > a; echo 2 > b; mkdir d; echo 3 > d/f") { twins throws in
      let script = "cd ../out; rm -f a; mv b c; mv d e; ln c l; ln -s c s"
      try twins.call(either: script)
      try twins.edit("rm -rf ../out/*; cd ../out; echo 1 > a; echo 2 > b; mkdir d; echo 3 > d/f")
      try twins.call(either: script)
      try twins.edit("rm -rf ../out/*")
      try twins.call(either: script + " 2>/dev/null; true")
    }
  }

  @Test("A listing outside that changes while the command runs is not stored as if the command had seen it")
  func listingChanged() throws {
    try withMount { place throws in
      try place.shell("mkdir ../d; touch ../d/a; mkfifo ../ready ../go")
      let call = "acache -- sh -c 'ls ../d; echo > ../ready; read x < ../go'"
      let script = "\(call) & read x < ../ready; touch ../d/b; echo > ../go; wait"
      #expect(try place.shell("timeout 100 sh -c '\(script.replacing("'", with: "'\\''"))'").output == "a\n")
      let again = "timeout 100 \(call) & timeout 100 sh -c 'read x < ../ready; echo > ../go'; wait"
      #expect(try place.shell(again).output == "a\nb\n")
    }
  }

  @Test("A file outside that changes while the command runs is not stored as if the command had read it")
  func contentChanged() throws {
    try withMount { place throws in
      try place.shell("echo one > ../f; ln -s f ../l; mkfifo ../ready ../go")
      let call = "acache -- sh -c 'cat ../f; readlink ../l; echo > ../ready; read x < ../go'"
      let script = "\(call) & read x < ../ready; echo two > ../f; ln -sfn g ../l; echo > ../go; wait"
      #expect(try place.shell("timeout 100 sh -c '\(script.replacing("'", with: "'\\''"))'").output == "one\nf\n")
      let again = "timeout 100 \(call) & timeout 100 sh -c 'read x < ../ready; echo > ../go'; wait"
      #expect(try place.shell(again).output == "two\ng\n")
    }
  }

  @Test("/proc, /sys and /dev do not count")
  func kernelFiles() throws {
    try withTwins { twins throws in
      try twins.missThenHit(
        "cat /proc/uptime /proc/self/stat > /dev/null; ls /sys > /dev/null; head -c 3 /dev/urandom > /dev/null")
    }
  }

  @Test("Where acache may not trace, it says what is not observed and stores nothing; --outside=trust stores")
  func withoutTracer() throws {
    try withMount { place throws in
      // Under another tracer, and where there is no strace.
      for around in [
        "strace -f -o /dev/null",
        "unshare \(geteuid() == 0 ? "" : "-r") -m sh -c 'mount --bind /dev/null /usr/bin/strace; exec \"$@\"' x",
      ] {
        let before = try place.counts().hits
        for _ in 1...2 {
          #expect(try place.shell("\(around) acache --outside=strace -- sh -c 'echo x'").output == "x\n")
        }
        #expect(try place.counts().hits == before)
        let outcome = try place.shell("\(around) acache --outside=strace -v -- sh -c 'echo x'")
        #expect(outcome.output == "x\n")
        #expect(outcome.error.contains("cannot be seen"))
        for _ in 1...2 {
          #expect(try place.shell("\(around) acache --outside=trust -- sh -c 'echo x'").output == "x\n")
        }
        #expect(try place.counts().hits > before)
      }
    }
  }

  @Test("Files opened through io_uring are not seen, so a command that uses it is not stored")
  func ring() throws {
    try withMount { place throws in
      let script =
        "/usr/bin/python3 -I -c 'import ctypes; ctypes.CDLL(None).syscall(425, 8, ctypes.create_string_buffer(120))'"
      #expect(try place.acache(script).status == 0)
      #expect(try Statistics(place).reasons == ["outside-unobserved": 1])
    }
  }

  @Test("A program started by another with vfork and a changed directory is seen")
  func changedDirectoryOfChild() throws {
    try withTwins(prepare: "mkdir ../out/d; echo one > ../out/d/f") { twins throws in
      let script =
        "/usr/bin/python3 -I -c 'import subprocess as s; print(s.run([\"cat\", \"f\"], cwd=\"../out/d\", capture_output=True))'"
      try twins.missThenHit(script)
      try twins.edit("echo two > ../out/d/f")
      try twins.missThenHit(script)
    }
  }

  @Test(
    "What is written outside is an output as any: spoilt or removed it comes back"
  )
  func outputs() throws {
    try withTwins(prepare: "echo one > in") { twins throws in
      try twins.missThenHit("cat in > ../out/f")
      try twins.edit("rm ../out/f")
      try twins.hit("cat in > ../out/f")
      try twins.edit("echo spoilt > ../out/f")
      try twins.call(either: "cat in > ../out/f")
      try twins.edit("chmod 600 ../out/f")
      try twins.call(either: "cat in > ../out/f")
      try twins.edit("ln ../out/f ../out/g; echo x > ../out/g")
      try twins.call(either: "cat in > ../out/f")
      try twins.edit("rm ../out/f; ln -s g ../out/f")
      try twins.call(either: "cat in > ../out/f")
      try twins.edit("rm ../out/f; mkdir ../out/f")
      try twins.call(either: "cat in > ../out/f 2>/dev/null; true")
    }
  }

  @Test("What is made outside only where it is missing never overwrites what another hand wrote")
  func conditional() throws {
    try withTwins { twins throws in
      let script = "[ -e ../out/f ] || echo made > ../out/f"
      try twins.missThenHit(script)
      try twins.edit("echo mine > ../out/f")
      try twins.miss(script)
      try twins.edit("rm ../out/f")
      try twins.hit(script)
    }
  }

  @Test("O_EXCL, mkdir and ln outside fail the second time as without acache")
  func exclusive() throws {
    try withTwins { twins throws in
      for script in ["set -C; echo x > ../out/e", "mkdir ../out/d", "ln -s x ../out/l", "mkfifo ../out/p"] {
        let whole = "(" + script + ") 2>/dev/null && echo made || echo there"
        for _ in 1...3 { try twins.call(either: whole, "--strict") }
      }
    }
  }

  @Test("Ignored paths are neither inputs nor outputs")
  func ignored() throws {
    try withMount { place throws in
      try place.shell("mkdir ../d; echo 1 > ../d/x; echo 1 > ../y")
      let option = ["--ignore=" + place.base + "/d/*"]
      let script = "cat ../d/x ../y; echo >> ../d/log"
      #expect(try place.acache(script, options: option).output == "1\n1\n")
      try place.shell("echo 2 > ../d/x")
      #expect(try place.acache(script, options: option).output == "1\n1\n")
      try place.shell("echo 2 > ../y")
      #expect(try place.acache(script, options: option).output == "2\n2\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
    }
  }
}
