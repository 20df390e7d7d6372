import Testing

@Suite("acache inside acache")
struct NestedTests {
  /// Three levels; each reads a file of its own and writes one.
  private static let three = """
    acache -- sh -c 'acache -- sh -c "acache -- sh -c \\"cat c > c.out\\"; cat b c.out > b.out"; cat a b.out > a.out'; \
    cat a.out
    """

  @Test("Three deep: an input that only the innermost reads invalidates all three")
  func innermostInput() throws {
    try withMount { place throws in
      try place.shell("echo 1 > a; echo 2 > b; echo 3 > c")
      #expect(try place.acache(NestedTests.three).output == "1\n2\n3\n")
      #expect(try place.counts() == Counts(hits: 0, misses: 4))
      #expect(try place.acache(NestedTests.three).output == "1\n2\n3\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 4))
      try place.shell("echo 4 > c")
      #expect(try place.acache(NestedTests.three).output == "1\n2\n4\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 8))
      #expect(try place.shell("cat a.out b.out c.out").output == "1\n2\n4\n2\n4\n4\n")
    }
  }

  @Test("Three deep: an input of the outermost leaves the inner ones hits, and their outputs come back")
  func outermostInput() throws {
    try withMount { place throws in
      try place.shell("echo 1 > a; echo 2 > b; echo 3 > c")
      try place.acache(NestedTests.three)
      try place.shell("echo 5 > a; rm *.out")
      #expect(try place.acache(NestedTests.three).output == "5\n2\n3\n")
      // The two outer ones ran, the second innermost was a hit and needed no other.
      #expect(try place.counts() == Counts(hits: 1, misses: 6))
      #expect(try place.shell("cat a.out b.out c.out").output == "5\n2\n3\n2\n3\n3\n")
      try place.shell("rm *.out")
      #expect(try place.acache(NestedTests.three).output == "5\n2\n3\n")
      #expect(try place.counts() == Counts(hits: 2, misses: 6))
      #expect(try place.shell("cat a.out b.out c.out").output == "5\n2\n3\n2\n3\n3\n")
    }
  }

  @Test("What an inner hit depends on and leaves counts for the outer run")
  func innerHit() throws {
    try withMount { place throws in
      try place.shell("echo 1 > in")
      try place.acache("cat in > inner")
      // The inner call is a hit already when the outer one runs for the first time.
      let outer = "acache -- /bin/sh -c 'cat in > inner'; wc -l < inner"
      #expect(try place.acache(outer).output == "1\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
      // That run found the file there; one that makes it may make it with other permission bits.
      for wanted in [Counts(hits: 2, misses: 3), Counts(hits: 3, misses: 3)] {
        try place.shell("rm inner")
        #expect(try place.acache(outer).output == "1\n")
        #expect(place.read("inner") == "1\n")
        #expect(try place.counts() == wanted)
      }
      try place.shell("echo 1 > in; echo 2 >> in")
      #expect(try place.acache(outer).output == "2\n")
      #expect(try place.counts() == Counts(hits: 3, misses: 5))
    }
  }

  @Test("What the outer run wrote before is what the inner call sees, and the other way round")
  func orderOfWrites() throws {
    try withMount { place throws in
      let script = "echo outer > f; acache -- sh -c 'cat f; echo inner > g'; cat g; rm f g"
      for _ in 1...2 { #expect(try place.acache(script).output == "outer\ninner\n") }
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
      #expect(try place.shell("ls").output == "")
    }
  }

  @Test("An inner command that fails is run each time, and the outer one has its status")
  func innerFailure() throws {
    try withMount { place throws in
      let script = "acache -- sh -c 'echo no >&2; exit 3'; echo $?"
      for _ in 1...2 {
        #expect(try place.acache(script) == Outcome(status: 0, output: "3\n", error: "no\n"))
      }
    }
  }

  @Test("A file outside that only the inner command reads counts for the outer one")
  func innerOutside() throws {
    try withMount { place throws in
      try place.shell("echo 1 > ../x")
      let script = "acache -- sh -c 'cat ../x'"
      #expect(try place.acache(script).output == "1\n")
      #expect(try place.acache(script).output == "1\n")
      try place.shell("echo 2 > ../x")
      #expect(try place.acache(script).output == "2\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 4))
    }
  }

  @Test("The parent of a nested run is recorded")
  func parents() throws {
    try withMount { place throws in
      try place.acache("acache -- sh -c 'acache -- true'")
      let runs = try place.casherfs("log", "--json").json(as: [[String: Any]].self)
      let ids = Set(runs.compactMap { $0["id"] as? String })
      let parents = runs.compactMap { $0["parent"] as? String }
      #expect(runs.count == 3)
      #expect(parents.count == 2)
      #expect(Set(parents).isSubset(of: ids) && Set(parents).count == 2)
    }
  }

  @Test("A make of nested compilations under acache is a hit, and rebuilds what has changed")
  func make() throws {
    try withMount { place throws in
      try place.write(
        """
        CC = acache -- gcc
        prog: a.o b.o
        \t$(CC) -o $@ a.o b.o
        %.o: %.c
        \t$(CC) -c $<

        """, to: "Makefile")
      try place.write("int b(void); int main(void) { return b(); }\n", to: "a.c")
      try place.write("int b(void) { return 7; }\n", to: "b.c")
      let build = "make >/dev/null; ./prog; echo $?"
      #expect(try place.acache(build).output == "7\n")
      try place.shell("rm -f prog *.o")
      #expect(try place.acache(build).output == "7\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 4))
      try place.shell("rm -f prog *.o; echo 'int b(void) { return 8; }' > b.c")
      #expect(try place.acache(build).output == "8\n")
      #expect(try place.counts() == Counts(hits: 2, misses: 7))
    }
  }
}
