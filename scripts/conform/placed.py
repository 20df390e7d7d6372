"""Every call on files that a hit has left, which are only blobs until they are changed: while nobody has them open, and while
another process has them open, mapped and locked."""

import fcntl
import hashlib
import mmap
import os
import subprocess
import sys

from base import EXCHANGE, NOREPLACE, PUNCH_HOLE, KEEP_SIZE, Log, fallocate, rename2, run_as, snapshot
from calls import times
from known import LARGE
from matrix import USERS, operations

BIG = len(LARGE)
#: Makes so many directories with a file of each kind.
MAKE = """
import os, sys
os.umask(0)
big = bytes(range(256)) * %d
for number in range(int(sys.argv[1])):
    os.mkdir(f"c{number}", 0o777)
    for name, mode, data in ("f", 0o664, b"ordinary" * 3), ("p", 0o6775, b"program" * 3), ("b", 0o666, big):
        if name in sys.argv[2]:
            with open(f"c{number}/{name}", "wb") as file:
                file.write(data)
            os.chmod(f"c{number}/{name}", mode)
            os.setxattr(f"c{number}/{name}", "user.mark", b"1")
""" % (BIG // 256)


def more_operations():
    """What only matters where the content is somewhere else."""
    def opened(flags, *steps):
        def body(log, path):
            fd = log.do("open", os.open, path, flags)
            if fd is None:
                return
            for label, call in steps:
                log.do(label, call, fd)
                log.do("fstat", os.fstat, fd)
            if flags & os.O_ACCMODE != os.O_WRONLY and not flags & os.O_DIRECT:
                log.do("content", os.pread, fd, 2 * BIG, 0)
            os.close(fd)
        return body

    def mapped(log, path):
        fd = log.do("open", os.open, path, os.O_RDWR)
        if fd is None:
            return
        with mmap.mmap(fd, 0) as memory:
            memory[3:6] = b"MAP"
            log.do("read", os.pread, fd, 10, 0)
            log.do("truncate", os.truncate, path, 10)
            log.do("mapped", lambda: bytes(memory[:10]))
        os.close(fd)

    def private(log, path):
        fd = log.do("open", os.open, path, os.O_RDONLY)
        if fd is None:
            return
        with mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE) as memory:
            memory[0:3] = b"own"
            log.do("private", lambda: bytes(memory[:10]))
        os.close(fd)

    def in_two(log, path):
        reader = log.do("open r", os.open, path, os.O_RDONLY)
        writer = log.do("open w", os.open, path, os.O_RDWR)
        if reader is None or writer is None:
            return
        log.do("write", os.pwrite, writer, b"TWO", 1)
        log.do("append", os.pwrite, writer, b"END", os.fstat(writer).st_size)
        log.do("seen", os.pread, reader, 20, 0)
        log.do("size", os.fstat, reader)
        log.do("same", lambda: os.fstat(reader).st_ino == os.fstat(writer).st_ino == os.stat(path).st_ino)
        for fd in reader, writer:
            os.close(fd)

    def around(call):
        return lambda log, path: log.do("call", call, path, os.path.join(os.path.dirname(path), "other"))

    def over(log, path):
        other = os.path.join(os.path.dirname(path), "other")
        with open(other, "wb") as file:
            file.write(b"other")
        log.do("over", os.rename, other, path)

    def exchange(log, path):
        other = os.path.join(os.path.dirname(path), "other")
        os.mkdir(other)
        log.do("exchange", rename2, other, path, EXCHANGE)

    def directory(log, path):
        here = os.path.dirname(path)
        log.do("move", os.rename, here, here + "-moved")
        log.do("content", lambda: hashlib.sha256(open(f"{here}-moved/{os.path.basename(path)}", "rb").read()).hexdigest())
        log.do("back", os.rename, here + "-moved", here)

    def linked(log, path):
        other = os.path.join(os.path.dirname(path), "other")
        log.do("link", os.link, path, other)
        log.do("append", lambda: open(other, "ab").write(b"more"))
        log.do("stat", os.stat, path)
        log.do("onto itself", os.rename, path, other)
        log.do("unlink", os.unlink, path)
        log.do("stat", os.stat, other)

    def locked(log, path):
        fd = log.do("open", os.open, path, os.O_RDWR)
        if fd is not None:
            log.do("lease", fcntl.fcntl, fd, fcntl.F_GETLEASE)
            log.do("flock", fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            log.do("lockf", fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(fd)

    def copied(log, path):
        source, target = log.do("open", os.open, path, os.O_RDONLY), os.path.join(os.path.dirname(path), "other")
        if source is None:
            return
        to = os.open(target, os.O_RDWR | os.O_CREAT, 0o600)
        log.do("copy out", os.copy_file_range, source, to, 20, 0, 0)
        log.do("sendfile", os.sendfile, to, source, 0, 20)
        back = log.do("open w", os.open, path, os.O_WRONLY)
        if back is not None:
            log.do("copy in", os.copy_file_range, to, back, 10, 0, 5)
        log.do("data", os.lseek, source, 0, os.SEEK_DATA)
        log.do("hole", os.lseek, source, 0, os.SEEK_HOLE)
        log.do("fsync", os.fsync, source)

    def below(log, path):
        fd = log.do("open", os.open, path, os.O_PATH)
        log.do("unlink", os.unlink, path)
        log.do("fstat", os.fstat, fd)
        log.do("read", lambda: os.pread(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), 10, 0))
        if os.fstat(fd).st_size < 1 << 20:
            log.do("write", lambda: os.pwrite(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), b"x", 0))
        log.do("chmod", os.chmod, f"/proc/self/fd/{fd}", 0o600)
        log.do("fstat", os.fstat, fd)

    rw = os.O_RDWR
    return [
        ("mapped", mapped), ("private", private), ("two", in_two), ("over", over), ("exchange", exchange),
        ("directory", directory), ("linked", linked), ("locked", locked), ("copied", copied), ("below", below),
        ("rename", around(os.rename)), ("noreplace", around(lambda a, b: rename2(a, b, NOREPLACE))),
        ("whiteout", around(lambda a, b: rename2(a, b, 4))),
        ("write", opened(rw, ("write", lambda fd: os.write(fd, b"W")), ("pwrite", lambda fd: os.pwrite(fd, b"X", 50_000)))),
        ("append", opened(rw | os.O_APPEND, ("write", lambda fd: os.write(fd, b"AAA")))),
        ("direct", opened(rw | os.O_DIRECT, ("write", lambda fd: os.pwrite(fd, mmap.mmap(-1, 4096), 0)))),
        ("sync", opened(rw | os.O_SYNC, ("write", lambda fd: os.write(fd, b"W")))),
        ("trunc", opened(rw | os.O_TRUNC, ("write", lambda fd: os.write(fd, b"W")))),
        ("punch", opened(rw, ("punch", lambda fd: fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 2, 5)))),
        ("fchmod r", opened(os.O_RDONLY, ("fchmod", lambda fd: os.fchmod(fd, 0o604)), ("fsync", os.fsync))),
        ("futimens r", opened(os.O_RDONLY, ("utime", lambda fd: os.utime(fd, ns=(1, 2))))),
        ("fsetxattr r", opened(os.O_RDONLY, ("set", lambda fd: os.setxattr(fd, "user.x", b"1")))),
        ("fsync r", opened(os.O_RDONLY, ("fsync", os.fsync), ("fdatasync", os.fdatasync))),
        ("read", opened(os.O_RDONLY, ("read", lambda fd: os.read(fd, 10)), ("seek", lambda fd: os.lseek(fd, -5, 2)))),
    ]


class Holder:
    """A process that has the file open, mapped and locked while it is changed."""

    def __init__(self, path):
        self.path = path
        back, answer = os.pipe()
        ask, self.go = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            os.close(self.go)
            fd = os.open(path, os.O_RDONLY)
            memory = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
            fcntl.flock(fd, fcntl.LOCK_SH)
            fcntl.lockf(fd, fcntl.LOCK_SH)
            old = bytes(memory)
            os.write(answer, b"ready")
            os.read(ask, 1)
            os.write(answer, repr(self.look(fd, memory, old)).encode())
            os._exit(0)
        os.close(answer)
        os.close(ask)
        self.back = back
        os.read(back, 10)

    def look(self, fd, memory, old):
        now = os.pread(fd, 2 * BIG, 0)
        first = memory[:min(len(memory), len(now))] if now else b""
        status = os.fstat(fd)
        return (len(now), hashlib.sha256(now).hexdigest()[:12], first == now[:len(first)], status.st_size, status.st_nlink,
                oct(status.st_mode))

    def end(self, log):
        try:
            other = os.open(self.path, os.O_RDONLY)
            log.do("flock of another", fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(other)
        except OSError:
            pass
        os.close(self.go)
        log.note("held:", os.read(self.back, 1000).decode())
        os.close(self.back)
        os.waitpid(self.child, 0)


def cases(full):
    for user in ("root", "other") if full else ("root",):
        for kind in "f", "p", "b":
            for held in (False, True):
                for label, body in operations(full) + more_operations():
                    if user == "other" and "utime" in label:
                        continue
                    if label.startswith(("mknod", "mkdir", "listdir", "exec")) or user == "other" and (held or kind == "b"):
                        continue
                    yield user, kind, held, label, body


def everything(place, full):
    log = Log(place.root)
    wanted = list(cases(full))
    # In portions, so that the large ones do not fill a disk.
    for start in range(0, len(wanted), 100):
        portion = wanted[start:start + 100]
        directory = os.path.join(place.root, "placed")
        kinds = "".join(sorted({kind for _, kind, _, _, _ in portion}))
        count = place.leave("placed", [sys.executable, "-S", "-E", "-c", MAKE, str(len(portion)), kinds])
        if place.mounted and count != len(portion) * len(kinds):
            log.note("EXCEPTION placed", count)
        for number, (user, kind, held, label, body) in enumerate(portion):
            here = os.path.join(directory, f"c{number}")
            path = os.path.join(here, kind)
            log.case(f"{user} {kind} {'held' if held else 'alone'} {label}")
            before, inode = times(path), os.stat(path).st_ino
            holder = Holder(path) if held else None

            def act():
                inner = Log(place.root)
                os.umask(0o027)
                body(inner, path)
                return inner.lines

            log.lines += run_as(*USERS[user], act)
            if holder:
                holder.end(log)
            if os.path.lexists(path):
                after = times(path, False)
                log.note("times", after[1] != before[1], after[2] != before[2], os.lstat(path).st_ino == inode)
                if os.path.isfile(path):
                    log.do("mark", os.getxattr, path, "user.mark")
            log.lines += snapshot(here)
        subprocess.run(["rm", "-rf", directory], check=True)
    return log.lines
