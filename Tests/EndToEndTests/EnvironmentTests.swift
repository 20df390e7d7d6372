import Foundation
import Testing

@Suite("The environment and the working directory")
struct EnvironmentTests {
  @Test("A variable that is set, changed or removed counts")
  func variables() throws {
    try withTwins { twins throws in
      try twins.missThenHit("echo ${COLOUR-none}")
      twins.place.environment["COLOUR"] = "red"
      try twins.missThenHit("echo ${COLOUR-none}")
      twins.place.environment["COLOUR"] = ""
      try twins.missThenHit("echo ${COLOUR-none}")
      twins.place.environment["COLOUR"] = nil
      try twins.hit("echo ${COLOUR-none}")
    }
  }

  @Test("Session noise does not count, and the command still sees it; --env makes it count")
  func noise() throws {
    try withMount { place throws in
      place.environment["TERM"] = "vt100"
      #expect(try place.acache("echo $TERM").output == "vt100\n")
      place.environment["TERM"] = "xterm"
      place.environment["SSH_CLIENT"] = "10.0.0.1"
      #expect(try place.acache("echo $TERM").output == "vt100\n")
      #expect(try place.acache("echo $TERM", options: ["--env", "TERM"]).output == "xterm\n")
      place.environment["TERM"] = "linux"
      #expect(try place.acache("echo $TERM", options: ["--env=TERM"]).output == "linux\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 3))
    }
  }

  @Test("--ignore-env drops a variable")
  func ignored() throws {
    try withMount { place throws in
      let options = ["--ignore-env", "JOB"]
      place.environment["JOB"] = "1"
      try place.acache("true", options: options)
      place.environment["JOB"] = "2"
      try place.acache("true", options: options)
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
      try place.acache("true")
      place.environment["JOB"] = "1"
      try place.acache("true")
      #expect(try place.counts() == Counts(hits: 1, misses: 3))
    }
  }

  @Test("--only-env keeps the variables named, and the command sees no others")
  func only() throws {
    try withMount { place throws in
      let options = ["--only-env", "A,B"]
      place.environment["A"] = "1"
      place.environment["C"] = "3"
      let script = "echo $A-$B-$C"
      #expect(try place.acache(script, options: options).output == "1--\n")
      place.environment["C"] = "4"
      #expect(try place.acache(script, options: options).output == "1--\n")
      place.environment["B"] = "2"
      #expect(try place.acache(script, options: options).output == "1-2-\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
    }
  }

  @Test("Values of variables are nowhere in the cache")
  func secrets() throws {
    try withMount { place throws in
      place.environment["TOKEN"] = "correct-horse-battery"
      place.environment["SSH_NOTE"] = "correct-horse-battery"
      try place.acache("true")
      #expect(try place.counts() == Counts(hits: 0, misses: 1))
      let found = try place.shell("grep -rl correct-horse-battery ../cache | wc -l")
      #expect(found.output == "0\n")
    }
  }

  @Test("The umask and the user count")
  func umaskAndUser() throws {
    try withTwins { twins throws in
      try twins.edit("chmod 777 .")
      let place = twins.place
      let script = "acache -- sh -c 'rm -f f; echo x > f'; stat -c %a f"
      #expect(try place.shell("umask 022; " + script).output == "644\n")
      #expect(try place.shell("umask 077; " + script).output == "600\n")
      #expect(try place.shell("umask 022; rm f; " + script).output == "644\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 2))
      guard geteuid() == 0 else { return }
      #expect(
        try place.shell("acache -- id -u; setpriv --reuid 1234 --clear-groups acache -q -- id -u").output == "0\n1234\n"
      )
    }
  }

  @Test("The same command in another directory of the mount is another command")
  func directory() throws {
    try withTwins(prepare: "mkdir a b; echo one > a/in; echo two > b/in") { twins throws in
      try twins.missThenHit("cat in > out", in: "a")
      try twins.missThenHit("cat in > out", in: "b")
      try twins.hit("cat in > out", in: "a")
    }
  }

  @Test("A directory that is entered through a symlink is the one it leads to, and PWD as without acache")
  func directoryThroughSymlink() throws {
    try withTwins(prepare: "mkdir a; echo one > a/in; ln -s a l") { twins throws in
      try twins.missThenHit("cat in", in: "l")
      try twins.edit("mkdir b; echo two > b/in; ln -sfn b l")
      try twins.missThenHit("cat in", in: "l")
    }
  }

  @Test("The name by which a shell has entered the directory counts when it is not the directory's own")
  func nameOfDirectory() throws {
    try withMount { place throws in
      try place.shell("mkdir a; ln -s a l")
      func names(_ directory: String) throws -> String {
        let script = "acache -- sh -c 'pwd; pwd -P'"
        return try place.shell("cd \(directory) && \(script)").output.replacingOccurrences(of: place.work, with: "")
      }
      for _ in 1...2 {
        #expect(try names("a") == "/a\n/a\n")
        #expect(try names("l") == "/l\n/a\n")
      }
      #expect(try place.counts() == Counts(hits: 2, misses: 2))
      // Left over from another directory, it names nothing.
      let elsewhere = try place.shell("cd a && PWD=/ acache -- sh -c 'pwd; pwd -P'")
      #expect(elsewhere.output == "\(place.work)/a\n\(place.work)/a\n")
      #expect(try place.counts() == Counts(hits: 3, misses: 2))
      #expect(try place.shell("cd l && acache --ignore-env=PWD -- sh -c 'pwd; pwd -P'").status == 0)
      #expect(try place.counts() == Counts(hits: 4, misses: 2))
    }
  }

  @Test("The same tree mounted elsewhere is another, and hits with --relocatable")
  func relocatable() throws {
    let (one, other) = (try Place(), try Place())
    other.environment["CASHER_CACHE_DIR"] = one.environment["CASHER_CACHE_DIR"]
    other.environment["HOME"] = one.environment["HOME"]
    for place in [one, other] {
      #expect(try place.casherfs("mount", place.work).status == 0)
      try place.write("text\n", to: "in")
    }
    defer { for place in [one, other] { _ = try? place.casherfs("unmount", "--lazy", place.work) } }
    for place in [one, other] { #expect(try place.acache("cat in").output == "text\n") }
    #expect(try one.counts() == Counts(hits: 0, misses: 2))
    for place in [one, other] {
      #expect(try place.acache("cat in > out; cat out", options: ["--relocatable"]).output == "text\n")
      #expect(place.read("out") == "text\n")
    }
    #expect(try one.counts() == Counts(hits: 1, misses: 3))
    // An output or a stream that names the mount is not shared.
    for (script, name) in [("pwd > where; cat where", "where"), ("pwd", nil)] {
      for place in [one, other] {
        for _ in 1...2 {
          let outcome = try place.acache(script, options: ["--relocatable"])
          #expect(outcome.output == place.work + "\n")
          if let name { #expect(place.read(name) == place.work + "\n") }
        }
      }
    }
    #expect(try one.counts() == Counts(hits: 5, misses: 7))
  }

  /// Two mounts with one cache, each in a directory of its own; their commands run with `--relocatable`.
  private func withCheckouts(_ body: ([Place]) throws -> Void) throws {
    let places = [try Place(), try Place()]
    for place in places {
      for name in ["CASHER_CACHE_DIR", "HOME"] { place.environment[name] = places[0].environment[name] }
      #expect(try place.casherfs("mount", place.work).status == 0)
    }
    defer { for place in places { _ = try? place.casherfs("unmount", "--lazy", place.work) } }
    try body(places)
  }

  @Test("With --relocatable what is named from the mount (../file) is another file in another mount")
  func relocatableBeside() throws {
    try withCheckouts { places throws in
      let reading = "cat ../common; [ -e ../more ] && echo more; ls ..; true"
      for (number, place) in places.enumerated() {
        try place.shell("echo \(number) > ../common; mkdir -p ../cache")
        for _ in 1...2 {
          #expect(try place.acache(reading, options: ["--relocatable"]).output == place.shell(reading).output)
        }
      }
      // Alike, they are the same.
      for place in places { try place.shell("echo 2 > ../common") }
      let before = try places[0].counts()
      for place in places {
        #expect(try place.acache("cat ../common", options: ["--relocatable"]).output == "2\n")
      }
      #expect(try places[0].counts() == Counts(hits: before.hits + 1, misses: before.misses + 1))
      try places[1].shell("echo 3 > ../common")
      #expect(try places[1].acache("cat ../common", options: ["--relocatable"]).output == "3\n")
    }
  }

  @Test("With --relocatable what is written beside one mount is not written there for another")
  func relocatableOutput() throws {
    try withCheckouts { places throws in
      for place in places {
        try place.write("x\n", to: "in")
        try place.acache("cp in ../copy", options: ["--relocatable"])
        #expect(try place.shell("cat ../copy; rm ../copy").output == "x\n")
      }
      #expect(try places[0].counts() == Counts(hits: 0, misses: 2))
    }
  }

  @Test("With --relocatable a result whose names or attributes hold the mount's path is not shared")
  func relocatableNames() throws {
    try withCheckouts { places throws in
      for place in places {
        try place.write("x\n", to: "in")
        for _ in 1...2 {
          try place.acache("mkdir -p \"tree$PWD\"", options: ["--relocatable"])
          #expect(try place.shell("[ -d \"tree$PWD\" ] && rm -r tree").status == 0)
          try place.acache("setfattr -n user.from -v \"$PWD\" in", options: ["--relocatable"])
          let attribute = try place.shell("getfattr --only-values -n user.from in; setfattr -x user.from in")
          #expect(attribute.output == place.work)
        }
      }
      #expect(try places[0].counts() == Counts(hits: 4, misses: 4))
    }
  }

  @Test("casherfs config prints the variables that do not count")
  func noiseList() throws {
    let place = try Place()
    let outcome = try place.casherfs("config")
    #expect(outcome.status == 0)
    for name in ["TERM", "SSH_*", "OLDPWD"] { #expect(outcome.output.contains(name)) }
  }
}
