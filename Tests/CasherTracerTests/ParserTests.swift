import CasherRecord
import CasherSystem
import Glibc
import Testing

@testable import CasherTracer

extension TraceParser {
  fileprivate subscript(path: FilePath) -> OutsideAccess {
    accesses().first { $0.path == path } ?? OutsideAccess(path: path)
  }
  fileprivate var paths: [FilePath] { accesses().map(\.path) }
}

/// Lines as strace 6.1 wrote them, paths shortened.
@Suite struct ParserTests {
  typealias Kinds = OutsideAccess.Kinds

  @Test func namesOfAnyBytesSurvive() {
    let parser = parse(
      #"""
      10    openat(AT_FDCWD</tmp/a\74b\76c>, "\377\n\t\\1\"<>x", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)
      10    openat(AT_FDCWD</tmp/a\74b\76c>, "\00178\1\17\177", O_RDONLY) = 3</tmp/a\74b\76c/\00178\1\17\177>
      10    mkdir("), = 0 <unfinished ...>", 0777) = 0
      10    newfstatat(3</tmp/x \\>, ", \"", 0x7f, 0) = 0

      """#)
    #expect(
      parser.paths
        == [
          FilePath(Array("/tmp/a<b>c/".utf8) + [1] + Array("78".utf8) + [1, 15, 127]),
          FilePath("/tmp/a<b>c/), = 0 <unfinished ...>"),
          FilePath(Array("/tmp/a<b>c/".utf8) + [255, 10, 9] + Array("\\1\"<>x".utf8)),
          FilePath("/tmp/x \\/, \""),
        ].sorted())
    #expect(parser.obstacles() == [])
  }

  @Test(arguments: [1, 2, 3, 7, 50]) func theTraceMayBeCutAnywhere(chunk: Int) {
    let parser = parse(
      #"""
      10    openat(AT_FDCWD</tmp>, "a", O_RDONLY) = 3</tmp/a>
      10    vfork( <unfinished ...>
      11    execve("/none", 0x7f, 0x7f <unfinished ...>
      10    <... vfork resumed>)              = 11
      11    <... execve resumed>)             = -1 ENOENT (No such file or directory)
      11    +++ exited with 127 +++
      10    +++ exited with 3 +++
      """#, chunk: chunk)
    #expect(parser.paths == ["/none", "/tmp/a"])
    #expect(parser.mainExit == 3 << 8)
  }

  @Test func unfinishedCallsAreJoinedToTheirEnds() {
    let parser = parse(
      #"""
      10    clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f) = 11
      10    newfstatat(AT_FDCWD</tmp>, "a",  <unfinished ...>
      11    openat(AT_FDCWD</tmp>, "b", O_WRONLY|O_CREAT|O_EXCL, 0666 <unfinished ...>
      10    <... newfstatat resumed>0x7f, AT_SYMLINK_NOFOLLOW) = -1 ENOENT (No such file or directory)
      11    <... openat resumed>)             = 4</tmp/b>

      """#)
    #expect(parser["/tmp/a"].observed == [.missing, .notFollowed])
    #expect(parser["/tmp/b"].produced == [.created, .madeNew, .notFollowed])
  }

  @Test func aChildsLinesMayComeBeforeItsParentsCallReturns() {
    // Two calls are under way, so that only their returns tell whose child is whose; each child makes one itself.
    let parser = parse(
      #"""
      10    clone(child_stack=NULL, flags=SIGCHLD, child_tidptr=0x7f) = 11
      11    chdir("/eleven")                  = 0
      10    clone(child_stack=NULL, flags=CLONE_FS|SIGCHLD <unfinished ...>
      11    clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD, stack=0x7f, stack_size=0x9000}, 88 <unfinished ...>
      20    mkdir("x", 0777)                  = 0
      21    mkdir("y", 0777)                  = 0
      21    clone(child_stack=NULL, flags=SIGCHLD, child_tidptr=0x7f <unfinished ...>
      20    chdir("/twenty")                  = 0
      30    rmdir("y")                        = 0
      30    +++ exited with 0 +++
      21    <... clone resumed>)              = 30
      21    +++ exited with 0 +++
      11    <... clone3 resumed>)             = 21
      10    <... clone resumed>, child_tidptr=0x7f) = 20
      10    mkdir("z", 0777)                  = 0
      11    mkdir("w", 0777)                  = 0

      """#)
    #expect(
      parser.paths == ["/eleven", "/eleven/w", "/eleven/y", "/start/x", "/twenty", "/twenty/z"])
    #expect(parser["/eleven/y"].produced == [.madeNew, .removed, .notFollowed])
    #expect(parser.accesses(ofSubtree: 21).map(\.path) == ["/eleven/y"])
    #expect(parser.accesses(ofSubtree: 11).map(\.path) == ["/eleven", "/eleven/w", "/eleven/y"])
    #expect(parser.hasExited(21))
    #expect(parser.liveProcesses == 3)
    #expect(parser.obstacles() == [])
  }

  @Test func theOrderOfHeldLinesIsThatOfTheTrace() {
    let lines = { (makesFirst: Bool) in
      let make = #"20    openat(AT_FDCWD</t>, "f", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</t/f>"# + "\n"
      let read = #"10    openat(AT_FDCWD</t>, "f", O_RDONLY) = 3</t/f>"# + "\n"
      return #"""
        10    clone3({flags=CLONE_FS|CLONE_THREAD}, 88) = 11
        10    clone3({flags=CLONE_FS|CLONE_THREAD}, 88) = 12
        11    clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>
        12    clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>

        """# + (makesFirst ? make + read : read + make) + #"""
          12    <... clone resumed>)              = 20
          11    <... clone resumed>)              = 21

          """#
    }
    #expect(parse(lines(true))["/t/f"].observed == [])
    #expect(parse(lines(false))["/t/f"].observed == .read)
  }

  @Test func threadsShareADirectoryAndProcessesDoNot() {
    let parser = parse(
      #"""
      10    clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD, child_tid=0x7f, exit_signal=0, stack=0x7f}, 88) = 11
      11    chdir("/new")                     = 0
      10    unlink("a")                       = 0
      10    fork()                            = 12
      12    chdir("/other")                   = 0
      10    unlink("b")                       = 0
      11    unshare(CLONE_FS)                 = 0
      11    chdir("/third")                   = 0
      10    unlink("c")                       = 0
      11    unlink("d")                       = 0

      """#)
    #expect(parser.paths.filter { $0.components.count > 1 } == ["/new/a", "/new/b", "/new/c", "/third/d"])
  }

  @Test func anExecutionByAnotherThreadGoesOnAsTheFirst() {
    let parser = parse(
      #"""
      9584  clone3({flags=CLONE_FS|CLONE_THREAD}, 88) = 9585
      9585  execve("/none/true", 0x7f, 0x7f <pid changed to 9584 ...>
      9584  +++ superseded by execve in pid 9585 +++
      9584  <... execve resumed>)             = ?
      9584  unlink("a")                       = 0
      9584  +++ exited with 0 +++

      """#)
    #expect(parser["/none/true"].observed == .executed)
    #expect(parser["/start/a"].produced == [.removed, .notFollowed])
    #expect(parser.liveProcesses == 0)
    #expect(parser.mainExit == 0)
    #expect(parser.obstacles() == [])
  }

  @Test func aProcessKilledInACallCountsAsHavingMadeIt() {
    let parser = parse(
      #"""
      10    fork()                            = 11
      11    unlink("a" <unfinished ...>
      10    mkdir("b", 0777)                  = 0
      11    <... unlink resumed>)             = ?
      11    +++ killed by SIGKILL +++
      10    fork()                            = 12
      12    rmdir("b" <unfinished ...>
      10    mkdir("c", 0777)                  = 0
      12    +++ killed by SIGKILL +++
      10    +++ killed by SIGSEGV (core dumped) +++

      """#)
    #expect(parser["/start/a"].produced == [.removed, .notFollowed])
    #expect(parser["/start/b"].produced == [.madeNew, .removed, .notFollowed])
    #expect(parser.mainExit == SIGSEGV | 0x80)
    #expect(parser.liveProcesses == 0)
  }

  @Test func callsThatTheKernelRestartsCountOnce() {
    let parser = parse(
      #"""
      10    openat(AT_FDCWD</t>, "fifo", O_RDONLY) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)
      10    --- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---
      10    openat(AT_FDCWD</t>, "other", O_RDONLY) = -1 EINTR (Interrupted system call)
      10    --- stopped by SIGTSTP ---
      10    ????( <unfinished ...>
      10    <... ???? resumed>)               = ?

      """#)
    #expect(parser.paths == [])
    #expect(parser.obstacles() == [])
  }

  @Test func aDirectoryDescriptorsPathIsTheBase() {
    let parser = parse(
      #"""
      10    openat(3</d (deleted)>, "a", O_RDONLY) = 4</d (deleted)/a>
      10    newfstatat(3</gone>(deleted), "b", 0x7f, 0) = -1 ENOENT (No such file or directory)
      10    newfstatat(3</f>, "", 0x7f, AT_EMPTY_PATH) = 0
      10    fchmod(4</gone/f>(deleted), 0600) = 0
      10    fchmod(4</kept>, 0600) = 0
      10    newfstatat(5<socket:[1]>, "x", 0x7f, 0) = -1 ENOTDIR (Not a directory)
      10    unlinkat(-1, "/abs", 0) = 0
      10    getdents64(6</list>, 0x7f, 32768) = 48
      10    getdents64(6</list>, 0x7f, 32768) = 0
      10    fchdir(6</list>)                  = 0
      10    rename("../x", "./y//z/")         = 0

      """#)
    #expect(
      parser.paths == ["/abs", "/d (deleted)/a", "/gone/b", "/kept", "/list", "/list/y/z", "/x"])
    #expect(parser["/list"].observed == .listed)
    #expect(parser["/x"].produced == [.renamedAway, .notFollowed])
    #expect(parser["/list/y/z"].produced == [.replaced, .notFollowed])
  }

  @Test func dotDotStaysWhereSymlinksMayBe() {
    let parser = parse(
      #"""
      10    openat(AT_FDCWD</a/b>, "../c/./d/../e", O_RDONLY) = -1 ENOENT (No such file or directory)
      10    openat(AT_FDCWD</a/b>, "../../../../x", O_RDONLY) = -1 ENOENT (No such file or directory)
      10    openat(AT_FDCWD</a/b>, "//p/../q/", O_RDONLY) = -1 ENOENT (No such file or directory)
      10    chdir("/no-such-directory/sub")   = 0
      10    unlink("../f")                    = 0

      """#)
    #expect(
      parser.paths == [
        "/a/c/d/../e", "/no-such-directory/sub", "/no-such-directory/sub/../f", "/p/../q", "/x",
      ])
  }

  @Test func aRenamedDirectoryTakesItsUsersAlong() {
    let parser = parse(
      #"""
      10    fork()                            = 11
      10    fchdir(3</w/a/deep>)              = 0
      11    rename("/w/a", "/w/b")            = 0
      10    unlink("f")                       = 0

      """#)
    #expect(parser.paths.contains("/w/b/deep/f"))
  }

  @Test func opensAreToldByTheirFlags() {
    let open = { (flags: String) in
      parse("10    openat(AT_FDCWD</t>, \"f\", \(flags)) = 3</t/f>\n")["/t/f"]
    }
    #expect(open("O_RDONLY") == OutsideAccess(path: "/t/f", observed: .read))
    #expect(open("O_RDONLY|O_NOFOLLOW") == OutsideAccess(path: "/t/f", observed: [.read, .notFollowed]))
    #expect(open("O_RDONLY|O_DIRECTORY") == OutsideAccess(path: "/t/f", observed: .lookedUp))
    #expect(open("O_RDONLY|O_PATH|O_NOFOLLOW") == OutsideAccess(path: "/t/f", observed: [.lookedUp, .notFollowed]))
    #expect(open("O_WRONLY") == OutsideAccess(path: "/t/f", produced: .updated))
    #expect(open("O_RDWR") == OutsideAccess(path: "/t/f", observed: .read, produced: .updated))
    #expect(open("O_WRONLY|O_CREAT|O_APPEND, 0666") == OutsideAccess(path: "/t/f", produced: [.updated, .created]))
    #expect(open("O_RDWR|O_TRUNC") == OutsideAccess(path: "/t/f", produced: .truncated))
    #expect(open("O_RDONLY|O_CREAT, 0666") == OutsideAccess(path: "/t/f", observed: .read, produced: .created))
    #expect(open("O_WRONLY|O_TMPFILE, 0600") == OutsideAccess(path: "/t/f", observed: .lookedUp))
  }

  @Test func whatACommandMadeItselfIsNoInput() {
    let parser = parse(
      #"""
      10    openat(AT_FDCWD</t>, "new", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3</t/new>
      10    openat(AT_FDCWD</t>, "new", O_RDWR) = 3</t/new>
      10    newfstatat(AT_FDCWD</t>, "old", 0x7f, 0) = 0
      10    unlink("old")                     = 0
      10    openat(AT_FDCWD</t>, "old", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3</t/old>
      10    newfstatat(AT_FDCWD</t>, "old", 0x7f, 0) = 0
      10    chmod("mode", 0600)               = 0
      10    openat(AT_FDCWD</t>, "mode", O_RDONLY) = 3</t/mode>
      10    newfstatat(AT_FDCWD</t>, "mode", 0x7f, 0) = 0
      10    openat(AT_FDCWD</t>, "both", O_RDONLY|O_NOFOLLOW) = 3</t/both>
      10    openat(AT_FDCWD</t>, "both", O_RDONLY) = 3</t/both>

      """#)
    #expect(parser["/t/new"] == OutsideAccess(path: "/t/new", produced: [.created, .madeNew, .notFollowed]))
    #expect(
      parser["/t/old"]
        == OutsideAccess(path: "/t/old", observed: .lookedUp, produced: [.removed, .created, .notFollowed]))
    #expect(parser["/t/mode"] == OutsideAccess(path: "/t/mode", observed: .read, produced: .attributesSet))
    #expect(parser["/t/both"].observed == .read)
  }

  @Test func aSetTimeCountsUntilTheNextWrite() {
    let set =
      #"10    utimensat(AT_FDCWD</t>, "f", [UTIME_OMIT, {tv_sec=5, tv_nsec=0} /* 1970-01-01, 0:05 */], 0) = 0"# + "\n"
    let now = #"10    utimensat(AT_FDCWD</t>, "f", NULL, 0) = 0"# + "\n"
    let access = #"10    utimensat(AT_FDCWD</t>, "f", [UTIME_NOW, UTIME_OMIT], 0) = 0"# + "\n"
    let write = #"10    openat(AT_FDCWD</t>, "f", O_WRONLY|O_TRUNC) = 3</t/f>"# + "\n"
    let isSet = { (lines: String) in parse(lines)["/t/f"].produced.contains(.timeSet) }
    #expect(isSet(set))
    #expect(isSet(write + set + access))
    #expect(!isSet(set + write))
    #expect(!isSet(set + now))
    #expect(!isSet(access))
  }

  @Test func connectionsAreObstaclesUnlessTheyStayWithinTheCommand() {
    let obstacles = { (lines: String) in parse(lines).obstacles() }
    #expect(
      obstacles(
        #"10    connect(6<socket:[1]>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.1")}, 16) = 0"#
      )
        == [.network("10.0.0.1:53")])
    #expect(
      obstacles(
        #"10    connect(6<socket:[1]>, {sa_family=AF_INET6, sin6_port=htons(9), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = -1 EINPROGRESS (Operation now in progress)"#
      )
        == [.network("[::1]:9")])
    #expect(
      obstacles(
        #"10    sendto(7<socket:[1]>, "xx"..., 15, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.1")}, 16) = 15"#
      )
        == [.network("10.0.0.1:53")])
    #expect(obstacles(#"10    sendto(6<socket:[1]>, "a"..., 12, 0, NULL, 0) = 12"#) == [])
    #expect(
      obstacles(#"10    connect(6<socket:[1]>, {sa_family=AF_UNIX, sun_path="/run/some \"x\""}, 16) = 0"#)
        == [.network("/run/some \"x\"")])
    #expect(
      obstacles(
        #"10    connect(6<socket:[1]>, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = 0"#) == [])
    #expect(
      obstacles(
        #"""
        10    bind(7<socket:[2]>, {sa_family=AF_UNIX, sun_path="own"}, 10) = 0
        10    connect(6<socket:[1]>, {sa_family=AF_UNIX, sun_path="/start/own"}, 16) = 0
        """#) == [.specialFile("/start/own")])
    #expect(
      obstacles(
        #"""
        10    bind(7<socket:[2]>, {sa_family=AF_UNIX, sun_path=@"own"}, 10) = 0
        10    connect(6<socket:[1]>, {sa_family=AF_UNIX, sun_path=@"own"}, 16) = 0
        10    bind(7<socket:[2]>, {sa_family=AF_UNIX, sun_path="s"}, 10) = 0
        10    unlink("s") = 0
        """#) == [])
    let missing = parse(
      #"10    connect(6<socket:[1]>, {sa_family=AF_UNIX, sun_path="/run/x"}, 9) = -1 ENOENT (No such file or directory)"#
    )
    #expect(missing.obstacles() == [])
    #expect(missing["/run/x"].observed == .missing)
  }

  @Test func whatTheTraceCannotShowIsAnObstacle() {
    let counts = { (line: String) in parse(line + "\n", mount: "/mount").obstacles().count }
    #expect(counts("10    io_uring_setup(8, 0x7f) = 3<anon_inode:[io_uring]>") == 1)
    #expect(counts("10    io_uring_setup(8, 0x7f) = -1 ENOSYS (Function not implemented)") == 0)
    #expect(counts("10    ptrace(PTRACE_TRACEME)            = -1 EPERM (Operation not permitted)") == 1)
    #expect(counts(#"10    chroot("/x") = 0"#) == 1)
    #expect(counts(#"10    mount("a", "/x", 0x7f, MS_BIND, NULL) = 0"#) == 1)
    #expect(counts(#"10    mount("a", "/mount", 0x7f, MS_BIND, NULL) = 0"#) == 0)
    #expect(counts(#"10    mount("none", "/", NULL, MS_REC|MS_PRIVATE, NULL) = 0"#) == 0)
    #expect(counts(#"10    mknod("n", S_IFCHR|0600, makedev(0x1, 0x3)) = 0"#) == 1)
    #expect(counts(#"10    mknodat(AT_FDCWD</t>, "n", S_IFIFO|0600) = 0"#) == 0)
    #expect(counts("10    syscall_0x1c4(0xffffff9c, 0x56, 0x1a4, 0, 0x7f, 0) = 0") == 1)
    #expect(
      counts("10    syscall_0x1c4(0xffffff9c, 0x56, 0x1a4, 0, 0x7f, 0) = -1 ENOSYS (Function not implemented)") == 0)
    #expect(counts("10    openat(AT_FDCWD</t>, \"x") == 1)
    #expect(counts("10    no such line at all") == 1)
  }

  @Test func processIdsOfAnotherNamespaceAreTranslated() {
    let parser = parse(
      #"""
      9470  chdir("/no-such-place") = 0
      9470  clone(child_stack=NULL, flags=SIGCHLD, child_tidptr=0x7f) = 2 /* 9471 in strace's PID NS */
      9471  unlink("x") = 0
      9471  +++ exited with 3 +++
      """#)
    #expect(parser.paths.contains("/no-such-place/x"))
    #expect(parser.liveProcesses == 1)
    #expect(parser.obstacles() == [])
  }

  @Test func theMountAndWhatNeverCountsAreLeftOut() {
    let parser = parse(
      #"""
      10    unlink("/proc/1/x")                    = 0
      10    unlink("/proc/../etc/y")               = 0
      10    unlink("/process")                     = 0
      10    unlink("/mount/a/b")                   = 0
      10    unlink("/mount/../c")                  = 0
      10    openat(AT_FDCWD</mount/a>, "../../d", O_RDONLY) = 3</d>
      10    openat(AT_FDCWD</mount/a>, "/proc/self/fd/3", O_RDONLY) = 3</e>
      10    openat(AT_FDCWD</mount/a>, "/f", O_RDONLY) = 3</mount/f>
      10    rename("/mount", "/mountain")          = 0

      """#, mount: "/mount")
    #expect(parser.paths == ["/d", "/e", "/f", "/mount/../c", "/mountain", "/proc/../etc/y", "/process"])
    #expect(parser["/f"].observed == .lookedUp)
  }
}
