import Foundation
import Testing

@Suite("Descriptors besides the standard streams")
struct InheritedDescriptorTests {
  /// A script of bash(1) that calls acache, on whose calls' answers the test depends.
  private func bash(_ script: String, _ place: Place) throws -> Outcome {
    try run("/bin/bash", ["-c", script], in: place.work, environment: place.environment)
  }

  @Test("What comes through a process substitution is never taken for what came the last time")
  func processSubstitution() throws {
    try withMount { place throws in
      for word in ["one", "two", "two"] {
        #expect(try bash("acache -- cat <(echo \(word))", place).output == word + "\n")
        #expect(try bash("acache -- diff <(echo \(word)) <(echo \(word)) && echo same", place).output == "same\n")
      }
      for word in ["one", "one"] {
        let script =
          "rm -f copy; mkfifo done; echo \(word) | acache -- tee >(cat > copy; : > done); read < done; cat copy"
        #expect(try bash(script + "; rm done", place).output == "\(word)\n\(word)\n")
      }
      let statistics = try Statistics(place)
      #expect(statistics.hits == 0)
      // A bash(1) that becomes acache leaves it the processes that it has started, which is a reason of its own.
      #expect(statistics.uncacheable == 8)
      #expect(statistics.reasons["inherited-descriptor"] ?? 0 >= 6)
    }
  }

  @Test("A file that the command was given open counts with its content, and is read on from where it was left")
  func file() throws {
    try withMount { place throws in
      for text in ["one\ntwo\n", "three\nfour\n", "one\ntwo\n"] {
        try place.write(text, to: "in")
        let lines = text.split(separator: "\n").map { "\($0)\n" }
        // dash(1) reads byte by byte.
        let script = "exec 3< in; acache -- sh -c 'read x <&3; echo $x'; cat <&3"
        #expect(try place.shell(script).output == lines.joined())
        #expect(try place.shell("acache -- sh -c 'cat /dev/fd/3' 3< in").output == text)
      }
      let before = try place.counts()
      #expect(try place.shell("acache -- sh -c 'cat /dev/fd/3' 3< in").output == "one\ntwo\n")
      #expect(try place.counts() == Counts(hits: before.hits + 1, misses: before.misses))
    }
  }

  @Test("What the command writes to a descriptor that it was given is there each time")
  func written() throws {
    try withMount { place throws in
      for (redirection, wanted) in [("> out", "x\n"), (">> log", ""), ("<> both", "x\n")] {
        let name = String(redirection.split(separator: " ")[1])
        for number in 1...3 {
          try place.shell(name == "log" ? "true" : "rm -f \(name)")
          #expect(try place.shell("acache -- sh -c 'echo x >&4' 4\(redirection)").status == 0)
          #expect(place.read(name) == (wanted.isEmpty ? String(repeating: "x\n", count: number) : wanted))
        }
      }
      for _ in 1...2 {
        #expect(
          try bash("acache -- sh -c 'echo through >&4' 4> >(cat > ../to); wait; cat ../to", place).output == "through\n"
        )
      }
      #expect(try place.counts().hits == 0)
    }
  }

  @Test("A script's own streams, which each of its commands inherits, keep nothing from being a hit")
  func leftOver() throws {
    try withMount { place throws in
      try place.write("echo printed; acache -- sh -c 'echo one; echo two >&2'\n", to: "script")
      for _ in 1...2 {
        #expect(try bash("exec 3>&1 4>&2; . ./script > ../log; cat ../log", place).output == "printed\none\n")
        let withPipe = "rm -f p; mkfifo p; sleep 600 > p & exec 5< p; . ./script; kill $!"
        #expect(try bash(withPipe, place).output == "printed\none\n")
        #expect(try bash("exec 3>&1; . ./script >&3", place).output == "printed\none\n")
        #expect(try bash("exec 6> ../other; . ./script | cat", place).output == "printed\none\n")
      }
      // A file that may be written to is another call than none.
      #expect(try place.counts() == Counts(hits: 6, misses: 2))
    }
  }

  @Test("A program that takes from a pipe it was not told of by its arguments is run each time")
  func taken() throws {
    try withMount { place throws in
      try place.write("read x <&3; echo $x\n", to: "reader")
      for word in ["one", "two", "two"] {
        let script = """
          mkfifo p; (echo \(word); echo rest) > p & exec 3< p
          for i in $(seq 6000); do read -t 0 -u 3 && break; sleep 0.01; done
          acache -- sh ./reader; rm p
          """
        #expect(try bash(script, place).output == "\(word)\n")
      }
      #expect(try place.counts().hits == 0)
    }
  }

  @Test("Descriptors that a command leaves alone, and those of make, keep nothing from being a hit")
  func unused() throws {
    try withMount { place throws in
      for _ in 1...2 {
        #expect(try place.shell("exec 9> ../lock; flock 9; acache -- echo locked").output == "locked\n")
        #expect(try place.shell("acache -- echo null 5< /dev/null 6<> /dev/null").output == "null\n")
        #expect(try bash("exec 200> >(cat); acache -- echo leaked; true", place).output == "leaked\n")
        try place.write("all:\n\t+acache -- echo made\n", to: "Makefile")
        #expect(try place.shell("make -s -j2").output == "made\n")
      }
      #expect(try place.counts() == Counts(hits: 4, misses: 4))
    }
  }
}
