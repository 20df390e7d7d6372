import Foundation
import Testing

@Suite("Several at once")
struct ConcurrencyTests {
  @Test("The same command started 20 times at once runs once")
  func twentyAtOnce() throws {
    try withMount { place throws in
      try place.write("text\n", to: "in")
      let script =
        "for i in $(seq 20); do acache -- sh -c 'sleep 0.3; cat in; cat in > out' > ../o$i & done; wait; cat ../o*"
      let outcome = try place.shell(script)
      #expect(outcome.output == String(repeating: "text\n", count: 20))
      #expect(outcome.error == "")
      #expect(try place.counts() == Counts(hits: 19, misses: 1))
      #expect(place.read("out") == "text\n")
    }
  }

  @Test("Identical calls that store nothing do not wait for each other")
  func nothingToWaitFor() throws {
    try withMount { place throws in
      // Neither goes on before both have started.
      let script = """
        mkfifo ../started ../go
        for i in 1 2; do
          acache --no-store -- sh -c 'echo $$ > ../started; read x < ../go; echo done' > ../o$i 2>&1 &
        done
        exec 3<> ../started 4<> ../go
        read first <&3; read second <&3
        echo >&4; echo >&4
        wait
        cat ../o1 ../o2
        """
      let outcome = try run(
        "/usr/bin/timeout", ["100", "/bin/bash", "-c", script], in: place.work, environment: place.environment)
      #expect(outcome.output == "done\ndone\n")
      #expect(try place.counts().hits == 0)
    }
  }

  @Test("When the one that runs is killed, another takes over at once")
  func takeOver() throws {
    try withMount { place throws in
      // Each that runs tells so on a FIFO outside, which is not observed, and waits there to be let go on.
      try place.shell("mkfifo ../started ../go; echo text > in")
      let script = """
        command='echo $$ > ../started; read x < ../go; cat in'
        acache -- sh -c "$command" > ../leader 2>&1 & leader=$!
        read first < ../started
        for i in 1 2 3; do acache -- sh -c "$command" > ../o$i 2>&1 & others="$others $!"; done
        kill -9 $leader; wait $leader; echo $?
        read second < ../started
        for i in 1 2 3 4 5 6 7 8; do echo > ../go & goes="$goes $!"; done
        for i in 1 2 3 4; do cat ../started & reads="$reads $!"; done > /dev/null
        for p in $others; do wait $p; echo $?; done
        kill $goes $reads 2>/dev/null
        cat ../o1 ../o2 ../o3
        """
      let outcome = try run(
        "/usr/bin/timeout", ["100", "/bin/bash", "-c", script], in: place.work, environment: place.environment)
      #expect(outcome.output == "137\n0\n0\n0\ntext\ntext\ntext\n")
    }
  }

  @Test("A parallel make of cached compilations makes what a plain one makes, cold and warm")
  func parallelMake() throws {
    try withMount { place throws in
      let names = (1...12).map { "f\($0)" }
      for name in names { try place.write("int \(name)(void) { return \(name.dropFirst()); }\n", to: name + ".c") }
      let sum = names.map { "\($0)()" }.joined(separator: "+")
      let declarations = names.map { "int \($0)(void);" }.joined(separator: " ")
      try place.write(
        "#include <stdio.h>\n\(declarations)\nint main(void) { printf(\"%d\\n\", \(sum)); }\n", to: "main.c")
      try place.write(
        """
        prog: \((names + ["main"]).map { $0 + ".o" }.joined(separator: " "))
        \tacache -- gcc -o $@ $^
        %.o: %.c
        \tacache -- gcc -c $<

        """, to: "Makefile")
      #expect(try place.shell("make -j8 >/dev/null && ./prog").output == "78\n")
      #expect(try place.counts() == Counts(hits: 0, misses: 14))
      let sums = try place.shell("cksum *.o prog").output
      try place.shell("rm *.o prog")
      #expect(try place.shell("make -j8 >/dev/null && ./prog").output == "78\n")
      #expect(try place.counts() == Counts(hits: 14, misses: 14))
      #expect(try place.shell("cksum *.o prog").output == sums)
      try place.shell("rm *.o prog; sed -i 's/return 1;/return 101;/' f1.c")
      #expect(try place.shell("make -j8 >/dev/null && ./prog").output == "178\n")
      #expect(try place.counts() == Counts(hits: 26, misses: 16))
    }
  }

  @Test("Runs at the same time do not see each other's observations")
  func separate() throws {
    try withMount { place throws in
      try place.shell("for i in 1 2 3 4; do echo $i > in$i; done")
      let script = "{ for i in 1 2 3 4; do acache -- sh -c \"cat in$i; sleep 0.2; cat in$i > out$i\" & done; wait; }"
      #expect(try place.shell(script + " | sort").output == "1\n2\n3\n4\n")
      try place.shell("echo new > in3")
      #expect(try place.shell(script + " | sort").output == "1\n2\n4\nnew\n")
      #expect(try place.counts() == Counts(hits: 3, misses: 5))
    }
  }

  @Test("Runs that write one after the other to one directory are each a hit afterwards")
  func oneDirectory() throws {
    try withMount { place throws in
      try place.shell("mkdir d")
      let script = "for i in 1 2 3 4; do acache -- sh -c \"echo $i > d/$i\" & done; wait; ls d"
      #expect(try place.shell(script).output == "1\n2\n3\n4\n")
      try place.shell("rm d/*")
      #expect(try place.shell(script).output == "1\n2\n3\n4\n")
      #expect(try place.counts() == Counts(hits: 4, misses: 4))
    }
  }

  @Test("Two users' commands in one mount are each other's neither inputs nor hits", .root)
  func twoUsers() throws {
    try withMount { place throws in
      try place.shell("chmod 777 .; mkdir -m 777 a b")
      let script =
        "{ acache -q -- sh -c 'id -u > a/out; cat a/out' & setpriv --reuid 1234 --clear-groups acache -q -- "
        + "sh -c 'id -u > b/out; cat b/out' & wait; }"
      for _ in 1...2 {
        #expect(try place.shell(script + " | sort; stat -c %u a/out b/out").output.contains("0\n1234\n"))
      }
    }
  }

  @Test("What a run changed is there for everyone when its acache has exited: names, sizes, what is gone")
  func visible() throws {
    try withMount { place throws in
      try place.shell("echo short > f; echo x > gone; mkdir d")
      // The names are in the kernel's caches of the main view, what is missing too.
      let look = "stat -c '%n %s' f gone new d/new 2>&1; cat f new 2>&1; ls . d"
      for _ in 1...2 {
        let before = try place.shell(look)
        #expect(before.output.contains("cannot stat"))
        try place.acache("echo much longer > f; rm gone; echo made > new; echo made > d/new")
        let after = try place.shell(look)
        #expect(after.output.contains("f 12\n"))
        #expect(after.output.contains("much longer\nmade\n.:\nd\nf\nnew\n\nd:\nnew\n"))
        #expect(after.output.contains("new 5\nd/new 5\n"))
        try place.shell("echo short > f; echo x > gone; rm new d/new")
      }
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("What one run changed is seen by another that is under way")
  func visibleInOtherRun() throws {
    try withMount { place throws in
      let script = """
        mkfifo ../ready ../go
        acache -- sh -c 'cat new 2>/dev/null; stat -c %s f; echo > ../ready; read x < ../go; cat new; stat -c %s f' &
        read x < ../ready
        acache -- sh -c 'echo made > new; echo longer > f'
        echo > ../go; wait
        """
      try place.write("x\n", to: "f")
      #expect(try place.shell("timeout 100 sh -c '\(script.replacing("'", with: "'\\''"))'").output == "2\nmade\n7\n")
    }
  }

  @Test("Locks exclude across views")
  func locks() throws {
    try withMount { place throws in
      try place.write("0", to: "counter")
      let increment = "flock lock sh -c \"n=\\$(cat counter); sleep 0.02; echo \\$((n+1)) > counter\""
      try place.shell("for i in 1 2 3 4; do acache -q -- sh -c '\(increment) # '$i & done; \(increment); wait")
      #expect(place.read("counter") == "5\n")
      let posix = """
        import fcntl, sys
        f = open('plock', 'a+')
        try:
          fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
          print('free')
        except OSError:
          print('held')
        """
      try place.write(posix, to: "lock.py")
      let hold = "import fcntl,subprocess; f=open('plock','a+'); fcntl.lockf(f,fcntl.LOCK_EX); "
      let call = "subprocess.run(['acache','-q','--','/usr/bin/python3','lock.py'])"
      #expect(try place.shell("/usr/bin/python3 -c \"\(hold)\(call)\"").output == "held\n")
      #expect(
        try place.shell("acache -q -- /usr/bin/python3 lock.py; acache --force -- /usr/bin/python3 lock.py").output
          .hasSuffix("free\n"))
    }
  }
}
