"""What the parts of scripts/conformance share: system calls that Python lacks, the log of what calls gave, mounts."""

import ctypes
import errno
import hashlib
import itertools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import traceback

from known import known_differences, may_be_missed

HERE = os.path.dirname(os.path.abspath(__file__))
IS_ROOT = os.geteuid() == 0
libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
KEEP_SIZE, PUNCH_HOLE, ZERO = 1, 2, 16


def check(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def rename2(old, new, flags):
    return check(libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), ctypes.c_uint(flags)))


def fallocate(fd, mode, offset, length):
    return check(libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def case(name):
    """The line that says which case the lines after it are of."""
    return f"case: {name}"


class Log:
    """What calls gave, one line each, without what may differ between two directories (numbers, times)."""

    def __init__(self, root):
        self.root = os.fsencode(root)
        self.lines = []

    def note(self, *words):
        self.lines.append(" ".join(str(word) for word in words))

    def case(self, name):
        self.lines.append(case(name))

    def do(self, label, call, *arguments, **keywords):
        """Makes the call and notes what it gave; returns that, or None after an error."""
        try:
            result = call(*arguments, **keywords)
        except OSError as error:
            self.note(label, "->", errno.errorcode.get(error.errno, error.errno))
            return None
        shown = result
        if isinstance(result, os.stat_result):
            shown = describe(result)
        elif isinstance(result, bytes) and len(result) > 80:
            shown = f"{len(result)} bytes {hashlib.sha256(result).hexdigest()[:16]}"
        elif isinstance(result, int) and not isinstance(result, bool) and label.startswith("open"):
            shown = "opened"
        self.note(label, "->", shown if not isinstance(shown, (bytes, str)) else repr(shown))
        return result


def describe(status):
    mode = status.st_mode
    size = "" if stat.S_ISDIR(mode) else f" size={status.st_size}"
    return f"{stat.filemode(mode)} {status.st_uid}:{status.st_gid} links={status.st_nlink}{size} rdev={status.st_rdev}"


def snapshot(root):
    """The tree below `root` as lines."""
    root = os.fsencode(root)
    lines = []
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(names + files) + ([b"."] if directory == root else []):
            path = os.path.join(directory, name)
            try:
                status = os.lstat(path)
            except PermissionError:
                lines.append(f"{os.path.relpath(path, root)!r} closed to us")
                continue
            text = f"{os.path.relpath(path, root)!r} {describe(status)}"
            if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 20:
                try:
                    with open(path, "rb") as file:
                        text += " " + hashlib.sha256(file.read()).hexdigest()[:12]
                except PermissionError:
                    text += " closed to us"
            elif stat.S_ISLNK(status.st_mode):
                text += f" {os.readlink(path)!r}"
            lines.append(text)
    return lines


def run_as(user, group, groups, body):
    """Calls `body` in a child process that is this user, for an ordinary user who calls: itself; returns its lines."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            if IS_ROOT:
                os.setgroups(groups)
                os.setresgid(group, group, group)
                os.setresuid(user, user, user)
            lines = body()
        except BaseException:
            lines = ["EXCEPTION " + line for line in traceback.format_exc().splitlines()]
        data = "\n".join(lines).encode(errors="surrogateescape")
        while data:
            data = data[os.write(writing, data):]
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        data = file.read()
    os.waitpid(child, 0)
    return data.decode(errors="surrogateescape").splitlines()


class Mount:
    """A directory of its own, plain or mounted, on the filesystem of `base`."""

    def __init__(self, base, options="", mounted=True):
        self.directory = tempfile.mkdtemp(prefix="conform-", dir=base)
        self.root = os.path.join(self.directory, "tree")
        os.mkdir(self.root)
        os.chmod(self.directory, 0o755)
        self.mounted = mounted
        self.binaries = os.environ.get("CASHER_BIN_DIR") or os.path.join(HERE, "..", "..", ".build", "release")
        self.binaries = os.path.abspath(self.binaries)
        self.environment = {**os.environ, "CASHER_CACHE_DIR": os.path.join(self.directory, "cache")}
        if mounted:
            self.casherfs("mount", *(["-o", options] if options else []), self.root)

    def casherfs(self, *arguments, **keywords):
        return subprocess.run(
            [os.path.join(self.binaries, "casherfs"), *arguments], check=True, env=self.environment, **keywords)

    def in_view(self, command):
        """The command as a run of its own view where this is a mount."""
        if not self.mounted:
            return command
        return [os.path.join(self.binaries, "acache"), "--no-store", "--", *command]

    def leave(self, name, command, as_blobs=True):
        """Has the command make files in a new directory. In a mount they are only blobs then; returns how many."""
        path = os.path.join(self.root, name)
        if not self.mounted or not as_blobs:
            os.mkdir(path)
            subprocess.run(command, cwd=path, check=True)
            return 0
        before = self.status()["placed.files"]
        for attempt in "recorded", "replayed":
            shutil.rmtree(path, ignore_errors=True)
            os.mkdir(path)
            subprocess.run(
                [os.path.join(self.binaries, "acache"), "--", *command], cwd=path, check=True, env=self.environment,
                stdin=subprocess.DEVNULL)
        return self.status()["placed.files"] - before

    def status(self):
        import json
        out = self.casherfs("status", "--json", self.root, stdout=subprocess.PIPE).stdout
        return json.loads(out)[0]

    def is_served(self):
        """Whether the daemon answers."""
        try:
            os.listdir(self.root)
            return bool(self.status())
        except (OSError, subprocess.CalledProcessError):
            return False

    def close(self):
        if self.mounted:
            try:
                self.casherfs("unmount", self.root)
            except subprocess.CalledProcessError:
                subprocess.run(["umount", "-l", self.root])
        shutil.rmtree(self.directory, ignore_errors=True)


def in_cases(lines):
    """The lines as (name of the case, its lines)."""
    cases = [("", [])]
    for line in lines:
        if line.startswith(case("")):
            cases.append((line.removeprefix(case("")), []))
        else:
            cases[-1][1].append(line)
    return cases


def differences(plain, mounted):
    """(case, line of the plain directory, line of the mount) for each line that differs. Only cases that have as many lines in
    both are compared line by line; others differ as a whole, which is never a known difference."""
    result = []
    for (name, a), (other, b) in itertools.zip_longest(in_cases(plain), in_cases(mounted), fillvalue=("no more cases", [])):
        if name != other:
            return result + [("cases", name, other)]
        if len(a) != len(b):
            result.append((name, f"{len(a)} results: {a}", f"{len(b)} results: {b}"))
        else:
            result += [(name, one, another) for one, another in zip(a, b) if one != another]
    return result


def compare(part, kind, what, plain, mounted, shown=12):
    """Prints where two logs of a part differ; whether they are the same but for what known.py names for this kind of mount."""
    cases = in_cases(plain)
    found, known = differences(plain, mounted), known_differences(part, kind, cases)
    # One whose case has not been run, or where lower itself is otherwise, cannot occur.
    possible = {(name, line) for name, lines in cases for line in lines}
    gone = sorted(
        each for each in known - set(found) if each[:2] in possible and not may_be_missed(part, each[0]))
    wrong = [each for each in found if each not in known]
    broken = [line for line in plain + mounted if line.startswith("EXCEPTION")]
    if not wrong and not broken and not gone:
        print(f"ok    {what}: {len(plain)} results" + (f", {len(found)} known to differ" if found else ""), flush=True)
        return True
    print(f"FAIL  {what}: {len(wrong)} of {len(plain)} results differ")
    for line in broken[:30]:
        print("      " + line)
    for name, left, right in wrong[:shown]:
        print(f"      [{name}] plain: {left}\n      [{name}] mount: {right}")
    for name, left, _ in gone[:shown]:
        print(f"      [{name}] is known to differ, and no longer does: {left}")
    sys.stdout.flush()
    return False
