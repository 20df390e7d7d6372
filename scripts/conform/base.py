"""What the parts of scripts/conformance share: system calls that Python lacks, the log of what calls gave, mounts."""

import ctypes
import difflib
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

HERE = os.path.dirname(os.path.abspath(__file__))
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


class Log:
    """What calls gave, one line each, without what may differ between two directories (numbers, times)."""

    def __init__(self, root):
        self.root = os.fsencode(root)
        self.lines = []

    def note(self, *words):
        self.lines.append(" ".join(str(word) for word in words))

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
    """The tree below `root` as lines. As root only: everything must be readable."""
    root = os.fsencode(root)
    lines = []
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(names + files) + ([b"."] if directory == root else []):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            text = f"{os.path.relpath(path, root)!r} {describe(status)}"
            if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 20:
                with open(path, "rb") as file:
                    text += " " + hashlib.sha256(file.read()).hexdigest()[:12]
            elif stat.S_ISLNK(status.st_mode):
                text += f" {os.readlink(path)!r}"
            lines.append(text)
    return lines


def run_as(user, group, groups, body):
    """Calls `body` in a child process that is this user; returns the lines that it returns."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
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


#: What FUSE itself does otherwise, as docs/limitations.md says: pieces of the line of the plain directory and of the mount's.
KNOWN = [
    ("flags of attributes -> True", "flags of attributes -> ENOTTY"), ("fiemap size -> ", "fiemap size -> ENOTSUP"),
    ("lseek 9223372036854775807 0 -> EINVAL", "lseek 9223372036854775807 0 -> 9223372036854775807"),
    ("content -> b'Q,1,2,3,", "content -> b'0,1,2,3,"), ("mapped -> b'Q,1,2'", "mapped -> b'0,1,2'"),
    ("capability -> 20", "capability -> ENODATA"),
]


def is_known(left, right):
    return any(a in str(left) and b in str(right) for a, b in KNOWN)


def compare(what, plain, mounted, shown=12):
    """Prints where two logs differ; whether they are the same but for what is known."""
    differences = []
    if len(plain) == len(mounted):
        about = ""
        for left, right in zip(plain, mounted):
            # A line in brackets says what the lines after it are about.
            about = left + " " if left == right and left.startswith("[") else about
            if left != right:
                differences.append((about + left, right))
    else:
        for word, a, b, c, d in difflib.SequenceMatcher(None, plain, mounted, autojunk=False).get_opcodes():
            if word != "equal":
                differences += itertools.zip_longest(plain[a:b], mounted[c:d])
    known = len([pair for pair in differences if is_known(*pair)])
    differences = [pair for pair in differences if not is_known(*pair)]
    broken = [line for line in plain + mounted if line.startswith("EXCEPTION")]
    if not differences and not broken:
        print(f"ok    {what}: {len(plain)} results" + (f", {known} known to differ" if known else ""), flush=True)
        return True
    print(f"FAIL  {what}: {len(differences)} of {len(plain)} results differ")
    for line in broken[:30]:
        print("      " + line)
    for left, right in differences[:shown]:
        print(f"      plain: {left}\n      mount: {right}")
    sys.stdout.flush()
    return False
