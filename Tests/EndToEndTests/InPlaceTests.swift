import Testing

@Suite("Files that are updated in place")
struct InPlaceTests {
  /// A command that updates `f`, and another content of it before.
  static let commands = [
    ("sort -o", "sort -o f f"),
    ("sed -i", "sed -i s/b/x/ f"),
    ("dd without truncation", "printf Z | dd of=f bs=1 seek=1 conv=notrunc 2>/dev/null"),
    ("an append", "echo more >> f"),
    ("<>", "printf Y 1<> f"),
    ("truncate", "truncate -s 3 f"),
    (
      "a mapped write",
      "/usr/bin/python3 -c 'import mmap; f=open(\"f\",\"r+b\"); m=mmap.mmap(f.fileno(),0); m[0:1]=b\"W\"'"
    ),
    ("reading and writing", "/usr/bin/python3 -c 'f=open(\"f\",\"r+\"); t=f.read(); f.seek(0); f.write(t[::-1])'"),
    ("shred and rewrite", "cat f > g; tr a-z A-Z < g > f; rm g"),
    ("tee -a", "echo x | tee -a f"),
    ("a hole", "fallocate -p -o 0 -l 1 f; truncate -s 9000 f"),
    ("copying a range", "dd if=f of=f bs=1 count=1 seek=4 conv=notrunc 2>/dev/null"),
  ]

  @Test("A command that updates a file in place gives what it gives, on each content", arguments: commands)
  func updates(name: String, command: String) throws {
    try withTwins(prepare: "printf 'b\\na\\nc\\n' > f") { twins throws in
      // What it leaves is another input, unless the command leaves what it finds.
      for _ in 1...3 { try twins.call(either: command) }
      try twins.edit("printf 'b\\na\\nc\\n' > f")
      try twins.hit(command)
      try twins.edit("printf 'q\\nb\\np\\n' > f")
      try twins.miss(command)
      try twins.edit("printf 'b\\na\\nc\\n' > f; chmod 600 f")
      try twins.call(either: command)
      try twins.edit("ln f link")
      try twins.call(either: command)
    }
  }

  @Test("Appending to a file that is missing makes it, and what is there then is appended to")
  func appendToMissing() throws {
    try withTwins { twins throws in
      for _ in 1...3 { try twins.miss("echo line >> log") }
      try twins.edit("rm log")
      try twins.hit("echo line >> log")
      try twins.edit(": > log")
      try twins.call(either: "echo line >> log")
    }
  }

  @Test("A database is updated as without acache")
  func database() throws {
    try withTwins(prepare: "sqlite3 db 'create table t (x); insert into t values (1)'") { twins throws in
      let update = "sqlite3 db 'update t set x = x + 1; select x from t'"
      let place = twins.place
      // The file's change counter makes each state another; its bytes need not be those of the plain twin.
      for wanted in 2...4 { #expect(try place.acache(update).output == "\(wanted)\n") }
      #expect(try place.shell("sqlite3 db 'pragma integrity_check; select x from t'").output == "ok\n4\n")
      #expect(try place.counts() == Counts(hits: 0, misses: 3))
    }
  }

  @Test("A database with a write-ahead log is updated as without acache")
  func databaseWithLog() throws {
    try withTwins(prepare: "sqlite3 db 'pragma journal_mode=wal; create table t (x)' > /dev/null") { twins throws in
      let place = twins.place
      for wanted in 1...3 {
        #expect(
          try place.acache("sqlite3 db 'insert into t values (1); select count(*) from t'").output == "\(wanted)\n")
      }
      #expect(try place.shell("sqlite3 db 'pragma integrity_check; select count(*) from t'").output == "ok\n3\n")
    }
  }

  @Test("Changed permission bits, owners and attributes come back, and are changed on other contents too", .root)
  func attributes() throws {
    try withTwins(prepare: "echo one > f; mkdir d") { twins throws in
      let script = "chmod 751 f d; chown 1:2 f"
      try twins.missThenHit(script)
      try twins.edit("chmod 600 f d; chown 0:0 f d")
      try twins.call(either: script)
      try twins.edit("echo two > f; chmod 644 f")
      try twins.call(either: script)
      try twins.edit("rm f; : > f")
      try twins.call(either: script)
    }
  }

  @Test("A change of owner comes back for files that are as they were, directories, symlinks and FIFOs", .root)
  func owners() throws {
    try withTwins(prepare: "echo one > f; mkdir d; ln -s f l; mkfifo p; touch -d @1234567890 f") { twins throws in
      let script = "chown 7:8 f d p; chown -h 7:8 l; chmod 604 p"
      try twins.missThenHit(script)
      try twins.edit("chown -h 0:0 f d l p; chmod 640 p")
      try twins.call(either: script)
      try twins.edit("chown -h 0:0 f d l p; chmod 640 p")
      try twins.hit(script)
      // The file's content has long been known.
      try twins.hit("chown 7:8 f d p; chown -h 7:8 l; chmod 604 p")
      try twins.edit("chown 0:0 f")
      try twins.call(either: "cat f; chgrp 5 f")
      try twins.edit("chown 0:0 f; touch -d @1234567890 f")
      try twins.call(either: "cat f; chgrp 5 f")
      try twins.edit("chown 0:0 f; touch -d @1234567890 f")
      try twins.hit("cat f; chgrp 5 f")
      #expect(try twins.place.shell("stat -c %g f").output == "5\n")
    }
  }

  @Test("Extended attributes of a directory come back, are taken away again, and those of another hand stay")
  func directoryAttributes() throws {
    try withTwins(prepare: "mkdir d") { twins throws in
      let attributes = "getfattr -d d e 2>/dev/null"
      func same() throws {
        let (mounted, plainly) = (
          try twins.place.shell(attributes), try twins.place.shell(attributes, in: twins.plain)
        )
        #expect(mounted.output == plainly.output)
      }
      for script in [
        "setfattr -n user.a -v 1 d; mkdir -p e; setfattr -n user.b -v 2 e", "setfattr -x user.a d",
        "mkdir -p e; : > e/f",
      ] {
        try twins.edit("rm -rf d e; mkdir d; setfattr -n user.a -v 0 d")
        try twins.miss(script)
        try same()
        try twins.edit("rm -rf d e; mkdir d; setfattr -n user.a -v 0 d")
        try twins.hit(script)
        try same()
      }
      try twins.edit("setfattr -n user.mine -v x e")
      try twins.hit("mkdir -p e; : > e/f")
      try same()
    }
  }

  @Test("An extended attribute that is all that a command changes of a file comes back, or is taken away again")
  func fileAttributes() throws {
    try withTwins(prepare: "echo one > f") { twins throws in
      for (before, script, after) in [
        ("setfattr -x user.a f; true", "setfattr -n user.a -v 1 f", "1"),
        ("setfattr -n user.a -v 0 f", "setfattr -n user.a -v 1 f", "1"),
        ("setfattr -n user.a -v 0 f", "cat f; setfattr -x user.a f", ""),
      ] {
        try twins.edit(before + " 2>/dev/null")
        try twins.miss(script)
        for _ in 1...2 {
          try twins.edit(before)
          try twins.hit(script)
          #expect(try twins.place.shell("getfattr --only-values -n user.a f 2>/dev/null").output == after)
        }
      }
    }
  }

  @Test("An explicit modification time comes back")
  func explicitTime() throws {
    try withTwins(prepare: "echo one > f") { twins throws in
      try twins.miss("touch -d @1111111111 f")
      try twins.edit("touch f")
      try twins.call(either: "touch -d @1111111111 f")
      #expect(try twins.place.shell("stat -c %Y f").output == "1111111111\n")
      let link = "ln -sfn f l; touch -h -d @1111111111 l"
      try twins.miss(link)
      try twins.edit("touch -h l")
      try twins.hit(link)
      #expect(try twins.place.shell("stat -c %Y l").output == "1111111111\n")
      try twins.edit("rm -f l")
      try twins.hit(link)
      #expect(try twins.place.shell("stat -c %Y l").output == "1111111111\n")
    }
  }

  @Test("Permission bits that are changed by adding to them depend on those before")
  func relativeBits() throws {
    try withTwins(prepare: "echo one > f; chmod 600 f") { twins throws in
      try twins.miss("chmod g+r f; stat -c %a f")
      try twins.edit("chmod 602 f")
      try twins.miss("chmod g+r f; stat -c %a f")
      try twins.edit("chmod 600 f")
      try twins.hit("chmod g+r f; stat -c %a f")
    }
  }
}
