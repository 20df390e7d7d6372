import CasherSystem
import Foundation
import Testing

@testable import CasherOverlay

/// Whatever is done to a placed file gives what it gives with an ordinary one.
@Suite(.serialized) struct PlacedTests {
  private static let scripts: [String] = [
    "cat text d/inner; wc -c < big; sha256sum big; ./script x; stat -c '%a %h %s %F %U %Y' text script big d/inner",
    "ls -A . d; find . | sort; ls -d */ ; echo *; test -x script && echo x; test -w text && echo w",
    "echo more >> text; cat text; stat -c '%a %h %s' text; echo new > text; cat text; : > big; stat -c %s big",
    "exec 3<text; read -r line <&3; echo $line; cat <&3; exec 3<&-; head -c 5 big; tail -c 20 big",
    "chmod 600 text; stat -c '%a %Y' text; cat text; chmod 4711 script; stat -c %a script; ./script y",
    "touch -d @5 text; stat -c '%X %Y' text; touch -a -d @6 text; stat -c '%X %Y' text; touch big; cmp big big && echo same",
    "chown 5:6 text; stat -c '%u:%g' text; truncate -s 3 text; cat text; truncate -s 100 d/inner; od -c d/inner",
    "ln text hard; stat -c '%h %s' text hard; echo x >> hard; cat text; ln plain text; echo $?; rm hard; stat -c %h text",
    "ln -s text soft; cat soft; readlink soft; ln -s x text; echo $?; mkdir text; echo $?; mkfifo text; echo $?",
    "mv text moved; cat moved; cat text; ls -A; mv moved d/; cat d/moved; ls -A d; mv d/moved text; cat text",
    "mv text script; cat script; ls -A; stat -c '%a' script", "mv plain text; cat text; ls -A; stat -c %h text",
    "mv text plain; cat plain; ls -A", "mv -n text plain; echo $?; ls -A; mv -n plain text; echo $?; ls -A",
    "mv text empty/text; ls -A empty; rmdir empty; echo $?; rm empty/text; rmdir empty; echo $?; ls -A",
    "mv -T text d; echo $?; mv -T d text; echo $?; ls -A; mv -T text empty; echo $?; mv -T empty text; echo $?",
    "mkdir e; mv -T e d; echo $?; rm d/ordinary; mv -T e d; echo $?; ls -A . d; rm d/inner; mv -T e d; echo $?; ls -A",
    "mv d moved; cat moved/inner; ls -A moved; mkdir x; mv moved x/y; cat x/y/inner; rm x/y/inner; ls -A x/y; echo n > x/y/n",
    "rm text; cat text; echo $?; ls -A; echo again > text; cat text; rm -r d; echo $?; ls -A; rm -rf *; ls -A",
    "rmdir d; echo $?; rm d/ordinary; rmdir d; echo $?; rmdir text; echo $?; unlink text; unlink d/inner; rmdir d; echo $?",
    "set -C; echo x > text; echo $?; set +C; (echo a; echo b) > text; cat text; echo c | tee -a text; cat text",
    "cp text copy; cmp text copy; cp plain text; cat text; cp --remove-destination plain big; cat big; install -m 700 plain d/inner; stat -c %a d/inner",
    "sed -i s/first/FIRST/ text; cat text; sed -n 2p text; sort -o text text; cat text; dd if=plain of=big conv=notrunc status=none; head -c 20 big",
    "setfattr -n user.a -v 1 text; getfattr -d text; setfattr -x user.a text; getfattr -d text; getfattr -n user.none text; cat text",
    "exec 3<text; rm text; cat <&3; stat -L -c '%h %s' /proc/self/fd/3; cat /proc/self/fd/3; echo t > text; cat text",
    "exec 3<>text; echo F >&3; cat text; exec 3>&-; exec 4>>d/inner; echo more >&4; cat d/inner; mv d/inner i; echo and >&4; cat i",
    "exec 3<text; chmod 640 /proc/self/fd/3; stat -c %a text; rm text; chmod 600 /proc/self/fd/3; stat -L -c '%a %h' /proc/self/fd/3; cat <&3",
    "ls -i text > ../$(basename $PWD).i; cat text > /dev/null; echo x >> text; ls -i text | cmp - ../$(basename $PWD).i && echo number stays",
    "exec 5<text; ls -i text > ../i; echo x >> text; ls -i text | cmp - ../i && echo stays; cat <&5 | head -1; find . -inum $(cut -d' ' -f1 ../i)",
    "tar cf - . | tar tf - | sort; tar cf - text big | tar xf - -C empty; cmp big empty/big && echo same; du -s --apparent-size big | cut -f1",
    "cp --sparse=auto big b2; cmp big b2 && echo same; split -n 3 big part; cat part* | cmp - big && echo same; rm part* b2",
    "cp -a . ../cp.$$; (cd ../cp.$$; ls -A; cat text; stat -c '%a %Y' text big script); rm -r ../cp.$$",
    "flock -n text sh -c 'flock -n text echo got; echo x >> text; flock -n text echo got; cat text'; flock -n text echo free",
    "python3 -c \"import mmap;f=open('big','rb');m=mmap.mmap(f.fileno(),0,prot=1);print(m[:16],m[-16:]);f.close();print(len(m))\"",
    "python3 -c \"import mmap;f=open('big','r+b');m=mmap.mmap(f.fileno(),0);m[:3]=b'XYZ';m.flush();print(open('big','rb').read(8))\"",
    "python3 -c \"import os;print(sorted(e.name for e in os.scandir('.')),[e.is_file() for e in sorted(os.scandir('d'),key=lambda e:e.name)])\"",
    "python3 -c \"import os;f=os.open('text',os.O_RDONLY|os.O_CREAT|os.O_EXCL)\" 2>&1 | tail -1; python3 -c \"import os;f=os.open('text',os.O_RDWR|os.O_CREAT);print(os.read(f,99));os.ftruncate(f,2);print(os.fstat(f).st_size)\"",
    "python3 -c \"import os;os.rename('text','d/inner');print(os.listdir('d').__len__(),open('d/inner').read())\"; sync text d; cat d/inner",
    "python3 -c \"import ctypes,os;l=ctypes.CDLL(None,use_errno=True);print(l.renameat2(-100,b'text',-100,b'plain',2),l.renameat2(-100,b'd',-100,b'big',2))\"; cat text plain; ls -A big",
    "python3 -c \"import os;a=os.open('big',0);b=os.open('c',os.O_RDWR|os.O_CREAT);print(os.copy_file_range(a,b,1000,16),os.lseek(a,0,os.SEEK_HOLE),os.fstat(a).st_size)\"; head -c 16 c",
    "find . -newermt @999999999 -type f -printf '%P\\n' | sort; find . -size +1k -type f | sort; find . -empty | sort; find . -links 1 -type f | sort",
  ]

  @Test(arguments: [true, false])
  func aPlacedFileIsLikeAnOrdinaryOne(passthrough: Bool) throws {
    for script in PlacedTests.scripts {
      try withPlaced(passthrough: passthrough) { mount in
        let (outcome, expected) = try mount.both(script)
        let difference = outcome.difference(from: expected)
        #expect(difference == "", "\(script)")
        let plain = try Outcome.of(PlacedMount.tree, in: mount.twin)
        let shown = try Outcome.of(PlacedMount.tree, in: mount.directory).difference(from: plain)
        #expect(shown == "", "\(script)")
        #expect(mount.overlay.materialiseAll().isEmpty)
        #expect(mount.overlay.placements.isEmpty)
        let beneath = try Outcome.of(PlacedMount.tree, in: mount.lower).difference(from: plain)
        #expect(beneath == "", "\(script)")
        let still = try Outcome.of(PlacedMount.tree, in: mount.directory).difference(from: plain)
        #expect(still == "", "\(script)")
      }
    }
  }

  /// The files beneath, without the mount.
  private func beneath(_ mount: PlacedMount) throws -> [String] {
    try Outcome.of("find . -type f -printf '%P\\n' | sort", in: mount.lower).output.split(separator: "\n").map(
      String.init)
  }

  @Test(arguments: [true, false])
  func onlyWhatIsChangedIsWritten(passthrough: Bool) throws {
    try withPlaced(passthrough: passthrough) { mount in
      #expect(try beneath(mount) == ["d/ordinary", "plain"])
      try Outcome.of(
        "cat text big d/inner; ./script; ls -lR; mv text t; rm big; mv d e; cp script s2", in: mount.directory)
      #expect(try beneath(mount) == ["e/ordinary", "plain", "s2"])
      try Outcome.of("echo x >> e/inner", in: mount.directory)
      #expect(try beneath(mount) == ["e/inner", "e/ordinary", "plain", "s2"])
      #expect(mount.overlay.placements.count == 2)
    }
  }

  /// Of a large file that the kernel reads by itself: it allows no second backing file.
  @Test func anOpenReaderKeepsWhatItHad() throws {
    try withPlaced { mount in
      let outcome = try Outcome.of(
        """
        exec 3<big; exec 4<big; echo changed > big; head -c 4 <&3; echo; cat big; stat -L -c %s /proc/self/fd/4
        rm big; head -c 6 <&4
        """, in: mount.directory)
      #expect(outcome.output == "0123\nchanged\n2097152\n012345")
    }
  }

  @Test func whatIsChangedByANameIsToldByTheNameAtOnceThoughAnotherHasTheFileOpen() throws {
    try withPlaced { mount in
      let content = String(repeating: "0123456789abcde\n", count: 1 << 17)
      try mount.place((0..<40).map { ("large\($0)", content, UInt32(0o644)) })
      let script = """
        import os
        for number in range(40):
            name = f"large{number}"
            open_by_another = os.open(name, os.O_RDONLY)
            if number % 2:
                os.truncate(name, 10)
                if os.stat(name).st_size != 10: print(name, os.stat(name).st_size)
            else:
                os.utime(name, (1, 2))
                if os.stat(name).st_mtime != 2: print(name, os.stat(name).st_mtime)
            os.close(open_by_another)
        """
      #expect(try Outcome.of("python3 -c '\(script)'", in: mount.directory) == Outcome(output: "", status: 0))
    }
  }

  @Test func whatIsChangedByANameIsToldByTheNameAlsoWhenTheKernelIsLongInHearingOfIt() throws {
    try withPlaced { mount in
      try Outcome.of("mkdir e", in: mount.directory)
      mount.log.isIdle = false
      mount.log.held.update { $0 = "held" }
      defer { mount.log.held.update { $0 = nil } }
      let maker = try Background("touch e/held", in: mount.directory)
      let directory = try mount.overlay.rootDescriptor.status(of: "e").key
      #expect(eventually { mount.log.take(mount.overlay.mainView).contains("will make e/held") })
      // The kernel hears of nothing until it gets at the directory.
      mount.overlay.invalidateEntry("other", inDirectory: directory, .isThere)
      let changer = try Background(
        """
        python3 -c 'import os
        file = os.open("big", os.O_RDONLY); os.truncate("big", 10); print(os.stat("big").st_size)'
        """, in: mount.directory)
      // Long enough for whoever would not wait for the kernel.
      for _ in 0..<100 where changer.isRunning { usleep(10_000) }
      mount.log.held.update { $0 = nil }
      #expect(changer.outcome() == Outcome(output: "10\n", status: 0))
      #expect(maker.outcome() == Outcome(output: "", status: 0))
    }
  }

  @Test(arguments: [true, false])
  func anOpenReaderSeesWhatIsWritten(passthrough: Bool) throws {
    try withPlaced(passthrough: passthrough) { mount in
      let outcome = try Outcome.of(
        """
        exec 3<text; exec 4<text; echo changed > text; cat <&3; cat text; stat -L -c %s /proc/self/fd/4
        echo more >> text; cat <&3; rm text; cat <&4; ./script & ./script; wait
        """, in: mount.directory)
      #expect(outcome.output == "changed\nchanged\n8\nmore\nchanged\nmore\nran\nran\n")
    }
  }

  @Test(arguments: [true, false])
  func aProgramThatRunsMayNotBeWritten(passthrough: Bool) throws {
    try withPlaced(passthrough: passthrough) { mount in
      let sleep = try Data(contentsOf: URL(fileURLWithPath: "/bin/sleep"))
      let blob = try mount.blobs.put("sleep")
      try sleep.write(to: URL(fileURLWithPath: mount.blobs.path(blob)))
      let file = PlacedFile(
        blob: blob, size: Int64(sleep.count), permissions: 0o755, user: 0, group: 0, modified: 0, changed: 0,
        attributes: [], run: PlacedMount.run)
      try mount.overlay.place([Placing(directory: try mount.overlay.pinDirectory(""), name: "zzz", file: file)])
      let outcome = try Outcome.of(
        """
        ./zzz 100 & for i in $(seq 1000); do [ "$(readlink /proc/$!/exe)" = $PWD/zzz ] && break; sleep 0.01; done
        cat /bin/true > zzz; echo $?; chmod 700 zzz; stat -c %a zzz; rm zzz; kill -9 $!; wait; ls -A zzz 2>&-; echo $?
        """, in: mount.directory)
      #expect(
        outcome.output.contains("Text file busy\n1\n700\n2\n") || outcome.output.contains("busy\n1\n700\n"),
        "\(outcome)")
    }
  }

  @Test(arguments: [true, false])
  func locksHoldAcrossTheChange(passthrough: Bool) throws {
    try withPlaced(passthrough: passthrough) { mount in
      let outcome = try Outcome.of(
        """
        exec 3<text; flock -s 3; echo x >> text; flock -n text echo exclusive; echo $?; flock -sn text echo shared
        exec 3<&-; flock -n text echo exclusive
        """, in: mount.directory)
      #expect(outcome.output == "1\nshared\nexclusive\n")
    }
  }

  @Test func whatIsListedIsListedOnceWhateverBecomesOrdinaryMeanwhile() throws {
    try withPlaced { mount in
      var files = (0..<3000).map { ("d/placed\($0)", "content \($0)", UInt32(0o644)) }
      try mount.place(files)
      _ = try mount.both("for i in $(seq 1000); do echo > d/lower$i; done")
      guard let stream = opendir(mount.directory + "/d") else { throw Errno.current }
      defer { closedir(stream) }
      var names: [String] = []
      func read(_ count: Int) {
        for _ in 0..<count {
          guard let entry = readdir(stream) else { return }
          names.append(
            withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
      }
      read(500)
      for index in stride(from: 0, to: 3000, by: 2) { try mount.overlay.materialise(number(files[index].0, mount)) }
      read(10_000)
      #expect(names.count == Set(names).count)
      #expect(names.count == 3000 + 1000 + 2 + 2)
      files = []
      rewinddir(stream)
      names = []
      read(10_000)
      #expect(names.count == 4004 && Set(names).count == 4004)
    }
  }

  private func number(_ path: String, _ mount: PlacedMount) throws -> UInt64 {
    try FileDescriptor.workingDirectory.status(of: FilePath(mount.directory + "/" + path)).key.inode
  }

  @Test func placingReplacesWhatIsThereAndTellsEveryView() throws {
    try withPlaced { mount in
      let view = mount.overlay.makeView(token: "v", attachment: nil)
      let inView = mount.directory + "/.casher-views/v"
      try #expect(Outcome.of("cat plain text; ls new", in: inView).status != 0)
      try #expect(Outcome.of("ls new", in: mount.directory).status != 0)
      try mount.place([("plain", "placed now\n", 0o644), ("text", "another\n", 0o600), ("new", "n\n", 0o644)])
      for place in [inView, mount.directory] {
        try #expect(
          Outcome.of("cat plain text new; stat -c %a text", in: place).output == "placed now\nanother\nn\n600\n")
      }
      #expect(try beneath(mount) == ["d/ordinary"])
      try #expect(Outcome.of("echo x >> plain; cat plain", in: inView).output == "placed now\nx\n")
      try #expect(Outcome.of("cat plain", in: mount.directory).output == "placed now\nx\n")
      mount.overlay.retire(view)
    }
  }

  @Test func placingOntoADirectoryWithPlacedFilesIsRefusedAndChangesNothing() throws {
    try withPlaced { mount in
      try Outcome.of("rm d/ordinary", in: mount.directory)
      #expect(throws: PlacingFailure.self) { try mount.placeAlone("d", "file") }
      try #expect(Outcome.of("cat d/inner", in: mount.directory).output == "inner\n")
    }
  }
}
