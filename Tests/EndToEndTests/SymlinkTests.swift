import Testing

@Suite("Symlinks")
struct SymlinkTests {
  @Test("The content behind a symlink counts")
  func content() throws {
    try withTwins(prepare: "echo one > file; ln -s file link") { twins throws in
      try twins.missThenHit("cat link")
      try twins.edit("echo two > file")
      try twins.missThenHit("cat link")
    }
  }

  @Test("A symlink that is pointed elsewhere counts, also where the content is the same")
  func retargeted() throws {
    try withTwins(prepare: "echo one > a; echo two > b; ln -s a link") { twins throws in
      try twins.missThenHit("cat link")
      try twins.edit("ln -sfn b link")
      try twins.missThenHit("cat link")
      try twins.edit("ln -sfn a link")
      try twins.hit("cat link")
      try twins.missThenHit("readlink link")
      try twins.edit("ln -sfn ./a link")
      try twins.missThenHit("readlink link")
    }
  }

  @Test("A symlink to a copy in place of the directory that was copied comes back")
  func inPlaceOfDirectory() throws {
    try withTwins(prepare: "mkdir -p t/deep d; echo one > t/one; echo two > t/deep/two") { twins throws in
      let script = "cp -r t d && rm -r t && ln -s d/t t && cat t/one t/deep/two"
      try twins.miss(script)
      try twins.edit("rm -r t d/t; mkdir -p t/deep; echo one > t/one; echo two > t/deep/two")
      try twins.hit(script)
      try twins.edit("ls -l t/ d/t | wc -l")
    }
  }

  @Test("A symlink on the way to a file counts")
  func component() throws {
    try withTwins(prepare: "mkdir a b; echo one > a/f; echo two > b/f; ln -s a current; ln -s current/. chain") {
      twins throws in
      try twins.missThenHit("cat current/f chain/f")
      try twins.edit("ln -sfn b current")
      try twins.missThenHit("cat current/f chain/f")
      try twins.edit("ln -sfn nowhere current")
      try twins.missThenHit("cat current/f chain/f 2>/dev/null || echo none")
      try twins.edit("rm current; mkdir current; echo three > current/f")
      try twins.missThenHit("cat current/f chain/f")
      try twins.edit("rm -r current; ln -s a current")
      try twins.hit("cat current/f chain/f")
    }
  }

  @Test("A dangling symlink counts: when its target appears, the command runs again")
  func dangling() throws {
    try withTwins(prepare: "ln -s nowhere link") { twins throws in
      let script = "[ -L link ] && echo link; cat link 2>/dev/null || echo dangling"
      try twins.missThenHit(script)
      try twins.edit("echo there > nowhere")
      try twins.missThenHit(script)
      try twins.edit("rm nowhere")
      try twins.hit(script)
    }
  }

  @Test("A symlink that becomes a file with the target's content is no symlink any more")
  func replacedByFile() throws {
    try withTwins(prepare: "echo one > file; ln -s file link") { twins throws in
      let script = "[ -L link ] && echo link; cat link"
      try twins.missThenHit(script)
      try twins.edit("rm link; cp file link")
      try twins.missThenHit(script)
    }
  }

  @Test("Symlinks that lead in a circle, or out of the mount, are followed as without acache")
  func circleAndOutside() throws {
    try withTwins(prepare: "ln -s b a; ln -s a b") { twins throws in
      try twins.missThenHit("cat a 2>&1 || true")
      try twins.edit("ln -sfn ../out/x a; echo outside > ../out/x")
      try twins.missThenHit("cat a b 2>&1 || true")
      try twins.edit("echo changed > ../out/x")
      try twins.missThenHit("cat a b 2>&1 || true")
      try twins.edit("rm ../out/x")
      try twins.missThenHit("cat a b 2>/dev/null || true")
    }
  }

  @Test("Writing through a symlink writes its target, on a hit too")
  func writtenThrough() throws {
    try withTwins(prepare: "echo one > in; echo old > target; ln -s target out") { twins throws in
      try twins.missThenHit("cat in > out")
      try twins.edit("echo old > target")
      try twins.call(either: "cat in > out")
      try twins.edit("rm target")
      try twins.call(either: "cat in > out")
      try twins.edit("rm out")
      try twins.call(either: "cat in > out")
      try twins.edit("ln -sfn other out")
      try twins.call(either: "cat in > out")
    }
  }

  @Test("Symlinks that a command makes come back, dangling ones too, and ln -sf replaces as without acache")
  func made() throws {
    try withTwins { twins throws in
      let script = "ln -sfn nowhere/at/all a; ln -sfn . b"
      try twins.missThenHit(script)
      try twins.edit("rm a b")
      try twins.hit(script)
      try twins.edit("rm a; echo file > a; ln -sfn elsewhere b")
      try twins.call(either: script)
      try twins.edit("rm a b; mkdir a")
      try twins.call(either: script)
    }
  }

  @Test("The owner of a symlink counts", .root)
  func owner() throws {
    try withTwins(prepare: "ln -s nowhere link") { twins throws in
      try twins.missThenHit("stat -c '%u %g' link")
      try twins.edit("chown -h 12:34 link")
      try twins.missThenHit("stat -c '%u %g' link")
      try twins.edit("chown -h 0:34 link")
      try twins.missThenHit("stat -c '%u %g' link")
      try twins.edit("chown -h 12:34 link")
      try twins.hit("stat -c '%u %g' link")
      try twins.missThenHit("chown -h --from=12 56 link; stat -c '%u %g' link")
    }
  }
}
