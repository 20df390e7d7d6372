import Foundation
import Testing

/// What programs that are no part of Casher expect of any filesystem.
@Suite("The mount as a filesystem") struct FileSystemTests {
  @Test("A daemon that has no descriptor left keeps its mount, whatever others mount")
  func noDescriptors() throws {
    try withMount { place throws in
      try place.write("here", to: "in")
      let daemon = try #require(try place.daemon())
      let outcome = try place.shell(
        """
        exec 2>&1; mkdir other; most=$(prlimit --pid \(daemon) --nofile --noheadings -o SOFT)
        prlimit --pid \(daemon) --nofile=3:
        for i in 1 2 3 4 5 6 7 8 9 10; do mount -t tmpfs none other; umount other; done
        prlimit --pid \(daemon) --nofile=$most:
        """, in: place.base)
      #expect(outcome == Outcome(status: 0, output: "", error: ""))
      // The daemon has looked at the mount table by the time that it has answered to a hit.
      for _ in 1...3 { #expect(try place.acache("cat in").output == "here") }
      #expect(try place.counts() == Counts(hits: 2, misses: 1))
      #expect(try place.shell("mountpoint -q .; echo $?; cat in").output == "0\nhere")
    }
  }

  private static let nameless = """
    /usr/bin/python3 -SEc '
    import os, ctypes
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, open("in", "rb").read() * 2)
    assert os.fstat(fd).st_nlink == 0 and "out" not in os.listdir()
    link = ctypes.CDLL(None).linkat(-100, b"/proc/self/fd/%d" % fd, -100, b"out", 0x400)
    os.write(fd, b"end")
    print(link, os.fstat(fd).st_nlink, os.fstat(fd).st_ino == os.stat("out").st_ino)'
    """

  @Test("A file that is made without a name and named later is an output like any other")
  func madeWithoutName() throws {
    try withMount { place throws in
      for (round, text) in ["one", "two", "one", "two"].enumerated() {
        try place.write(text, to: "in")
        try place.shell("rm -f out")
        #expect(try place.acache(FileSystemTests.nameless).output == "0 1 True\n")
        #expect(try place.shell("cat out; stat -c ' %a %h' out; ls").output == "\(text)\(text)end 640 1\nin\nout\n")
        #expect(try place.counts() == Counts(hits: max(0, round - 1), misses: min(2, round + 1)))
      }
    }
  }

  @Test("Access lists of the directory decide in the mount too, and are inherited")
  func accessLists() throws {
    let place = try Place()
    // Of "f" the named user may read what its group may not; "d" hands read and write for that user down.
    let prepared = try place.shell(
      """
      /usr/bin/python3 -SEc '
      import os, struct
      def entries(*all): return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", t, p, i & 0xffffffff) for t, p, i in all)
      open("f", "w").write("secret"); os.mkdir("d"); os.chown("f", 0, 1235)
      for name, kind in ("f", "access"), ("d", "default"):
        os.setxattr(name, "system.posix_acl_" + kind, entries((1, 6, -1), (2, 6, 1234), (4, 0, -1), (16, 6, -1), (32, 0, -1)))'
      """)
    #expect(prepared == Outcome(status: 0, output: "", error: ""))
    let mounted = try place.casherfs("mount", place.work)
    try #require(mounted.status == 0, "\(mounted.error)")
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    func reads(_ name: String, _ user: Int, _ group: Int) throws -> Int32 {
      try place.shell("setpriv --reuid \(user) --regid \(group) --clear-groups cat \(name)").status
    }
    #expect(try reads("f", 1234, 1234) == 0)
    #expect(try reads("f", 1236, 1235) == 1)
    try place.shell("umask 077; chmod 755 d; echo new > d/made; mkdir d/sub; umask 022; echo new > plain")
    #expect(try place.shell("stat -c '%a %n' d/made plain").output == "660 d/made\n644 plain\n")
    #expect(try reads("d/made", 1234, 1234) == 0)
    #expect(try reads("d/made", 1236, 0) == 1)
  }

  @Test("What may only be appended to is not overwritten through the mount")
  func appendOnly() throws {
    let place = try Place()
    try place.write("log\n", to: "log")
    // Not every filesystem knows the attribute, nor may every root set it.
    guard try place.shell("chattr +a log").status == 0 else { return }
    defer { _ = try? place.shell("chattr -a log") }
    let mounted = try place.casherfs("mount", place.work)
    try #require(mounted.status == 0, "\(mounted.error)")
    #expect(try place.shell("echo more >> log; echo X 1<> log; echo X > log; cat log").output == "log\nmore\n")
    #expect(try place.casherfs("unmount", place.work).status == 0)
  }

  @Test("What a rename leaves at the old name belongs to who renames")
  func whiteout() throws {
    try withMount { place throws in
      let outcome = try place.shell(
        """
        chmod 777 .; exec setpriv --reuid 1234 --regid 1234 --clear-groups /usr/bin/python3 -SEc '
        import ctypes, os
        open("old", "w")
        if ctypes.CDLL(None).renameat2(-100, b"old", -100, b"new", 4): os.rename("old", "new"); open("old", "w")
        print(os.stat("old").st_uid, os.stat("old").st_gid, sorted(os.listdir()))'
        """)
      #expect(outcome == Outcome(status: 0, output: "1234 1234 ['new', 'old']\n", error: ""))
    }
  }

  @Test("Directories that are open and not read take no descriptor of the daemon")
  func openDirectories() throws {
    try withMount { place throws in
      let daemon = try #require(try place.daemon())
      let outcome = try place.shell(
        """
        /usr/bin/python3 -SEc '
        import os
        os.mkdir("d"); open("d/in", "w").write("here")
        count = lambda: len(os.listdir("/proc/\(daemon)/fd"))
        before = count()
        all = [os.open("d", os.O_RDONLY) for _ in range(500)]
        print(count() - before < 100, os.listdir(all[7]), open(os.open("in", os.O_RDONLY, dir_fd=all[9])).read())
        os.rename("d", "e"); os.unlink("e/in"); os.rmdir("e"); print(os.listdir(all[8]), os.fsync(all[6]))'
        """)
      #expect(outcome == Outcome(status: 0, output: "True ['in'] here\n[] None\n", error: ""))
    }
  }

  @Test("The time of creation is told as the directory tells it")
  func birth() throws {
    let place = try Place()
    try place.write("x", to: "old")
    let wanted = try place.shell("stat -c %W old; stat -c %w old")
    let mounted = try place.casherfs("mount", place.work)
    try #require(mounted.status == 0, "\(mounted.error)")
    defer { _ = try? place.casherfs("unmount", "--lazy", place.work) }
    #expect(try place.shell("stat -c %W old; stat -c %w old") == wanted)
  }
}
