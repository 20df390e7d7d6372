import Foundation
import Testing

/// casherfs with CAP_SYS_ADMIN for ordinary users, where setcap(8) can give it.
@Suite("The capability", .enabled(if: Capability.canBeGiven))
struct CapabilityTests {
  @Test("By the file's capability an ordinary user gets passthrough, and it is in effect in no thread")
  func theFilesCapabilityGivesPassthrough() throws {
    let outcome = try Capability.script(
      """
      casherfs mount work || exit
      casherfs status --json work >status.json
      daemon=$(grep -o '"process": [0-9]*' status.json | cut -d ' ' -f 2)
      grep -o '"passthrough": [a-z]*' status.json
      echo one >work/file; cat work/file; echo two >>work/file; cat work/file
      cat /proc/$daemon/task/*/status | grep -E '^Cap(Inh|Prm|Eff|Amb)' | sort -u
      casherfs log --daemon -f work >/dev/null & follower=$!
      eventually 'grep -qs casherfs /proc/$follower/cmdline'
      eventually '[ "$(grep CapPrm /proc/$follower/status)" = "$(printf "CapPrm:\\t0000000000000000")" ]'
      kill $follower
      cd work && acache -- grep -E '^Cap(Prm|Eff|Amb)' /proc/self/status
      cd .. && casherfs unmount work && cat work/file
      """, capability: "file")
    #expect(
      outcome.output == """
        "passthrough": true
        one
        one
        two
        CapAmb:\t0000000000000000
        CapEff:\t0000000000000000
        CapInh:\t0000000000000000
        CapPrm:\t0000000000200000
        CapPrm:\t0000000000000000
        CapEff:\t0000000000000000
        CapAmb:\t0000000000000000
        one
        two

        """, "\(outcome.error)")
  }

  @Test("As an ambient capability it comes to the daemon and goes no further")
  func anAmbientCapabilityEndsAtTheDaemon() throws {
    let outcome = try Capability.script(
      """
      casherfs mount work || exit
      casherfs status --json work >status.json
      daemon=$(grep -o '"process": [0-9]*' status.json | cut -d ' ' -f 2)
      grep -o '"passthrough": [a-z]*' status.json
      cat /proc/$daemon/task/*/status | grep -E '^Cap(Inh|Prm|Eff|Amb)' | sort -u
      casherfs unmount work
      """, capability: "ambient")
    #expect(
      outcome.output == """
        "passthrough": true
        CapAmb:\t0000000000000000
        CapEff:\t0000000000000000
        CapInh:\t0000000000000000
        CapPrm:\t0000000000200000

        """, "\(outcome.error)")
  }

  @Test("With the capability a mount in the foreground has passthrough too, and ends as it does without")
  func theForegroundHasItToo() throws {
    let outcome = try Capability.script(
      """
      casherfs mount -f work & daemon=$!
      eventually 'casherfs status --json work 2>/dev/null | grep -o "\\"passthrough\\": [a-z]*"'
      casherfs unmount work
      wait $daemon; echo $?
      """, capability: "file")
    #expect(outcome.output == "\"passthrough\": true\n0\n", "\(outcome.error)")
  }

  @Test("A daemon with the capability takes no program, directory or fault from the environment")
  func theEnvironmentTellsTheDaemonNothing() throws {
    let outcome = try Capability.script(
      """
      mkdir programs other
      printf '#!/bin/sh\\ntouch %s/ran\\n' "$HOME" >programs/fusermount3; chmod 755 programs/fusermount3
      env PATH="$PWD/programs:$PATH" CASHER_FAULT=1:kill HOME="$PWD/other" XDG_STATE_HOME="$PWD/other/state" \\
        CASHER_CACHE_DIR="$PWD/other/cache" TMPDIR="$PWD/other" \\
        "$CASHER_BIN_DIR/casherfs" __serve --cache-dir "$PWD/cache" -- "$PWD/work" 3>report &
      eventually 'casherfs status work >/dev/null 2>&1 || ! kill -0 $!'
      kill -0 $! || { wait $!; echo "ended $?"; exit; }
      casherfs unmount work
      wait
      find other ran 2>/dev/null
      """, capability: "file")
    #expect(outcome.output == "other\n", "\(outcome.error)")
  }

  @Test("A file that is open is truncated, synced and copied from whatever its permission bits have become")
  func anOpenFileStaysUsable() throws {
    let outcome = try Capability.script(
      """
      casherfs mount work || exit
      casherfs status --json work | grep -o '"passthrough": [a-z]*'
      cat >uses.py <<'PYTHON'
      import os
      def use(name, flags, mode):
          file = os.open("work/" + name, flags, mode)
          os.chmod("work/" + name, 0)
          if flags & os.O_ACCMODE == os.O_RDWR:
              os.write(file, b"content")
              os.fsync(file)
              os.fdatasync(file)
              os.posix_fallocate(file, 0, 9)
              os.ftruncate(file, 5)
          other = os.open("work", os.O_TMPFILE | os.O_RDWR, 0)
          copied = os.copy_file_range(file, other, 5, 0)
          print(name, os.lseek(file, 0, os.SEEK_HOLE), copied, os.pread(other, 9, 0))
          os.fsync(other)
      use("made", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o444)
      open("work/found", "w").close()
      use("found", os.O_RDWR, 0)
      with open("work/read", "w") as file: file.write("12345")
      use("read", os.O_RDONLY, 0)
      PYTHON
      python3 uses.py
      casherfs unmount work
      """, capability: "file")
    #expect(
      outcome.output == """
        "passthrough": true
        made 5 5 b'conte'
        found 5 5 b'conte'
        read 5 5 b'12345'

        """, "\(outcome.error)")
  }

  @Test("What the user may not open is not opened by passthrough, whatever the permission bits say")
  func whatTheUserMayNotOpenStaysClosed() throws {
    let user = try #require(UInt32(try Capability.script("id -u", capability: "file").output.dropLast()))
    // The directory for temporary ones of each user is closed to others.
    let base = "/tmp/casher-denied-\(UUID().uuidString)"
    let work = base + "/work"
    try FileManager.default.createDirectory(atPath: work, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: base) }
    chmod(base, 0o755)
    chmod(work, 0o777)
    for (name, text) in [("denied", "secret\n"), ("allowed", "open\n")] {
      try Data(text.utf8).write(to: URL(fileURLWithPath: work + "/" + name))
      chmod(work + "/" + name, 0o644)
    }
    // Everybody but this user may read it (acl(5)), which the permission bits cannot say.
    try #require(Capability.deny(work + "/denied", to: user))
    let script = """
      cd '\(base)' && casherfs mount work || exit
      casherfs status --json work | grep -o '"passthrough": [a-z]*'
      cat work/allowed work/denied 2>&1
      casherfs unmount work
      """
    let outcome = try Capability.script(script, capability: "file")
    #expect(
      outcome.output == "\"passthrough\": true\nopen\ncat: work/denied: Permission denied\n", "\(outcome.error)")
  }
}

private enum Capability {
  /// Root gives it with setcap(8), on a kernel with passthrough.
  static let canBeGiven: Bool = {
    let outcome = try? EndToEndTests.run(
      "/bin/sh",
      [
        "-c",
        """
        [ "$(id -u)" = 0 ] && command -v setcap && f=$(mktemp) && setcap cap_sys_admin=p "$f"; s=$?; rm -f "$f"; exit $s
        """,
      ], environment: ["PATH": "/usr/bin:/bin:/usr/sbin:/sbin"])
    return outcome?.status == 0
  }()

  /// Runs a shell's script as an ordinary user, in a home directory of its own with a directory `work` to be mounted.
  /// `eventually CONDITION` in it waits until those words hold, two minutes at most.
  static func script(_ script: String, capability: String) throws -> Outcome {
    let preamble = """
      PATH=$CASHER_BIN_DIR:$PATH; export CASHER_CACHE_DIR=$HOME/cache XDG_STATE_HOME=$HOME/state; mkdir work
      eventually() { for i in $(seq 2400); do eval "$1" && return; sleep 0.05; done; echo "never: $1"; kill $!; exit 9; }
      """
    return try EndToEndTests.run(
      "/bin/bash", ["scripts/as-user", "/bin/sh", "-c", preamble + "\n" + script],
      in: FileManager.default.currentDirectoryPath,
      environment: [
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "CASHER_BIN_DIR": Programs.directory, "CASHER_CAPABILITY": capability,
      ])
  }

  /// Gives a file of mode 0644 an access control list by which this user may do nothing.
  static func deny(_ path: String, to user: UInt32) -> Bool {
    let script = """
      import os, struct, sys
      entries = [(1, 6, 2**32 - 1), (2, 0, int(sys.argv[2])), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 4, 2**32 - 1)]
      value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
      os.setxattr(sys.argv[1], "system.posix_acl_access", value)
      """
    return (try? EndToEndTests.run("/usr/bin/python3", ["-c", script, path, "\(user)"], environment: [:]))?.status == 0
  }
}
