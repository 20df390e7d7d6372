import Foundation
import Testing

@Suite("Standard input")
struct StandardInputTests {
  @Test("/dev/null and no input at all are none")
  func none() throws {
    try withMount { place throws in
      for redirection in ["</dev/null", "</dev/null", "<&-"] {
        #expect(try place.shell("acache -- sh -c 'cat 2>/dev/null; echo end' \(redirection)").output == "end\n")
      }
      #expect(try place.counts().hits >= 1)
    }
  }

  @Test("A regular file counts by its content from its offset")
  func regularFile() throws {
    try withMount { place throws in
      try place.shell("seq 5 > ../list; seq 5 > list")
      for name in ["../list", "list"] {
        let before = try place.counts()
        let script = "acache -- cat < \(name)"
        #expect(try place.shell(script).output == "1\n2\n3\n4\n5\n")
        #expect(try place.shell(script).output == "1\n2\n3\n4\n5\n")
        try place.shell("echo 6 >> \(name)")
        #expect(try place.shell(script).output == "1\n2\n3\n4\n5\n6\n")
        let after = try place.counts()
        #expect(after.misses - before.misses <= 2)
        #expect(after.hits + after.misses == before.hits + before.misses + 3)
      }
    }
  }

  @Test("The offset of a regular file is where the command would have left it, on a miss and on a hit")
  func offset() throws {
    try withMount { place throws in
      try place.shell("seq 5 > ../list")
      let script = "{ acache -- /bin/sh -c 'read x; read y; echo $x$y'; cat; } < ../list"
      let plain = try place.shell(script.replacing("acache -- ", with: ""))
      #expect(plain.output == "12\n3\n4\n5\n")
      for _ in 1...2 { #expect(try place.shell(script) == plain) }
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("A command that does not read its file leaves the offset alone")
  func unreadFile() throws {
    try withMount { place throws in
      try place.shell("seq 3 > ../list")
      let script = "{ acache -- echo x; cat; } < ../list"
      for _ in 1...2 { #expect(try place.shell(script).output == "x\n1\n2\n3\n") }
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("A loop that reads a list on its standard input sees every line, on misses and on hits")
  func loop() throws {
    try withMount { place throws in
      try place.shell("seq 5 > list")
      let script = "while read x; do acache -- echo \"got $x\"; done"
      let wanted = "got 1\ngot 2\ngot 3\ngot 4\ngot 5\n"
      #expect(try place.shell(script + " < list").output == wanted)
      #expect(try place.shell(script + " < list").output == wanted)
      #expect(try place.shell("cat list | " + script).output == wanted)
      #expect(try place.shell("cat list | " + script).output == wanted)
      #expect(try place.counts().hits >= 10)
    }
  }

  @Test("A pipe that is read whole is part of the key")
  func pipe() throws {
    try withMount { place throws in
      for _ in 1...2 { #expect(try place.shell("seq 3 | acache -- sort -r").output == "3\n2\n1\n") }
      #expect(try place.shell("seq 4 | acache -- sort -r").output == "4\n3\n2\n1\n")
      #expect(try place.shell("seq 2 | acache -- sort -r").output == "2\n1\n")
      #expect(try place.shell("printf '' | acache -- sort -r").output == "")
      #expect(try place.counts() == Counts(hits: 1, misses: 4))
    }
  }

  @Test("Of a pipe no more is taken than the command takes")
  func pipePart() throws {
    try withMount { place throws in
      let script = "seq 5 | { acache -- /bin/sh -c 'read x; read y; echo $x$y'; cat; }"
      let plain = try place.shell(script.replacing("acache -- ", with: ""))
      for _ in 1...3 { #expect(try place.shell(script) == plain) }
      #expect(
        try place.shell("seq 2 9 | { acache -- /bin/sh -c 'read x; read y; echo $x$y'; cat; }").output
          == "23\n4\n5\n6\n7\n8\n9\n")
      #expect(try place.counts().hits == 2)
    }
  }

  @Test("A megabyte from a pipe passes through, on a miss and on a hit")
  func largePipe() throws {
    try withMount { place throws in
      let plain = try place.shell("seq 200000 | sort -r | cksum")
      for _ in 1...2 { #expect(try place.shell("seq 200000 | acache -- sort -r | cksum") == plain) }
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
      let wanted = try place.shell("head -c 1000000 /bin/bash | cksum")
      for _ in 1...2 { #expect(try place.shell("head -c 1000000 /bin/bash | acache -- cat | cksum") == wanted) }
    }
  }

  @Test("A command that stops reading early does not hold up the writer")
  func earlyEnd() throws {
    try withMount { place throws in
      for _ in 1...2 { #expect(try place.shell("yes | acache -- head -n 2").output == "y\ny\n") }
    }
  }

  @Test("A writer that is slow, and one that writes after the command began, are waited for")
  func slowWriter() throws {
    try withMount { place throws in
      let script = "{ echo a; sleep 0.2; echo b; } | acache -- cat"
      for _ in 1...2 { #expect(try place.shell(script).output == "a\nb\n") }
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("-n gives /dev/null")
  func withoutInput() throws {
    try withMount { place throws in
      for _ in 1...2 { #expect(try place.shell("echo text | { acache -n -- cat; cat; }").output == "text\n") }
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("A terminal is no input, and the command still reads from it")
  func terminal() throws {
    try withMount { place throws in
      let script = "printf 'typed\\n' | script -qec \"acache -- sh -c 'read x; echo got \\$x'\" /dev/null"
      let outcome = try place.shell(script)
      #expect(outcome.output.contains("got typed"))
      #expect(outcome.status == 0)
    }
  }
}
