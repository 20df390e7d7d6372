import CasherSystem
import Foundation
import Testing

@testable import CasherOverlay

/// Locks are those of the file, whichever view it is locked through.
@Suite(.serialized) struct LockTests {
  /// A process that runs Python lines one by one, each answered by one line, "alarm" when a signal or two minutes end it.
  private final class Python {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()

    init(in directory: String) throws {
      process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
      process.arguments = [
        "-uSc",
        """
        import os, sys, fcntl, struct, signal, errno
        os.chdir(sys.argv[1])
        class Alarm(Exception): pass
        def on_alarm(*_): raise Alarm()
        signal.signal(signal.SIGALRM, on_alarm)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        def posix(fd, kind, start=0, length=0, wait=False):
          fcntl.fcntl(fd, fcntl.F_SETLKW if wait else fcntl.F_SETLK, struct.pack("hhqqi4x", kind, 0, start, length, 0))
        def ofd(fd, kind, start=0, length=0):
          fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", kind, 0, start, length, 0))
        def test(fd, kind, start=0, length=0):
          kind, _, start, length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack("hhqqi4x", kind, 0, start, length, 0)))
          return "free" if kind == fcntl.F_UNLCK else f"{kind} {start} {length} {pid}"
        R, W, U = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
        for line in sys.stdin:
          signal.alarm(120)
          try:
            try: print(eval(line))
            except SyntaxError: exec(line); print("done")
          except Alarm: print("alarm")
          except OSError as e: print(errno.errorcode[e.errno])
          signal.alarm(0)
        """, directory,
      ]
      process.standardInput = input
      process.standardOutput = output
      try process.run()
    }

    var identifier: Int32 { process.processIdentifier }

    func begin(_ line: String) { input.fileHandleForWriting.write(Data((line + "\n").utf8)) }

    func answer() -> String {
      var line: [UInt8] = []
      while let byte = try? output.fileHandleForReading.read(upToCount: 1)?.first, byte != 10 { line.append(byte) }
      return String(decoding: line, as: UTF8.self)
    }

    @discardableResult
    func run(_ line: String) -> String {
      begin(line)
      return answer()
    }

    func end() {
      try? input.fileHandleForWriting.close()
      process.waitUntilExit()
    }
  }

  private func withTwo(_ body: (Mount, Python, Python) throws -> Void) throws {
    try withMount { mount in
      try mount.sh("echo 0123456789 > f; chmod 666 f")
      let (_, path) = mount.view("v")
      let (a, b) = (try Python(in: mount.directory), try Python(in: path))
      defer {
        a.end()
        b.end()
      }
      for python in [a, b] { python.run("f = os.open('f', os.O_RDWR)") }
      try body(mount, a, b)
    }
  }

  /// Whether the request has come to wait in the lock table.
  private func waits(_ mount: Mount, _ count: Int = 1) -> Bool { eventually { mount.overlay.locks.waiting == count } }

  @Test func flockExcludesAcrossViews() throws {
    try withTwo { mount, a, b in
      #expect(a.run("fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)") == "None")
      #expect(b.run("fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)") == "EAGAIN")
      b.begin("fcntl.flock(f, fcntl.LOCK_SH)")
      #expect(waits(mount))
      #expect(a.run("fcntl.flock(f, fcntl.LOCK_SH)") == "None")
      #expect(b.answer() == "None")
      #expect(b.run("fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)") == "EAGAIN")
      // The last close gives it back.
      b.begin("fcntl.flock(f, fcntl.LOCK_EX)")
      #expect(waits(mount))
      a.run("os.close(f)")
      #expect(b.answer() == "None")
    }
  }

  @Test func posixLocksAreRangesOfProcesses() throws {
    try withTwo { mount, a, b in
      #expect(a.run("posix(f, W, 0, 4)") == "None")
      #expect(b.run("posix(f, R, 2, 4)") == "EAGAIN")
      #expect(b.run("test(f, R, 2, 4)") == "1 0 4 \(a.identifier)")
      #expect(b.run("posix(f, W, 4, 4)") == "None")
      #expect(a.run("posix(f, U, 1, 2)") == "None")
      #expect(b.run("posix(f, R, 1, 2)") == "None")
      #expect(b.run("posix(f, R, 3, 1)") == "EAGAIN")
      #expect(a.run("test(f, W, 0, 0)") == "0 1 2 \(b.identifier)")
      // Closing any descriptor of the file gives all locks of the process back.
      a.run("g = os.open('f', os.O_RDWR)")
      a.run("os.close(g)")
      #expect(b.run("posix(f, W, 0, 0)") == "None")
      #expect(a.run("posix(f, R, 0, 1)") == "EAGAIN")
      b.end()
      #expect(eventually { a.run("posix(f, R, 0, 1)") == "None" })
    }
  }

  @Test func aWaitEndsWithTheLockOrASignal() throws {
    try withTwo { mount, a, b in
      a.run("posix(f, W)")
      b.begin("posix(f, W, wait=True)")
      #expect(waits(mount))
      kill(b.identifier, SIGALRM)
      #expect(b.answer() == "alarm")
      #expect(waits(mount, 0))
      b.begin("posix(f, W, 3, 1, wait=True)")
      #expect(waits(mount))
      a.run("posix(f, U, 3, 1)")
      #expect(b.answer() == "None")
      #expect(a.run("test(f, R, 0, 0)").hasPrefix("1 3 1"))
    }
  }

  @Test func waitsThatCouldNeverEndAreRefused() throws {
    try withTwo { mount, a, b in
      a.run("posix(f, W, 0, 1)")
      b.run("posix(f, W, 1, 1)")
      b.begin("posix(f, W, 0, 1, wait=True)")
      #expect(waits(mount))
      #expect(a.run("posix(f, W, 1, 1, wait=True)") == "EDEADLOCK")
      a.run("posix(f, U)")
      #expect(b.answer() == "None")
    }
  }

  @Test func locksOfOpenFileDescriptionsEndWithThem() throws {
    try withTwo { mount, a, b in
      a.run("g = os.open('f', os.O_RDWR)")
      #expect(a.run("ofd(f, W)") == "None")
      #expect(a.run("ofd(g, W)") == "EAGAIN")
      #expect(b.run("posix(f, R)") == "EAGAIN")
      a.run("os.close(f)")
      #expect(eventually { b.run("posix(f, R)") == "None" })
    }
  }

  @Test func readLocksThroughReadOnlyFilesEndWithThem() throws {
    try withTwo { mount, a, b in
      a.run("r = os.open('f', os.O_RDONLY)")
      #expect(a.run("posix(r, R)") == "None")
      #expect(b.run("posix(f, W)") == "EAGAIN")
      a.run("os.close(r)")
      #expect(eventually { b.run("posix(f, W)") == "None" })
    }
  }

  @Test func whatWasDoneUnderALockIsThereForWhoGetsItNextInAnyView() throws {
    // A long timeout: nothing is seen because the kernel's memory has run out.
    try withMount(timeout: 1000) { mount in
      let (_, view) = mount.view("v")
      let (ready, go) = (mount.base + "/ready", mount.base + "/go")
      try mount.sh("mkfifo '\(ready)' '\(go)'; mkdir e; touch lock; cat made")
      let first = try Background(
        "flock lock sh -c \"echo > '\(ready)'; read x < '\(go)'; echo new > made\"", in: view)
      try #expect(mount.sh("timeout 100 sh -c \"read x < '\(ready)'\"").status == 0)
      // From here on the kernel hears of nothing until it gets at the directory `e`.
      mount.log.held.update { $0 = "held" }
      defer { mount.log.held.update { $0 = nil } }
      let maker = try Background("touch e/held", in: mount.directory)
      #expect(eventually { mount.log.take(mount.overlay.mainView).contains("will make e/held") })
      let directory = try mount.overlay.rootDescriptor.status(of: "e").key
      mount.overlay.invalidateEntry("other", inDirectory: directory, .isThere)
      try #expect(mount.sh("timeout 100 sh -c \"echo > '\(go)'\"").status == 0)
      #expect(first.outcome() == Outcome(output: "", status: 0))
      let next = try Background("flock lock cat made", in: mount.directory)
      // Long enough for whoever would not wait for the kernel.
      for _ in 0..<100 where next.isRunning { usleep(10_000) }
      mount.log.held.update { $0 = nil }
      #expect(next.outcome() == Outcome(output: "new\n", status: 0))
      #expect(maker.outcome() == Outcome(output: "", status: 0))
    }
  }

  @Test func databasesLockEachOtherOutAcrossViews() throws {
    try withMount { mount in
      let (_, path) = mount.view("v")
      let script =
        "for i in $(seq 20); do sqlite3 -cmd '.timeout 60000' db 'create table if not exists t(x); insert into t values(1)'; done"
      guard try mount.sh("command -v sqlite3").status == 0 else { return }
      let outcome = try mount.sh("(\(script)) & (cd '\(path)'; \(script)) & wait; sqlite3 db 'select count(*) from t'")
      #expect(outcome.output == "40\n")
    }
  }
}

/// The arithmetic of ranges.
@Suite struct PosixLocksTests {
  private func lock(_ owner: UInt64, _ first: Int64, _ last: Int64, exclusive: Bool = true) -> PosixLock {
    PosixLock(owner: owner, process: Int32(owner), isExclusive: exclusive, first: first, last: last)
  }

  @Test func neighboursOfOneKindBecomeOne() {
    var locks = PosixLocks()
    locks.set(lock(1, 0, 4))
    locks.set(lock(1, 10, .max))
    locks.set(lock(1, 5, 9))
    #expect(locks.locks == [lock(1, 0, .max)])
  }

  @Test func takingAMiddlePartLeavesBothEnds() {
    var locks = PosixLocks()
    locks.set(lock(1, 0, 99))
    locks.remove(lock(1, 40, 59))
    #expect(Set(locks.locks) == [lock(1, 0, 39), lock(1, 60, 99)])
    locks.set(lock(1, 50, 70, exclusive: false))
    #expect(Set(locks.locks) == [lock(1, 0, 39), lock(1, 50, 70, exclusive: false), lock(1, 71, 99)])
  }

  @Test func onlyOthersStandInTheWayAndReadersNotOfReaders() {
    var locks = PosixLocks()
    locks.set(lock(1, 0, 9, exclusive: false))
    #expect(locks.conflicts(with: lock(1, 0, 9)).isEmpty)
    #expect(locks.conflicts(with: lock(2, 0, 9, exclusive: false)).isEmpty)
    #expect(locks.conflicts(with: lock(2, 9, 12)) == [lock(1, 0, 9, exclusive: false)])
    #expect(locks.conflicts(with: lock(2, 10, 12)).isEmpty)
  }
}
