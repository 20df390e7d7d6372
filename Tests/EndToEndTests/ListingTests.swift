import Testing

@Suite("Listings of directories")
struct ListingTests {
  @Test("A new name, a removed one and one that changes its kind count; contents do not")
  func names() throws {
    try withTwins(prepare: "mkdir d; : > d/a; : > d/b") { twins throws in
      try twins.missThenHit("ls -p d")
      try twins.edit("echo content > d/a")
      try twins.edit("touch d/new")
      try twins.missThenHit("ls -p d")
      try twins.edit("rm d/b")
      try twins.missThenHit("ls -p d")
      try twins.edit("rm d/a; mkdir d/a")
      try twins.missThenHit("ls -p d")
      try twins.edit("rm d/new; rmdir d/a; : > d/a; : > d/b")
      try twins.hit("ls -p d")
    }
  }

  @Test("Who lists names and looks at none of them does not depend on contents")
  func contents() throws {
    try withTwins(prepare: "mkdir d; : > d/a") { twins throws in
      let script = "/usr/bin/python3 -I -S -c 'import os; print(sorted(os.listdir(\"d\")))'"
      try twins.missThenHit(script)
      try twins.edit("echo content > d/a")
      try twins.hit(script)
    }
  }

  @Test("A shell's pattern depends on the names that it could match")
  func globs() throws {
    try withTwins(prepare: "echo a > a.txt; echo b > b.txt") { twins throws in
      try twins.missThenHit("cat *.txt; echo *.none")
      try twins.edit("echo c > c.txt")
      try twins.missThenHit("cat *.txt; echo *.none")
      try twins.edit("mv c.txt c.none")
      try twins.missThenHit("cat *.txt; echo *.none")
      try twins.edit("rm c.none")
      try twins.hit("cat *.txt; echo *.none")
    }
  }

  @Test("A file that appears deep in a tree counts for who walks it")
  func deep() throws {
    try withTwins(prepare: "mkdir -p a/b/c; : > a/b/c/f") { twins throws in
      try twins.missThenHit("find . | sort")
      try twins.edit(": > a/b/c/g")
      try twins.missThenHit("find . | sort")
      try twins.edit("rm a/b/c/g; mkdir a/b/d")
      try twins.missThenHit("find . | sort")
      try twins.edit("rmdir a/b/d")
      try twins.hit("find . | sort")
    }
  }

  @Test("A command's own outputs in a directory that it lists are no new names")
  func ownOutputs() throws {
    try withTwins(prepare: "echo one > a.txt") { twins throws in
      try twins.missThenHit("cat *.txt > all")
      try twins.edit("rm all")
      try twins.hit("cat *.txt > all")
      try twins.edit("echo two > b.txt")
      try twins.missThenHit("cat *.txt > all")
      try twins.edit("rm all b.txt")
      try twins.hit("cat *.txt > all")
    }
  }

  @Test("Who prints a listing that his own output appears in prints what he would print")
  func ownOutputsSeen() throws {
    try withTwins(prepare: "echo one > a.txt") { twins throws in
      twins.options = ["--strict"]
      try twins.miss("ls; echo > out; ls")
      try twins.call(either: "ls; echo > out; ls")
      try twins.hit("ls; echo > out; ls")
      try twins.edit("rm out")
      try twins.hit("ls; echo > out; ls")
      try twins.edit("touch other")
      try twins.miss("ls; echo > out; ls")
    }
  }

  @Test("A long listing depends on sizes and permission bits")
  func longListing() throws {
    try withTwins(prepare: "mkdir d; echo one > d/a; chmod 644 d/a") { twins throws in
      let script = "stat -c '%n %s %a' d/*"
      try twins.missThenHit(script)
      try twins.edit("echo longer > d/a")
      try twins.missThenHit(script)
      try twins.edit("chmod 600 d/a")
      try twins.missThenHit(script)
    }
  }

  @Test("An empty directory and a missing one are two things")
  func emptyAndMissing() throws {
    try withTwins(prepare: "mkdir d") { twins throws in
      try twins.missThenHit("ls d 2>/dev/null || echo none")
      try twins.edit("rmdir d")
      try twins.missThenHit("ls d 2>/dev/null || echo none")
      try twins.edit("mkdir d")
      try twins.hit("ls d 2>/dev/null || echo none")
    }
  }
}
