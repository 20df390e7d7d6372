import Foundation
import Testing

@Suite("Mounting and unmounting")
struct MountTests {
  @Test("A mounted directory shows its files, and what is changed in it is there after unmounting")
  func roundTrip() throws {
    let place = try Place()
    try place.write("before", to: "kept")
    #expect(try place.casherfs("mount", place.work).status == 0)
    #expect(place.read("kept") == "before")
    try place.write("new", to: "made")
    try place.shell("mkdir d; ln -s made link; chmod 600 made; rm kept")
    #expect(try place.casherfs("unmount", place.work) == Outcome(status: 0, output: "", error: ""))
    #expect(place.read("made") == "new")
    #expect(try place.shell("ls -p; stat -c %a made; readlink link").output == "d/\nlink\nmade\n600\nmade\n")
  }

  @Test("Each thing that can be wrong with the target has one sentence and its own status")
  func targets() throws {
    let place = try Place()
    try place.write("", to: "file")
    var statuses: [Int32] = []
    for target in ["/nowhere", "/file"] {
      let outcome = try place.casherfs("mount", place.work + target)
      #expect(outcome.error.split(separator: "\n").count == 1)
      statuses.append(outcome.status)
    }
    #expect(statuses == [3, 4])
    #expect(try place.casherfs("unmount", place.work).status == 10)
  }

  @Test("A directory that may not be read is refused", .root)
  func unreadable() throws {
    let place = try Place()
    chmod(place.work, 0o700)
    let outcome = try run(
      "/usr/bin/setpriv", ["--reuid", "65534", "--clear-groups", Programs.casherfs, "mount", place.work],
      environment: place.environment)
    #expect(outcome.status == 7)
    #expect(outcome.error.contains("cannot be read"))
  }

  @Test("What is mounted already is not mounted again")
  func twice() throws {
    try withMount { place throws in
      let outcome = try place.casherfs("mount", place.work)
      #expect(outcome.status == 5)
      #expect(outcome.error.contains("already mounted"))
    }
  }

  @Test("A shell that stands in the directory is told how to get into the mount")
  func standingInside() throws {
    let place = try Place()
    let outcome = try place.casherfs("mount", ".", in: place.work)
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    #expect(outcome.status == 0)
    #expect(outcome.error.contains("cd ."))
  }

  @Test("A mount in use is not unmounted, and says so; when it is free, it is")
  func busy() throws {
    try withMount { place throws in
      let user = Process()
      user.executableURL = URL(fileURLWithPath: "/bin/cat")
      user.currentDirectoryURL = URL(fileURLWithPath: place.work)
      let pipe = Pipe()
      user.standardInput = pipe
      try user.run()
      let outcome = try place.casherfs("unmount", place.work)
      #expect(outcome.status == 6)
      #expect(outcome.error.contains("still in use"))
      try pipe.fileHandleForWriting.close()
      user.waitUntilExit()
      #expect(try place.casherfs("unmount", place.work).status == 0)
    }
  }

  @Test("Of several that mount a directory at once one does, and the others say that it is mounted")
  func mountedAtOnce() throws {
    try withMount { place throws in
      for _ in 0..<3 {
        try place.write("here", to: "file")
        let daemon = try #require(try place.daemon())
        kill(daemon, SIGKILL)
        try place.waitForEnd(of: daemon)
        let codes = try place.shell(
          "for i in 1 2 3 4; do { timeout 100 casherfs mount '\(place.work)'; echo $?; } & done; wait",
          in: place.base)
        #expect(codes.output.split(separator: "\n").sorted() == ["0", "5", "5", "5"], "\(codes)")
        #expect(place.read("file") == "here")
      }
    }
  }

  @Test("A mount whose daemon was killed says what to run, and that works")
  func killedDaemon() throws {
    try withMount { place throws in
      try place.write("kept", to: "file")
      let daemon = try #require(try place.daemon())
      kill(daemon, SIGKILL)
      try place.waitForEnd(of: daemon)
      let status = try place.casherfs("status", place.work)
      #expect(status.status == 11)
      #expect(status.output.contains("casherfs unmount \(place.work)"))
      #expect(try place.casherfs("unmount", place.work).status == 0)
      #expect(place.read("file") == "kept")
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(place.read("file") == "kept")
      let second = try #require(try place.daemon())
      kill(second, SIGKILL)
      try place.waitForEnd(of: second)
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(place.read("file") == "kept")
    }
  }

  @Test("SIGTERM, SIGINT and umount end the daemon cleanly", arguments: ["TERM", "INT", "umount"])
  func otherEnds(way: String) throws {
    try withMount { place throws in
      let daemon = try #require(try place.daemon())
      try place.shell(way == "umount" ? "umount '\(place.work)'" : "kill -\(way) \(daemon)", in: "/")
      try place.waitForEnd(of: daemon)
      #expect(try place.casherfs("unmount", place.work).status == 10)
    }
  }

  @Test(
    "What the directory is mounted from stays mounted, however the mount ends", .root,
    arguments: ["TERM", "lazily", "normally"])
  func whatIsBeneathStays(how: String) throws {
    let place = try Place()
    #expect(try place.shell("mount -t tmpfs tmpfs . && cd . && echo kept > file", in: place.work).status == 0)
    defer { _ = try? place.shell("umount -l '\(place.work)'; umount -l '\(place.work)'", in: "/") }
    for _ in 1...5 {
      #expect(try place.casherfs("mount", place.work).status == 0)
      let daemon = try #require(try place.daemon())
      // Another mount namespace keeps the filesystem alive after it was unmounted here.
      let holder = Process()
      holder.executableURL = URL(fileURLWithPath: "/bin/bash")
      // It keeps none of the pipes that others read to the end; but the socket by which Foundation knows that it runs.
      let script = """
        for f in /proc/$$/fd/*; do n=${f##*/}; case $n:$(readlink $f) in [012]:*) ;; *:pipe:*) eval "exec $n>&-"; esac; done
        exec unshare --mount sleep 600
        """
      holder.arguments = ["-c", script]
      (holder.standardOutput, holder.standardError) = (FileHandle.nullDevice, FileHandle.nullDevice)
      try holder.run()
      // It may have SIGTERM blocked, from the thread that starts it.
      defer {
        kill(holder.processIdentifier, SIGKILL)
        holder.waitUntilExit()
      }
      // The namespace is there once unshare(1) has become sleep(1): a change of /proc, which tells of none.
      let program = "readlink /proc/\(holder.processIdentifier)/exe"
      var looks = 0
      while try !place.shell(program).output.contains("sleep") {
        looks += 1
        try #require(looks < 10_000, "unshare(1) has not begun")
        usleep(2000)
      }
      switch how {
      case "TERM": kill(daemon, SIGTERM)
      case "lazily": #expect(try place.casherfs("unmount", "--lazy", place.work).status == 0)
      default: #expect(try place.casherfs("unmount", place.work).status == 0)
      }
      if how == "TERM" { try place.waitForEnd(of: daemon) }
      #expect(try place.shell("cat '\(place.work)/file'", in: "/").output == "kept\n")
    }
  }

  @Test("status tells what is mounted and how")
  func status() throws {
    try withMount { place throws in
      let mounts = try place.casherfs("status", "--json").json(as: [[String: Any]].self)
      let mount = try #require(mounts.first { $0["directory"] as? String == place.work })
      #expect(mount["alive"] as? Bool == true)
      #expect(mount["process"] is Int)
      #expect(mount["passthrough"] != nil)
      #expect(try place.casherfs("status", place.work).output.contains(place.work))
    }
  }

  @Test("An ordinary user lists a directory that may be read but not searched, as without the mount", .root)
  func unsearchable() throws {
    let script = """
      mkdir w p; for d in w p; do mkdir $d/d; touch $d/d/f; chmod 444 $d/d; done
      CASHER_CACHE_DIR=$PWD/c; export CASHER_CACHE_DIR; "$CASHER_BIN_DIR/casherfs" mount w || exit
      (cd w; ls d 2>/dev/null; stat d/f 2>/dev/null; echo $?); (cd p; ls d 2>/dev/null; stat d/f 2>/dev/null; echo $?)
      "$CASHER_BIN_DIR/casherfs" unmount w; chmod 755 w/d p/d
      """
    let outcome = try run(
      "/bin/bash", ["scripts/as-user", "/bin/sh", "-c", script], in: FileManager.default.currentDirectoryPath,
      environment: ["PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "CASHER_BIN_DIR": Programs.directory])
    #expect(outcome == Outcome(status: 0, output: "f\n1\nf\n1\n", error: ""))
  }

  @Test("While another filesystem is mounted in the mount, a command sees and writes it, and nothing is stored", .root)
  func otherFilesystemBelow() throws {
    try withMount { place throws in
      let script = "cat a/b/in; echo made > a/b/out"
      try place.shell("mkdir -p a/b; echo beneath > a/b/in")
      #expect(try place.acache(script).output == "beneath\n")
      try place.shell("rm a/b/out; mount -t tmpfs none a/b; echo above > a/b/in")
      defer { _ = try? place.shell("umount -l a/b") }
      for directory in [place.work, place.work + "/a"] {
        let outcome = try place.acache("cd '\(place.work)'; \(script)", in: directory)
        let reason = "\(place.work): another filesystem is mounted in it, at \(place.work)/a/b"
        let error = "acache: \(reason); running without cache\n"
        #expect(outcome == Outcome(status: 0, output: "above\n", error: error))
      }
      #expect(try place.acache(script, options: ["--require-cache"]).status == 125)
      #expect(try place.shell("cat a/b/out; umount a/b; ls a/b").output == "made\nin\n")
      #expect(try place.acache(script).output == "beneath\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("Names of any bytes, spaces and newlines in the mount's own path do no harm")
  func oddNames() throws {
    let place = try Place()
    let odd = place.base + "/with space\nand newline"
    try FileManager.default.createDirectory(atPath: odd, withIntermediateDirectories: true)
    #expect(try place.casherfs("mount", odd).status == 0)
    #expect(try place.acache("echo x > out; cat out", in: odd).output == "x\n")
    #expect(try place.casherfs("unmount", odd).status == 0)
    #expect(FileManager.default.fileExists(atPath: odd + "/out"))
  }
}

extension Place {
  /// The process that serves the mount.
  func daemon() throws -> Int32? {
    let mounts = try casherfs("status", work, "--json").json(as: [[String: Any]].self)
    return (mounts.first?["process"] as? Int).flatMap { Int32(exactly: $0) }
  }

  /// Waits until the process is gone, two minutes at most; tail(1) ends with it.
  func waitForEnd(of process: Int32) throws {
    let wait = try shell("exec timeout 120 tail --pid=\(process) -s 0.02 -f /dev/null", in: "/")
    try #require(wait.status == 0, "process \(process) has not ended")
  }
}
