import CasherRecord
import CasherSystem
import Foundation
import Testing

@testable import CasherTracer

/// Programs that reach files in ways that shells do not.
@Suite struct SystemCallTests {
  private static let prelude = """
    #define _GNU_SOURCE
    #include <errno.h>
    #include <fcntl.h>
    #include <linux/sched.h>
    #include <pthread.h>
    #include <sched.h>
    #include <signal.h>
    #include <spawn.h>
    #include <stdint.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/mount.h>
    #include <sys/socket.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <sys/un.h>
    #include <sys/wait.h>
    #include <netinet/in.h>
    #include <arpa/inet.h>
    #include <unistd.h>
    extern char **environ;

    """

  private func run(_ body: String, in scratch: Scratch, before: String = "", mount: FilePath? = nil) throws -> Trace {
    let program = try scratch.compile(Self.prelude + before + "\nint main(void) {\n\(body)\nreturn 0; }\n")
    return try trace([program.description], in: scratch.path, mount: mount)
  }

  @Test func directoryDescriptorsAndFchdir() throws {
    let scratch = try Scratch()
    try scratch.write("dir/sub/file")
    let trace = try run(
      """
      int d = open("dir", O_RDONLY | O_DIRECTORY);
      openat(d, "sub/file", O_RDONLY);
      struct stat s;
      fstatat(d, "sub/gone", &s, AT_SYMLINK_NOFOLLOW);
      fchdir(d);
      close(d);
      rename("sub/file", "moved");
      syscall(SYS_openat2, AT_FDCWD, "two", (uint64_t[]){O_CREAT | O_WRONLY | O_EXCL, 0600, 0}, 24);
      mkdirat(AT_FDCWD, "made", 0700);
      unlinkat(AT_FDCWD, "made", AT_REMOVEDIR);
      """, in: scratch)
    #expect(trace[scratch("dir")].observed == .lookedUp)
    #expect(trace[scratch("dir/sub/file")].observed == .read)
    #expect(trace[scratch("dir/sub/file")].produced.contains(.renamedAway))
    #expect(trace[scratch("dir/sub/gone")].observed == [.missing, .notFollowed])
    #expect(trace[scratch("dir/moved")].produced == [.replaced, .notFollowed])
    #expect(trace[scratch("dir/two")].produced.contains(.madeNew))
    #expect(trace[scratch("dir/made")].produced == [.madeNew, .removed, .notFollowed])
  }

  @Test func threadsThatChangeTheSharedDirectory() throws {
    let scratch = try Scratch()
    for name in ["a/f", "b/f", "c/f"] { try scratch.write(name) }
    let trace = try run(
      """
      pthread_t t;
      chdir("a");
      pthread_create(&t, 0, mover, 0);
      pthread_join(t, 0);
      unlink("f");
      pthread_create(&t, 0, loner, 0);
      pthread_join(t, 0);
      rmdir("f");
      """, in: scratch,
      before: """
        void *mover(void *x) { chdir("../b"); return 0; }
        void *loner(void *x) { unshare(CLONE_FS); chdir("../c"); unlink("f"); return 0; }
        """)
    #expect(trace[scratch("b/f")].produced == [.removed, .notFollowed])
    #expect(trace[scratch("c/f")].produced == [.removed, .notFollowed])
    #expect(trace[scratch("b/f")].observed == [])
    #expect(trace.accesses[scratch("a/f")] == nil)
  }

  @Test func everyWayToMakeAProcess() throws {
    let scratch = try Scratch()
    try scratch.write("d/.keep")
    let trace = try run(
      """
      chdir("d");
      if (fork() == 0) { chdir(".."); unlink("by-fork"); _exit(0); }
      wait(0);
      if (vfork() == 0) { unlink("by-vfork"); _exit(0); }
      wait(0);
      struct clone_args args = {.exit_signal = SIGCHLD};
      if (syscall(SYS_clone3, &args, sizeof args) == 0) { unlink("by-clone3"); _exit(0); }
      wait(0);
      struct clone_args sharing = {.exit_signal = SIGCHLD, .flags = CLONE_FS};
      if (syscall(SYS_clone3, &sharing, sizeof sharing) == 0) { chdir(".."); _exit(0); }
      wait(0);
      unlink("after-clone3");
      char *argv[] = {"cat", "by-spawn", 0};
      pid_t pid;
      posix_spawn(&pid, "/bin/cat", 0, 0, argv, environ);
      waitpid(pid, 0, 0);
      """, in: scratch)
    for name in ["by-fork", "d/by-vfork", "d/by-clone3", "after-clone3", "by-spawn"] {
      #expect(trace[scratch(name)].observed.contains(.missing), "\(name)")
    }
    #expect(trace.parser.obstacles() == [])
    #expect(trace.parser.liveProcesses == 0)
  }

  @Test func aThreadThatExecutesAProgram() throws {
    let scratch = try Scratch()
    let trace = try run(
      """
      pthread_t t;
      pthread_create(&t, 0, runner, 0);
      pthread_join(t, 0);
      """, in: scratch, before: #"void *runner(void *x) { execl("/bin/false", "false", (char *)0); return 0; }"#)
    #expect(trace["/bin/false"].observed.contains(.executed))
    #expect(trace.parser.mainExit == 1 << 8)
    #expect(trace.parser.liveProcesses == 0)
    #expect(trace.parser.obstacles() == [])
  }

  @Test func ioUringNetworkAndSocketsAreObstacles() throws {
    let scratch = try Scratch()
    let trace = try run(
      """
      char params[256] = {0};
      int ring = syscall(SYS_io_uring_setup, 4, params);
      int s = socket(AF_INET, SOCK_DGRAM, 0);
      struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
      connect(s, (void *)&in, sizeof in);
      in.sin_port = htons(10);
      int u = socket(AF_INET, SOCK_DGRAM, 0);
      sendto(u, "x", 1, 0, (void *)&in, sizeof in);
      in.sin_port = htons(11);
      struct iovec v = {"x", 1};
      struct msghdr m = {.msg_name = &in, .msg_namelen = sizeof in, .msg_iov = &v, .msg_iovlen = 1};
      sendmsg(u, &m, 0);
      int l = socket(AF_UNIX, SOCK_STREAM, 0);
      struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "socket"};
      bind(l, (void *)&un, sizeof un);
      mknod("pipe", S_IFIFO | 0600, 0);
      puts(ring < 0 ? "no" : "yes");
      """, in: scratch)
    var expected: Set<Uncacheable> = [
      .network("127.0.0.1:9"), .network("127.0.0.1:10"), .network("127.0.0.1:11"), .specialFile(scratch("socket")),
    ]
    if trace.output.starts(with: Array("yes".utf8)) {
      expected.insert(.outsideUnobserved("the command reads and writes through io_uring"))
    }
    #expect(Set(trace.parser.obstacles()) == expected)
    #expect(trace[scratch("pipe")].produced.contains(.madeNew))
  }

  @Test func serversOfTheCommandsOwnAreNoObstacle() throws {
    let scratch = try Scratch()
    let trace = try run(
      """
      int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
      struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "socket"};
      bind(l, (void *)&un, sizeof un);
      listen(l, 1);
      connect(c, (void *)&un, sizeof un);
      accept(l, 0, 0);
      unlink("socket");
      """, in: scratch)
    #expect(trace.parser.obstacles() == [])
  }

  @Test func timesModesAndAttributesOfDescriptors() throws {
    let scratch = try Scratch()
    for name in ["times", "now", "mode", "cut"] { try scratch.write(name) }
    let trace = try run(
      """
      struct timespec at[2] = {{5, 0}, {6, 7}}, now[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
      int f = open("times", O_RDONLY);
      futimens(f, at);
      futimens(open("now", O_RDONLY), now);
      fchmod(open("mode", O_RDONLY), 0600);
      truncate("cut", 1);
      """, in: scratch)
    #expect(trace[scratch("times")].produced == [.attributesSet, .timeSet])
    #expect(trace[scratch("now")].produced == .attributesSet)
    #expect(trace[scratch("mode")].produced == .attributesSet)
    #expect(trace[scratch("cut")].produced == .updated)
  }

  @Test func aRemovedWorkingDirectoryMisleadsNobody() throws {
    let scratch = try Scratch()
    try scratch.write("e (deleted)/file")
    let trace = try run(
      """
      mkdir("gone", 0700);
      chdir("gone");
      rmdir("../gone");
      open("x", O_RDONLY);
      chdir("..");
      open("y", O_RDONLY);
      chdir("e (deleted)");
      open("file", O_RDONLY);
      unlink("file");
      """, in: scratch)
    #expect(trace[scratch("gone/x")].observed == .missing)
    #expect(trace[scratch("y")].observed == .missing)
    #expect(trace[scratch("e (deleted)/file")].observed == .read)
    #expect(trace[scratch("e (deleted)/file")].produced == [.removed, .notFollowed])
  }

  @Test func aWriteThroughASymlinkIsToldOfTheFileToo() throws {
    let scratch = try Scratch()
    try scratch.write("real/file")
    symlink("real", scratch("link").description)
    let trace = try run(
      """
      open("link/file", O_WRONLY | O_TRUNC);
      unlink("link");
      """, in: scratch)
    #expect(trace[scratch("real/file")].produced == .truncated)
    #expect(trace[scratch("link/file")].produced == .truncated)
    #expect(trace[scratch("link")].produced == [.removed, .notFollowed])
  }

  @Test func aSymlinkInTheMountThatLeadsOutsideIsFollowed() throws {
    let scratch = try Scratch()
    let outside = try Scratch()
    try outside.write("dir/file")
    try scratch.write("mount/plain/file")
    let mount = scratch("mount")
    symlink(outside("dir").description, mount.appending("away").description)
    symlink("plain", mount.appending("within").description)
    symlink("\(outside("absent"))", mount.appending("dangling").description)
    let trace = try run(
      """
      struct stat s;
      chdir("mount");
      stat("away/file", &s);
      stat("away/gone", &s);
      lstat("away", &s);
      stat("dangling", &s);
      lstat("dangling", &s);
      stat("within/file", &s);
      stat("plain/file", &s);
      stat("plain/../away/../other", &s);
      open("away/file", O_RDONLY);
      symlink("away/file", "later");
      access("later", R_OK);
      access("../beside", R_OK);
      """, in: scratch, mount: mount)
    let paths = trace.parser.accesses().map(\.path).filter { $0.isWithin(scratch.path) }
    #expect(
      Set(paths.filter { $0.lastComponent.description.hasPrefix("program-") == false }) == [
        mount.appending("away/file"), mount.appending("away/gone"), mount.appending("dangling"),
        mount.appending("plain/../away/../other"), mount.appending("later"), scratch("beside"),
      ])
    #expect(trace[mount.appending("away/file")].observed == [.lookedUp, .read])
    #expect(trace[mount.appending("away/gone")].observed == .missing)
    #expect(trace[mount.appending("dangling")].observed == .missing)
  }

  @Test func programsWithOtherPrivilegesAreAnObstacle() throws {
    let scratch = try Scratch()
    let tool = try scratch.compile("int main(void) { return 0; }")
    let plain = try trace([tool.description], in: scratch.path)
    #expect(plain.parser.obstacles() == [])
    guard geteuid() == 0 else { return }
    chown(tool.description, 65534, 65534)
    chmod(tool.description, 0o4755)
    let privileged = try trace([tool.description], in: scratch.path)
    #expect(privileged.parser.obstacles().map(\.code) == ["outside-unobserved"])
  }

  @Test func aTracingCommandIsAnObstacle() throws {
    let scratch = try Scratch()
    let trace = try run("syscall(SYS_ptrace, 0, 0, 0, 0);", in: scratch)
    #expect(trace.parser.obstacles().map(\.code) == ["outside-unobserved"])
  }

  @Test func processesOfAnotherPidNamespaceAreNeverMistaken() throws {
    guard geteuid() == 0 else { return }
    let scratch = try Scratch()
    let trace = try run(
      """
      if (unshare(CLONE_NEWPID)) return 0;
      for (int i = 0; i < 20; i++) {
        if (fork() == 0) { chdir("/"); unlink("none"); _exit(0); }
        wait(0);
        if (i == 0) break;
      }
      """, in: scratch)
    let isSeen = trace["/none"].observed.contains(.missing)
    #expect(isSeen || !trace.parser.obstacles().isEmpty || trace.parser.liveProcesses > 0)
  }

  @Test func tenThousandProcesses() throws {
    let scratch = try Scratch()
    let trace = try run(
      """
      for (int worker = 0; worker < 4; worker++)
        if (fork() == 0) {
          for (int i = 0; i < 2500; i++) {
            char name[32];
            sprintf(name, "n%d", i % 100);
            pid_t pid = fork();
            if (pid == 0) { struct stat s; lstat(name, &s); _exit(0); }
            waitpid(pid, 0, 0);
          }
          _exit(0);
        }
      while (wait(0) > 0) {}
      """, in: scratch)
    #expect(trace.parser.processes.count == 10_005)
    #expect(trace.parser.liveProcesses == 0)
    #expect(trace.parser.obstacles() == [])
    #expect(trace.parser.accesses().filter { $0.path.lastComponent.bytes.first == UInt8(ascii: "n") }.count == 100)
    let workers = trace.parser.processes[0].children.map { trace.parser.processes[Int($0)] }
    #expect(workers.map(\.children.count) == [2500, 2500, 2500, 2500])
  }
}
