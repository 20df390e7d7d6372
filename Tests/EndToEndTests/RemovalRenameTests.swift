import Testing

@Suite("Removal and renaming")
struct RemovalRenameTests {
  @Test("mv -n onto a name that was free is no hit when something stands there", arguments: [[], ["--strict"]])
  func renamedWithoutReplacing(options: [String]) throws {
    try withTwins(prepare: "echo one > a") { twins throws in
      twins.options = options
      try twins.miss("mv -n a b; cat b")
      try twins.edit("rm b; echo one > a")
      try twins.hit("mv -n a b; cat b")
      try twins.edit("echo one > a; echo two > b")
      try twins.miss("mv -n a b; cat b")
      try twins.edit("echo one > a; rm b; mkdir b")
      try twins.call(either: "mv -n a b; ls b")
    }
  }

  @Test("Removing a file does not depend on its content, and removes whatever is there")
  func removal() throws {
    try withTwins(prepare: "echo one > f") { twins throws in
      try twins.miss("rm f && echo removed")
      try twins.edit("echo two > f")
      try twins.call(either: "rm f && echo removed")
      try twins.edit("echo one > f")
      try twins.hit("rm f && echo removed")
      try twins.edit("ln -s nowhere f")
      try twins.call(either: "rm f && echo removed")
      try twins.notStored("rm f 2>/dev/null && echo removed", "failed", "--strict")
    }
  }

  @Test("rm -f of what is missing, and of what has appeared")
  func removalOfMissing() throws {
    try withTwins { twins throws in
      try twins.missThenHit("rm -f f")
      try twins.edit("echo one > f")
      try twins.call(either: "rm -f f")
      try twins.hit("rm -f f")
    }
  }

  @Test("Removing a tree removes what is in it now")
  func treeRemoval() throws {
    try withTwins(prepare: "mkdir -p d/e; echo 1 > d/a; echo 2 > d/e/b") { twins throws in
      try twins.miss("rm -r d")
      try twins.edit("mkdir -p d/e; echo 1 > d/a; echo 2 > d/e/b")
      try twins.hit("rm -r d")
      try twins.edit("mkdir -p d/e; echo 1 > d/a; echo 2 > d/e/b; echo 3 > d/e/new")
      try twins.miss("rm -r d")
      try twins.edit("mkdir -p d/e/f")
      try twins.miss("rm -r d")
    }
  }

  @Test("rmdir fails on a directory that is no longer empty")
  func directoryRemoval() throws {
    try withTwins(prepare: "mkdir d") { twins throws in
      try twins.miss("rmdir d")
      try twins.edit("mkdir d")
      try twins.hit("rmdir d")
      try twins.edit("mkdir d; : > d/f")
      try twins.notStored("rmdir d", "failed")
    }
  }

  @Test("What is renamed is an input; the new name has what the old one had")
  func rename() throws {
    try withTwins(prepare: "echo one > a") { twins throws in
      try twins.miss("mv a b")
      try twins.edit("mv b a")
      try twins.hit("mv a b")
      try twins.edit("rm b; echo two > a")
      try twins.miss("mv a b")
      try twins.edit("echo one > a; rm b; mkdir b")
      try twins.call(either: "mv a b")
    }
  }

  @Test("Renaming onto a file replaces it, whatever it was")
  func renameOnto() throws {
    try withTwins(prepare: "echo one > a; echo old > b") { twins throws in
      try twins.miss("mv -f a b")
      try twins.edit("echo one > a; echo other > b")
      try twins.call(either: "mv -f a b")
      try twins.edit("echo one > a; rm b; ln -s nowhere b")
      try twins.call(either: "mv -f a b")
      try twins.edit("echo one > a; ln b c; chmod 600 b")
      try twins.call(either: "mv -f a b")
    }
  }

  @Test("A renamed tree brings everything in it")
  func treeRename() throws {
    try withTwins(prepare: "mkdir -p d/e; echo 1 > d/a; echo 2 > d/e/b; ln -s a d/l") { twins throws in
      try twins.miss("mv d n; cat n/e/b")
      try twins.edit("mv n d")
      try twins.hit("mv d n; cat n/e/b")
      try twins.edit("mv n d; echo changed > d/a")
      try twins.miss("mv d n; cat n/e/b")
      try twins.edit("mv n d; echo 3 > d/e/new")
      try twins.miss("mv d n; cat n/e/b")
      try twins.edit("mv n d; mkdir n")
      try twins.call(either: "mv d n; cat n/e/b 2>/dev/null || cat n/d/e/b")
    }
  }

  @Test("What is changed in a tree that was renamed, and made where it had been, comes back")
  func renameAndChange() throws {
    try withTwins(prepare: "mkdir d; echo 1 > d/a; echo 2 > d/b") { twins throws in
      let script = "mv d n; echo changed > n/a; rm n/b; mkdir d; echo fresh > d/a; mv n/a d/c"
      try twins.miss(script)
      try twins.edit("rm -r d n; mkdir d; echo 1 > d/a; echo 2 > d/b")
      try twins.hit(script)
    }
  }

  @Test("Two names that change places")
  func swap() throws {
    try withTwins(prepare: "echo one > a; echo two > b") { twins throws in
      for _ in 1...3 { try twins.call(either: "mv a t; mv b a; mv t b") }
      try twins.edit("echo three > b")
      try twins.miss("mv a t; mv b a; mv t b")
    }
  }

  @Test("A tree that is removed and made again, with files that are appended to or read back, is a hit")
  func removedTreeMadeAgain() throws {
    let prepare = "mkdir -p d/sub; echo old > d/log; echo old > d/sub/log; echo old > d/back; echo one > in"
    try withTwins(prepare: prepare) { twins throws in
      let reading = "[ -e d/back ] || { read x < in; echo $x > d/back; read y < d/back; echo $y; }"
      for script in ["cat in >> d/log; cat in >> d/sub/log; cat d/log", reading] {
        let whole = "rm -rf d; mkdir -p d/sub; \(script)"
        try twins.call(either: whole)
        try twins.call(either: whole)
        try twins.hit(whole)
        try twins.edit("echo other > d/log; rm -f d/back")
        try twins.call(either: whole)
        try twins.hit(whole)
        try twins.edit("echo two > in")
        try twins.miss(whole)
        try twins.edit("echo one > in")
        try twins.call(either: whole)
      }
      try twins.edit("rm -r d; mkdir -p d/sub; echo old > d/log")
      try twins.missThenHit("rm -r d; mkdir d; cat in >> d/log; cat d/log")
      // What is appended to where nothing was removed before grows.
      try twins.edit("rm -r d")
      for _ in 1...3 { try twins.call(either: "mkdir -p d; cat in >> d/log; cat d/log") }
    }
  }

  @Test("A directory that is removed, made again and listed is a hit in each state", arguments: [[], ["--strict"]])
  func removedMadeAndListed(options: [String]) throws {
    try withTwins(prepare: "mkdir s s/sub; echo one > s/f; ln -s f s/l") { twins throws in
      twins.options = options
      let script = "rm -rf c; cp -r s c; ls c c/sub; for f in c/*; do echo $f; done"
      try twins.miss(script)
      if options.isEmpty { try twins.hit(script) } else { try twins.missThenHit(script) }
      for number in 1...2 {
        for content in ["x", "y"] {
          try twins.edit("rm -rf c; mkdir -p c/sub; echo \(content) > c/\(content)")
          if number == 1 { try twins.miss(script) } else { try twins.hit(script) }
        }
      }
    }
  }

  @Test("A file that is removed and made again")
  func removedAndMade() throws {
    try withTwins(prepare: "echo one > in; echo old > out; chmod 600 out") { twins throws in
      try twins.missThenHit("rm -f out; cat in > out")
      try twins.edit("echo other > out; chmod 640 out")
      try twins.call(either: "rm -f out; cat in > out")
      try twins.edit("rm out; mkdir out")
      try twins.notStored("rm -f out; cat in > out", "failed")
    }
  }
}
