import Testing

@Suite("Hard links")
struct HardLinkTests {
  @Test("What is written under one name counts for who reads another")
  func readThroughOther() throws {
    try withTwins(prepare: "echo one > a; ln a b") { twins throws in
      try twins.missThenHit("cat b")
      try twins.edit("echo two > a")
      try twins.missThenHit("cat b")
      try twins.edit("rm b; cp a b")
      try twins.call(either: "cat b")
    }
  }

  @Test("A link that a command makes comes back as a link")
  func made() throws {
    try withTwins(prepare: "echo one > a") { twins throws in
      try twins.miss("ln a b")
      try twins.edit("rm b")
      try twins.hit("ln a b")
      try twins.edit("echo more >> b; cat a")
      try twins.edit("rm b; echo two > a")
      try twins.call(either: "ln a b")
      try twins.edit("echo more >> b; cat a")
    }
  }

  @Test("Links among outputs are links after a hit")
  func amongOutputs() throws {
    try withTwins { twins throws in
      let script = "mkdir d; echo x > d/a; ln d/a d/b; ln d/a c"
      try twins.miss(script)
      try twins.edit("rm -r c d")
      try twins.hit(script)
      try twins.edit("echo y >> c; cat d/a d/b")
    }
  }

  @Test("Writing to one of several names changes the others, on a hit too")
  func written() throws {
    try withTwins(prepare: "echo data > in; echo old > a; ln a b") { twins throws in
      try twins.miss("cat in > a; cat b")
      try twins.call(either: "cat in > a; cat b")
      try twins.edit("echo old > a")
      try twins.call(either: "cat in > a; cat b")
      try twins.edit("rm b; echo apart > b")
      try twins.call(either: "cat in > a; cat b")
      try twins.edit("ln -f a b")
      try twins.call(either: "cat in > a; cat b")
    }
  }

  @Test("Removing one of several names leaves the others")
  func removed() throws {
    try withTwins(prepare: "echo one > a; ln a b; ln a c") { twins throws in
      try twins.miss("rm b; cat a")
      try twins.edit("ln a b")
      try twins.hit("rm b; cat a")
      try twins.edit("echo two > a; ln c b")
      try twins.miss("rm b; cat a")
    }
  }

  @Test(
    "Links of symlinks and FIFOs are links after a hit", arguments: ["ln p q; ln -P l m", "mkdir c; cp -al p l d c"])
  func ofSpecialFiles(script: String) throws {
    try withTwins(prepare: "mkfifo p; ln -s nowhere l; mkdir d; ln p d/p") { twins throws in
      try twins.miss(script)
      try twins.edit("stat -c '%n %h' p l; rm -rf q m c")
      try twins.hit(script)
      try twins.edit("stat -c '%n %h' * d/*; chmod 600 p; stat -c '%n %a' *")
    }
  }

  @Test("cp -l of a tree")
  func treeOfLinks() throws {
    try withTwins(prepare: "mkdir d; echo 1 > d/a; echo 2 > d/b") { twins throws in
      try twins.miss("cp -rl d e")
      try twins.edit("rm -r e")
      try twins.hit("cp -rl d e")
      try twins.edit("echo changed > e/a; cat d/a; rm -r e")
      try twins.miss("cp -rl d e")
    }
  }

  @Test("Renaming one of two names of a file onto the other does nothing, as without acache")
  func renameOntoSelf() throws {
    try withTwins(prepare: "echo one > a; ln a b") { twins throws in
      let script = "/usr/bin/python3 -c 'import os; os.rename(\"a\", \"b\")'"
      try twins.call(either: script)
      try twins.edit("rm b; echo two > b")
      try twins.call(either: script)
      try twins.edit("echo one > a; ln -f a b")
      try twins.call(either: script)
    }
  }

  /// The state in which the command is recorded, the command, and another state in which it is called.
  static let throughNames: [[String]] = [
    ["echo x > a; ln a m", "echo one > a; rm a", "echo x > a; ln a n"],
    ["echo x > a; ln a m", "echo one >> a; rm a", "echo x > a; ln a n"],
    ["echo x > a; ln a m", "echo one > a; mv a c", "echo x > a; ln a n"],
    ["echo x > a; ln a m", "mv a c", "echo x > a; ln a n"],
    ["echo x > a; ln a m", "chmod 600 a; rm a", "echo x > a; ln a n"],
    ["echo x > a; ln a m", "echo one > a; echo new > t; mv t a", "echo x > a; ln a n"],
    ["echo x > a; ln a m", "echo one > a; ln a q; rm a", "echo x > a; ln a n"],
    ["echo x > a; ln a m; ln a k", "echo one > a; rm a m", "echo x > a; ln a m; ln a z"],
    ["echo x > a; ln a m; mkdir d", "mv a d/b; echo y > d/b", "echo x > a; ln a n; mkdir d"],
    ["echo x > a; ln a m; mkdir d", "mv a d; mv d e; echo y > e/a", "echo x > a; ln a n; mkdir d"],
    ["mkdir d; echo x > d/a; ln d/a m", "mv d e; echo y > e/a", "mkdir d; echo x > d/a; ln d/a n"],
    ["echo x > a; ln a m", "acache sh -c 'echo y > a' 2>/dev/null; rm a", "echo x > a; ln a n"],
    ["echo x > a", "ln a b; echo one > b; rm b", "echo x > a"],
    ["echo x > a", "ln a b; echo one > b", "echo x > a"],
    ["echo x > a", "ln a b; chmod 600 b", "echo x > a"],
  ]

  @Test(
    "A change that shows under a name which the command did not use is there after every call", arguments: throughNames)
  func elsewhere(states: [String]) throws {
    try withTwins(prepare: states[0]) { twins throws in
      try twins.call(either: states[1])
      try twins.edit("rm -rf ./*; \(states[2])")
      try twins.call(either: states[1])
    }
  }

  @Test(
    "When a hit takes one of a file's names away, the others and who has it open are told at once",
    arguments: [
      "rm out", "find . -name out -delete", "cat in > new; mv new out", "rm out; cat in > out", "ln -sf in out",
    ])
  func names(script: String) throws {
    try withMount { place throws in
      try place.write("content", to: "in")
      let links = "stat -c %h kept; stat -L -c %h /dev/fd/9"
      for _ in 1...3 {
        let outcome = try place.shell(
          """
          printf old > kept; ln -f kept out; exec 9< kept; \(links)
          acache -- sh -c '\(script)' 9<&-; \(links)
          """)
        #expect(outcome.output == "2\n2\n1\n1\n", "\(outcome)")
      }
      #expect(try place.counts().hits >= 1)
    }
  }

  @Test(
    "A time that a command gives a file under one name is there after a hit under all of them",
    arguments: [
      "echo x > b; touch -d @1000000000 b; ln b a", "echo x > b; ln b a; touch -d @1000000000 b",
      "echo x > b; touch -d @1000000000 b; ln b a; rm b", "mkdir d; echo x > d/b; touch -d @1000000000 d/b; ln d/b a",
      "ln -s b l; touch -h -d @1000000000 l; ln l a", "echo x > a; touch -d @1000000000 a; ln a b; mv a c",
    ])
  func givenTime(script: String) throws {
    try withMount { place throws in
      let look = "stat -c '%n %Y' $(find . ! -type d | sort)"
      try place.acache(script)
      let left = try place.shell(look).output
      #expect(left.contains("1000000000"))
      try place.shell("rm -r ./*")
      try place.acache(script)
      #expect(try place.shell(look).output == left)
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("A file that a command wrote to after it gave it a time under another name is as old as the hit")
  func givenTimeIsGone() throws {
    try withMount { place throws in
      let script = "echo x > a; touch -d @1000000000 a; ln a b; echo y >> b"
      try place.acache(script)
      try place.shell("rm a b")
      try place.acache(script)
      #expect(try place.shell("stat -c %Y a").output != "1000000000\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }
}
