import CasherSystem
import Foundation
import Testing

@testable import CasherOverlay

/// What one view changes, every other sees.
@Suite(.serialized) struct ViewTests {
  @Test(arguments: [true, false])
  func whatOneViewChangesEveryOtherSeesOnceTheKernelWasTold(passthrough: Bool) throws {
    // A long timeout: nothing is seen because the kernel's memory has run out.
    try withMount(passthrough: passthrough, timeout: 1000) { mount in
      let (_, a) = mount.view("a")
      let (_, b) = mount.view("b")
      let roots = [mount.directory, a, b]
      let look = """
        stat -c '%n %s %a %h' f g d/h 2>&1; cat f g d/h 2>&1; ls -A; ls d
        python3 -c 'import os; print(os.listxattr("f"))'
        """
      try mount.sh("mkdir d; echo one > f; echo two > d/h")
      let changes = [
        "echo longer >> f", "chmod 600 f", "rm f", "echo new > f", "mv f g", "ln g f", "mv d e", "mv e d",
        "echo three > d/h", "truncate -s 1 g", "mkdir d/sub", "rmdir d/sub", "rm d/h", "ln -s f d/h",
        "setfattr -n user.x -v 1 f || true",
        "exec 3<>f; echo xyz >&3", "cp /bin/true g", "python3 -c 'open(\"f\", \"r+b\").write(b\"Q\")'", "rm -rf d",
        "mkdir d",
      ]
      for (index, change) in changes.enumerated() {
        for root in roots { try mount.sh(look, in: root) }
        let changed = try mount.sh(change, in: roots[index % 3])
        #expect(changed.status == 0, "\(change): \(changed)")
        // The last close is told later than it happens.
        for view in [mount.overlay.mainView] + mount.overlay.allViews {
          #expect(mount.overlay.waitForWriters(in: view, timeoutNanoseconds: 10_000_000_000))
        }
        mount.overlay.flushNotifications()
        let expected = try Outcome.of(look, in: mount.lower)
        for root in roots {
          let difference = try mount.sh(look, in: root).difference(from: expected)
          #expect(difference == "", "after \(change) in \(roots[index % 3]), seen in \(root)")
        }
      }
    }
  }

  @Test func changesMadeToLowerDirectlyAreSeenOnceInvalidated() throws {
    try withMount(timeout: 1000) { mount in
      let (_, view) = mount.view("v")
      let look = "cat f missing 2>&1; stat -c %s f; ls"
      try mount.sh("echo old > f")
      for root in [mount.directory, view] { try mount.sh(look, in: root) }
      let lower = mount.overlay.rootDescriptor
      try Outcome.of("echo changed > f; echo there > missing; rm -f x", in: mount.lower)
      let directory = try lower.status().key
      mount.overlay.invalidateInode(try lower.status(of: "f").key)
      mount.overlay.invalidateEntry("missing", inDirectory: directory, .isThere)
      mount.overlay.invalidateInode(directory)
      mount.overlay.flushNotifications()
      for root in [mount.directory, view] {
        try #expect(mount.sh(look, in: root).output == "changed\nthere\n8\nf\nmissing\n")
      }
    }
  }

  @Test func aViewIsReachedFromEveryViewAndNeverListed() throws {
    try withMount { mount in
      let (_, outer) = mount.view("outer")
      _ = mount.view("inner")
      try mount.sh("echo x > f")
      try #expect(mount.sh("cat .casher-views/inner/f", in: outer).output == "x\n")
      try #expect(mount.sh("cat .casher-views/inner/f; ls .casher-views/inner").output == "x\nf\n")
      try #expect(mount.sh("cat .casher-views/inner/f", in: outer).output == "x\n")
      try #expect(mount.sh("ls -A; ls -A .casher-views; ls -A ..; stat -c %i . '\(outer)'", in: outer).status == 0)
      try #expect(mount.sh("ls -A", in: outer).output == "f\n")
      try #expect(mount.sh("ls -A .casher-views").output == "")
      try #expect(mount.sh("ls .casher-views/unknown; mkdir .casher-views/x").status != 0)
      try #expect(mount.sh("mv f .casher-views").status != 0)
      try #expect(mount.sh("rmdir .casher-views").status != 0)
      let inodes = try mount.sh("stat -c '%i %d' . f '\(outer)' '\(outer)/f'").output.split(separator: "\n")
      #expect(inodes.count == 4 && inodes[0] == inodes[2] && inodes[1] == inodes[3])
    }
  }

  @Test func aViewBoundOverTheMountShowsThePlainPath() throws {
    try withMount { mount in
      let (view, path) = mount.view("bound")
      try mount.sh("mkdir -p sub/deep; echo x > sub/f")
      let script =
        "unshare -m sh -c 'mount --bind \(path) \(mount.directory); cd \(mount.directory)/sub; pwd -P; cat f; echo y > deep/g'"
      try #expect(mount.sh(script).output == "\(mount.directory)/sub\nx\n")
      #expect(mount.overlay.waitForWriters(in: view, timeoutNanoseconds: 10_000_000_000))
      mount.overlay.retire(view)
      mount.overlay.flushNotifications()
      try #expect(mount.sh("cat sub/deep/g; ls '\(path)'").output.hasPrefix("y\nls: cannot access"))
    }
  }

  @Test func whoStandsInARetiredViewKeepsWorking() throws {
    try withMount { mount in
      let (view, path) = mount.view("v")
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/bin/sh")
      process.arguments = ["-c", "cd '\(path)'; echo ready; read line; echo made > f; cat f; mkdir -p a/b; ls"]
      let (input, output) = (Pipe(), Pipe())
      process.standardInput = input
      process.standardOutput = output
      try process.run()
      #expect(output.fileHandleForReading.availableData == Data("ready\n".utf8))
      mount.overlay.retire(view)
      mount.overlay.flushNotifications()
      input.fileHandleForWriting.write(Data("go\n".utf8))
      #expect(output.fileHandleForReading.readDataToEndOfFile() == Data("made\na\nf\n".utf8))
      process.waitUntilExit()
    }
  }

  /// The kernel may be told of a new name only after it has found it.
  @Test func whatIsInUseIsSaidToBeDeletedOnlyWhenItIs() throws {
    try withMount { mount in
      let (_, path) = mount.view("v")
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/bin/sh")
      process.arguments = ["-c", "cd '\(mount.directory)'; cp /bin/sleep s; mkdir d; cd d; exec ../s 100"]
      try process.run()
      defer {
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
      }
      func links() throws -> [String] {
        try ["exe", "cwd"].map {
          try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process.processIdentifier)/\($0)")
        }
      }
      let (program, directory) = (mount.directory + "/s", mount.directory + "/d")
      #expect(try eventually { try links() == [program, directory] })
      let root = try mount.overlay.rootDescriptor.status().key
      for name: FilePath in ["s", "d"] { mount.overlay.invalidateEntry(name, inDirectory: root, .isThere) }
      mount.overlay.flushNotifications()
      try #expect(links() == [program, directory])
      try mount.sh("touch new; mv new other; ln other third; ls", in: path)
      mount.overlay.flushNotifications()
      try #expect(links() == [program, directory])
      try mount.sh("rm s; rmdir d", in: path)
      mount.overlay.flushNotifications()
      try #expect(links() == [program + " (deleted)", directory + " (deleted)"])
    }
  }

  @Test func writersAreNamedUntilTheirRelease() throws {
    try withMount { mount in
      let (view, path) = mount.view("v")
      try mount.sh("mkdir d; touch d/f r")
      // Those that made the files.
      #expect(mount.overlay.waitForWriters(in: mount.overlay.mainView, timeoutNanoseconds: 10_000_000_000))
      let file = try FileDescriptor.open(FilePath(path + "/d/f"), O_WRONLY)
      let read = try FileDescriptor.open(FilePath(path + "/r"), O_RDONLY)
      #expect(!mount.overlay.waitForWriters(in: view, timeoutNanoseconds: 1_000_000))
      #expect(mount.overlay.pathsOpenForWriting(in: view) == ["d/f"])
      try mount.sh("mv d e", in: path)
      #expect(mount.overlay.pathsOpenForWriting(in: view) == ["e/f"])
      let key = try mount.overlay.rootDescriptor.status(of: "e/f").key
      #expect(mount.overlay.inode(for: key)?.writableHandles == 1)
      file.close()
      #expect(mount.overlay.waitForWriters(in: view, timeoutNanoseconds: 10_000_000_000))
      #expect(mount.overlay.inode(for: key)?.writableHandles == 0)
      read.close()
    }
  }

  @Test func pathsFollowRenamesInAnyView() throws {
    try withMount { mount in
      let (view, path) = mount.view("v")
      try mount.sh("mkdir -p a/b/c x; echo 1 > a/b/c/f")
      let file = try FileDescriptor.open(FilePath(path + "/a/b/c/f"), O_WRONLY)
      defer { file.close() }
      try mount.sh("mv a/b x/moved; mv x y; mv y/moved/c/f y/moved/g")
      #expect(mount.overlay.pathsOpenForWriting(in: view) == ["y/moved/g"])
    }
  }
}
