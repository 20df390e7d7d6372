import Testing

@Suite("Odd names and sizes")
struct OddNameTests {
  /// As words of a shell's printf.
  static let names = [
    ("spaces", " a b  "), ("a newline", "a\\nb\\n"), ("invalid UTF-8", "\\377\\376x\\300"),
    ("quotes", "'\\\"`$x;*?[a]"),
    ("a leading dash", "-rf"), ("dots", "..."), ("a backslash", "a\\\\b"),
    ("control characters", "\\001\\033[31m\\177"),
    ("decomposed letters", "e\\314\\201"), ("255 bytes", String(repeating: "n", count: 255)), ("a tab", "\\t"),
  ]

  @Test("A file whose name has oddities is read, probed, listed, made, renamed and removed", arguments: names)
  func oddName(description: String, name: String) throws {
    // The x keeps a newline at the end from $( ).
    let set = "n=$(printf -- '\(name.replacing("'", with: "'\\''"))x'); n=${n%x}; "
    try withTwins(prepare: set + "mkdir d; echo one > \"./$n\"; echo two > \"d/$n\"") { twins throws in
      try twins.missThenHit(set + "cat \"./$n\"; cat \"d/$n\"; ls -A d | od -c")
      try twins.edit(set + "echo three > \"d/$n\"")
      try twins.missThenHit(set + "cat \"./$n\"; cat \"d/$n\"; ls -A d | od -c")
      let make = set + "rm -rf out; mkdir -p \"out/$n\"; cp \"./$n\" \"out/$n/$n\"; ln -s -- \"$n\" out/link"
      try twins.miss(make)
      try twins.call(either: make)
      try twins.edit("rm -r out")
      try twins.hit(make)
      let move = set + "mv \"./$n\" moved; rm \"d/$n\"; [ -e \"./$n\" ] || echo gone"
      try twins.miss(move)
      try twins.edit(set + "mv moved \"./$n\"; echo three > \"d/$n\"")
      try twins.hit(move)
    }
  }

  @Test("Odd arguments and environment values are passed on and told apart")
  func arguments() throws {
    try withTwins { twins throws in
      for argument in ["", " ", "a\nb", "'\"", "é", "-n", "--", "*"] {
        twins.shell = ["/usr/bin/printf", "[%s][%s]", argument]
        try twins.missThenHit("last")
      }
    }
  }

  @Test("A name of 256 bytes and a path longer than PATH_MAX fail as without acache")
  func tooLong() throws {
    try withTwins { twins throws in
      try twins.call(either: "n=$(printf %256s '' | tr ' ' n); cat $n 2>/dev/null; echo x > $n 2>/dev/null; echo $?")
      try twins.call(either: "n=$(printf %4200s '' | sed 's/../n\\//g'); cat $n 2>/dev/null || echo none")
    }
  }

  @Test("Files at paths near PATH_MAX are read, made, and put back")
  func longPath() throws {
    // 18 directories of 200 bytes, relative to the work directory.
    let enter = "d=$(printf %200s '' | tr ' ' d); p=.; for i in $(seq 18); do p=$p/$d; done; "
    try withTwins(prepare: enter + "mkdir -p $p; echo one > $p/in") { twins throws in
      try twins.missThenHit(enter + "cat $p/in")
      try twins.edit(enter + "echo two > $p/in")
      try twins.missThenHit(enter + "cat $p/in > $p/out; ls $p")
      try twins.edit(enter + "rm $p/out")
      try twins.hit(enter + "cat $p/in > $p/out; ls $p")
    }
  }

  @Test("A tree deeper than PATH_MAX is entered as without acache")
  func beyondPathMax() throws {
    let enter =
      "d=$(printf %200s '' | tr ' ' d); for i in $(seq 25); do mkdir -p $d; cd -P $d 2>/dev/null || break; done; "
    let place = try Place()
    #expect(try run(Programs.casherfs, ["mount", place.work], environment: place.environment).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    let script = enter + "echo deep > file; cat file"
    let plain = try place.shell("mkdir ../plain; cd ../plain; " + script)
    #expect(try place.acache(script).output == plain.output)
    #expect(try place.acache(script).output == plain.output)
    #expect(try place.acache(script).status == plain.status)
  }

  @Test("A directory of 100,000 files is listed, and one more counts")
  func manyFiles() throws {
    let prepare = "mkdir d; cd d; seq 100000 | xargs touch"
    let place = try Place()
    try place.shell(prepare)
    #expect(try run(Programs.casherfs, ["mount", place.work], environment: place.environment).status == 0)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    for wanted in ["100000\n", "100000\n"] { #expect(try place.acache("ls -U d | wc -l").output == wanted) }
    #expect(try place.counts() == Counts(hits: 1, misses: 1))
    try place.write("", to: "d/new")
    #expect(try place.acache("ls -U d | wc -l").output == "100001\n")
    #expect(try place.counts() == Counts(hits: 1, misses: 2))
  }

  @Test("Hundreds of outputs come back")
  func manyOutputs() throws {
    try withTwins { twins throws in
      let script = "mkdir d; cd d; for i in $(seq 300); do echo $i > $i; done"
      try twins.miss(script)
      try twins.edit("rm -r d")
      try twins.hit(script)
    }
  }

  @Test("A large output and an empty one come back")
  func sizes() throws {
    try withTwins { twins throws in
      let script = "head -c 50000000 /dev/zero | tr '\\0' x > large; : > empty; truncate -s 1G sparse"
      let look = "cksum large empty; stat -c '%n %s' sparse"
      #expect(try twins.place.acache(script).status == 0)
      let wanted = try twins.place.shell(look)
      try twins.place.shell("rm large empty sparse")
      #expect(try twins.place.acache(script).status == 0)
      #expect(try twins.place.shell(look) == wanted)
      #expect(try twins.place.counts() == Counts(hits: 1, misses: 1))
    }
  }
}
