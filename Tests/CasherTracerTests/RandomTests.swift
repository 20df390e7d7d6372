import CasherRecord
import CasherSystem
import Foundation
import Testing

@testable import CasherTracer

/// A C program does random things with files in several processes and says what it did; the trace must tell the same.
@Suite struct RandomTests {
  @Test(arguments: 1...8) func randomProgramsAreToldAsTheyWere(seed: Int) throws {
    let scratch = try Scratch()
    let program = try scratch.compile(Self.source)
    let trace = try trace(
      [program.description, "\(seed)", "400"], in: scratch.path, chunk: seed.isMultiple(of: 2) ? 65536 : 61)
    #expect(trace.parser.mainExit == 0)
    #expect(trace.parser.obstacles() == [])
    #expect(trace.parser.liveProcesses == 0)

    let expected = Self.expected(trace.output, in: scratch("tree"))
    var told: [FilePath: (observed: UInt32, produced: UInt32)] = [:]
    for access in trace.parser.accesses() where access.path.isWithin(scratch("tree")) {
      told[access.path] = (access.observed.rawValue, access.produced.rawValue)
    }
    #expect(expected.count > 20)
    for path in Set(expected.keys).union(told.keys).sorted() {
      #expect(
        told[path]?.observed == expected[path]?.observed && told[path]?.produced == expected[path]?.produced,
        "\(path): told \(String(describing: told[path])), did \(String(describing: expected[path]))")
    }
  }

  /// The program's own account: NUL-separated `kinds`, `follows` and path, in the order in which things happened. The
  /// rules of `AccessLog.merged` once more, one access at a time.
  private static func expected(
    _ output: [UInt8], in tree: FilePath
  ) -> [FilePath: (observed: UInt32, produced: UInt32)] {
    typealias Kinds = OutsideAccess.Kinds
    struct State {
      var observed: Kinds = []
      var produced: Kinds = []
      var observedFollowing = false
      var producedFollowing = false
      var contentChanged = false
      var attributesChanged = false
      var isFresh = false
      var wasRemoved = false
      var hasTime = false
    }
    var states: [FilePath: State] = [:]
    let fields = output.split(separator: 0, omittingEmptySubsequences: false).dropLast().map { Array($0) }
    for start in stride(from: 0, to: fields.count - 2, by: 3) {
      let kinds = Kinds(rawValue: UInt32(String(decoding: fields[start], as: UTF8.self)) ?? 0)
      let follows = fields[start + 1] == [UInt8(ascii: "1")]
      let path = fields[start + 2].isEmpty ? tree : tree.appending(FilePath(fields[start + 2]))
      var state = states[path] ?? State()
      var seen = kinds.subtracting(AccessLog.changes)
      if state.contentChanged { seen = [] }
      if state.attributesChanged { seen.remove(.lookedUp) }
      if !seen.isEmpty {
        state.observed.formUnion(seen)
        if follows { state.observedFollowing = true }
      }
      var made = kinds.intersection(AccessLog.changes)
      if made.contains(.timeSet) { state.hasTime = true }
      if !made.isDisjoint(with: [.updated, .truncated, .created, .madeNew, .replaced]) {
        state.hasTime = made.contains(.timeSet)
      }
      made.remove(.timeSet)
      if state.isFresh { made.remove(.updated) }
      if state.wasRemoved, made.contains(.madeNew) {
        made.remove(.madeNew)
        made.insert(.created)
      }
      if !made.isEmpty {
        state.produced.formUnion(made)
        if follows { state.producedFollowing = true }
      }
      if !kinds.isDisjoint(with: AccessLog.contentChanges) { state.contentChanged = true }
      if !kinds.isDisjoint(with: AccessLog.changes) { state.attributesChanged = true }
      if !kinds.isDisjoint(with: [.truncated, .madeNew, .removed, .renamedAway, .replaced]) { state.isFresh = true }
      if !kinds.isDisjoint(with: [.removed, .renamedAway]) { state.wasRemoved = true }
      states[path] = state
    }
    return states.mapValues { state in
      var observed = state.observed
      var produced = state.produced
      if !observed.isEmpty, !state.observedFollowing { observed.insert(.notFollowed) }
      if !produced.isEmpty, !state.producedFollowing { produced.insert(.notFollowed) }
      if state.hasTime { produced.insert(.timeSet) }
      return (observed.rawValue, produced.rawValue)
    }
  }

  /// Works in `tree`, four processes that take turns by way of a token in a pipe, so that the order is certain; each
  /// keeps its directory by name, to say which path it meant.
  private static let source = #"""
    #define _GNU_SOURCE
    #include <errno.h>
    #include <fcntl.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/stat.h>
    #include <sys/wait.h>
    #include <unistd.h>

    enum { READ = 1, LISTED = 4, LOOKED = 8, MISSING = 16, LINKREAD = 32, UPDATED = 64, TRUNCATED = 128, CREATED = 256,
           NEW = 512, REMOVED = 1024, AWAY = 2048, REPLACED = 4096, ATTRIBUTES = 8192, TIME = 1 << 15 };

    static const char *names[] = {"a", "b c", "d\ne", "\"q\"", "<x>", "\\n", "\xff\xfe", "(deleted)", "e (deleted)",
                                  ", O_RDONLY) = 3", "\1\0023", "...", "\xc3\xa9", " ", "7", "x\t"};
    static const char *dirs[] = {"", "d1", "d1/d\"2", "d1/d\"2/d\n3", "<d4>", "d5 (deleted)"};
    enum { NAMES = sizeof names / sizeof *names, DIRS = sizeof dirs / sizeof *dirs };
    static unsigned long state;
    static unsigned pick(unsigned n) { state = state * 6364136223846793005ul + 1442695040888963407ul; return (state >> 33) % n; }

    static char root[4096], cwd[4096] = "";
    static int fds[DIRS];

    static void say(int kinds, int follows, const char *path) {
      char line[8192];
      int n = sprintf(line, "%d", kinds) + 1;
      n += sprintf(line + n, "%d", follows) + 1;
      n += sprintf(line + n, "%s", path) + 1;
      if (write(1, line, n) != n) _exit(9);
    }
    static void absolute(char *out, const char *dir, const char *name) {
      sprintf(out, "%s%s%s", dir, *dir ? "/" : "", name);
    }
    // A way to name `full`: a directory descriptor and a path.
    static int way(const char *full, const char *dir, const char *name, int index, char *out) {
      switch (pick(4)) {
        case 0: sprintf(out, "%s/%s", root, full); return AT_FDCWD;
        case 1: sprintf(out, ".//%s", name); return fds[index];
        case 2: {
          // From the working directory, up and down again.
          char *at = out;
          if (*cwd) { at += sprintf(at, ".."); for (const char *c = cwd; *c; c++) if (*c == '/') at += sprintf(at, "/.."); at += sprintf(at, "/"); }
          sprintf(at, "./%s", full);
          return AT_FDCWD;
        }
        default: sprintf(out, "%s", name); return fds[index];
      }
    }
    static void failed(const char *full, int follows) {
      say(errno == ENOENT || errno == ENOTDIR ? MISSING : LOOKED, follows, full);
    }
    static void step(void) {
      int di = pick(DIRS), dj = pick(DIRS);
      const char *name = names[pick(NAMES)], *other = names[pick(NAMES)];
      char full[8192], second[8192], path[8192], path2[8192];
      absolute(full, dirs[di], name);
      absolute(second, dirs[dj], other);
      int at = way(full, dirs[di], name, di, path), r, fd;
      struct stat s;
      struct timespec times[2] = {{1, 0}, {2, 5}};
      switch (pick(18)) {
        case 0: case 1:
          if ((fd = openat(at, path, O_RDONLY)) >= 0) { say(READ, 1, full); close(fd); } else failed(full, 1);
          break;
        case 2:
          if ((fd = openat(at, path, O_WRONLY | O_CREAT | O_TRUNC, 0666)) >= 0) { say(CREATED | TRUNCATED, 1, full); close(fd); } else failed(full, 1);
          break;
        case 3:
          if ((fd = openat(at, path, O_RDWR | O_CREAT | O_EXCL, 0666)) >= 0) { say(CREATED | NEW, 0, full); close(fd); } else failed(full, 0);
          break;
        case 4:
          if ((fd = openat(at, path, O_WRONLY | O_APPEND)) >= 0) { say(UPDATED, 1, full); close(fd); } else failed(full, 1);
          break;
        case 5:
          if ((fd = openat(at, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0666)) >= 0) { say(READ | UPDATED | CREATED, 0, full); close(fd); } else failed(full, 0);
          break;
        case 6: if (!fstatat(at, path, &s, 0)) say(LOOKED, 1, full); else failed(full, 1); break;
        case 7: if (!fstatat(at, path, &s, AT_SYMLINK_NOFOLLOW)) say(LOOKED, 0, full); else failed(full, 0); break;
        case 8: if (!faccessat(at, path, R_OK, 0)) say(LOOKED, 1, full); else failed(full, 1); break;
        case 9: if (!unlinkat(at, path, 0)) say(REMOVED, 0, full); else failed(full, 0); break;
        case 10: if (!mkdirat(at, path, 0777)) say(NEW, 0, full); else failed(full, 0); break;
        case 11: if (!unlinkat(at, path, AT_REMOVEDIR)) say(REMOVED, 0, full);
                 else if (errno == ENOTDIR) say(LOOKED, 0, full); else failed(full, 0);
                 break;
        case 12: {
          int at2 = way(second, dirs[dj], other, dj, path2);
          struct stat from, to;
          int has = !fstatat(fds[di], name, &from, AT_SYMLINK_NOFOLLOW), had = !fstatat(fds[dj], other, &to, AT_SYMLINK_NOFOLLOW);
          say(has ? LOOKED : MISSING, 0, full);
          say(had ? LOOKED : MISSING, 0, second);
          if (has && !S_ISREG(from.st_mode)) break;
          r = renameat(at, path, at2, path2);
          if (!r) {
            // The time that was set goes along; which ones are set, the reader knows.
            say(AWAY, 0, full); say(REPLACED, 0, second);
            // Sets it plainly again, so that nothing depends on that.
            utimensat(fds[dj], other, NULL, AT_SYMLINK_NOFOLLOW); say(ATTRIBUTES | UPDATED, 0, second);
            close(openat(fds[dj], other, O_WRONLY | O_NOFOLLOW)); 
          } else {
            say(errno == ENOENT ? MISSING : LOOKED, 0, full);
            if (errno != ENOENT) say(LOOKED, 0, second);
          }
          break;
        }
        case 13: if (!fchmodat(at, path, 0755, 0)) say(ATTRIBUTES, 1, full); else failed(full, 1); break;
        case 14: if (!utimensat(at, path, times, 0)) say(ATTRIBUTES | TIME, 1, full); else failed(full, 1); break;
        case 15: {
          char target[4096];
          if (readlinkat(at, path, target, sizeof target) >= 0) say(LINKREAD, 0, full); else failed(full, 0);
          break;
        }
        case 16: {
          // A directory to stand in: by name, or by descriptor.
          const char *to = dirs[dj];
          if (pick(2)) { fchdir(fds[dj]); }
          else { sprintf(path, "%s%s%s", root, *to ? "/" : "", to); if (chdir(path)) _exit(8); say(LOOKED, 1, to); }
          strcpy(cwd, to);
          break;
        }
        default: {
          // The same by calls that have no descriptor.
          sprintf(path, "%s/%s", root, full);
          if (pick(2)) { char *at = path; if (*cwd) { at += sprintf(at, ".."); for (const char *c = cwd; *c; c++) if (*c == '/') at += sprintf(at, "/.."); at += sprintf(at, "/"); } sprintf(at, "%s", full); }
          if (pick(2)) { if (!mkdir(path, 0777)) say(NEW, 0, full); else failed(full, 0); }
          else { if (!truncate(path, 3)) say(UPDATED, 1, full); else failed(full, 1); }
        }
      }
    }
    int main(int argc, char **argv) {
      unsigned long seed = strtoul(argv[1], 0, 10);
      int steps = atoi(argv[2]);
      getcwd(root, 4000);
      strcat(root, "/tree");
      mkdir(root, 0777);
      say(NEW, 0, "");
      for (int i = 0; i < DIRS; i++) {
        char path[8192];
        sprintf(path, "%s/%s", root, dirs[i]);
        if (i) { mkdir(path, 0777); say(NEW, 0, dirs[i]); }
        fds[i] = open(path, O_RDONLY | O_DIRECTORY);
        say(LOOKED, 1, dirs[i]);
      }
      chdir(root);
      say(LOOKED, 1, "");
      int token[2];
      pipe(token);
      if (write(token[1], "t", 1) != 1) return 7;
      for (int process = 0; process < 4; process++) {
        pid_t pid = fork();
        if (pid == 0) {
          state = seed * 1000003 + process;
          for (int i = 0; i < steps; i++) {
            char c;
            if (read(token[0], &c, 1) != 1) _exit(6);
            step();
            if (i % 100 == 50 && fork() == 0) { step(); step(); write(token[1], &c, 1); _exit(0); }
            else if (i % 100 != 50) write(token[1], &c, 1);
          }
          while (wait(0) > 0) {}
          _exit(0);
        }
      }
      while (wait(0) > 0) {}
      return 0;
    }
    """#
}
