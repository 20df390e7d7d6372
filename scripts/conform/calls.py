"""What calls must do beyond their result: times, links, sizes, holes, names, directories, mappings."""

import ctypes
import fcntl
import mmap
import os
import random
import stat
import struct
import time

from base import EXCHANGE, KEEP_SIZE, NOREPLACE, PUNCH_HOLE, WHITEOUT, ZERO, Log, fallocate, libc, rename2, run_as, snapshot
from matrix import USERS, clear


def times(path, follow=True):
    status = os.stat(path, follow_symlinks=follow)
    return status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns


def changed(log, label, paths, call, *arguments, **keywords):
    """Which of the times of `paths` the call changes."""
    before = {path: times(path, False) if os.path.lexists(path) else None for path in paths}
    time.sleep(0.012)  # the kernel's clock for files goes in steps
    log.do(label, call, *arguments, **keywords)
    for path in paths:
        after = times(path, False) if os.path.lexists(path) else None
        if before[path] is None or after is None:
            word = f"{before[path] is not None} {after is not None}"
        else:
            word = "".join(letter if new > old else letter.upper() + "!" if new < old else "-"
                           for letter, old, new in zip("amc", before[path], after))
        log.note(f"  {label}:", os.path.basename(path), word)


def write_file(path, data=b"data"):
    with open(path, "wb") as file:
        file.write(data)


def mapped_write(path):
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 0) as memory:
        os.close(fd)
        memory[0:1] = b"M"
        memory.flush()


def mapped_write_open(path, log):
    """The time changes at the latest with msync, while the file is still mapped and open."""
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 0) as memory:
        before = os.stat(path).st_mtime_ns
        time.sleep(0.012)
        memory[0:1] = b"N"
        memory.flush()
        log.note("mapped write", os.stat(path).st_mtime_ns > before, os.fstat(fd).st_mtime_ns > before)
        before = os.stat(path).st_mtime_ns
        time.sleep(0.012)
        memory[1:2] = b"O"
        memory.flush()
        log.note("mapped write again", os.stat(path).st_mtime_ns > before, os.fstat(fd).st_mtime_ns > before)
    os.close(fd)


def timestamps(log, root):
    d, f, g = (os.path.join(root, name) for name in ("d", "d/f", "d/g"))
    os.mkdir(d)
    both = [d, f]
    changed(log, "create", both, write_file, f)
    changed(log, "overwrite", both, write_file, f)
    fd = os.open(f, os.O_RDWR)
    changed(log, "write", both, os.write, fd, b"more")
    changed(log, "pwrite", both, os.pwrite, fd, b"more", 100)
    changed(log, "write nothing", both, os.write, fd, b"")
    changed(log, "ftruncate same", both, os.ftruncate, fd, os.fstat(fd).st_size)
    changed(log, "ftruncate", both, os.ftruncate, fd, 3)
    changed(log, "truncate same", both, os.truncate, f, 3)
    changed(log, "truncate", both, os.truncate, f, 9)
    changed(log, "fsync", both, os.fsync, fd)
    changed(log, "fallocate", both, fallocate, fd, 0, 0, 8192)
    changed(log, "fallocate keep", both, fallocate, fd, KEEP_SIZE, 0, 65536)
    changed(log, "punch", both, fallocate, fd, KEEP_SIZE | PUNCH_HOLE, 0, 4096)
    os.close(fd)
    changed(log, "trunc at open", both, lambda: os.close(os.open(f, os.O_WRONLY | os.O_TRUNC)))
    changed(log, "trunc of empty", both, lambda: os.close(os.open(f, os.O_WRONLY | os.O_TRUNC)))
    changed(log, "open w", both, lambda: os.close(os.open(f, os.O_WRONLY)))
    changed(log, "creat there", both, lambda: os.close(os.open(f, os.O_WRONLY | os.O_CREAT)))
    write_file(f, b"z" * 5000)
    changed(log, "mapped write", both, mapped_write, f)
    mapped_write_open(f, log)
    changed(log, "chmod", both, os.chmod, f, 0o600)
    changed(log, "chmod same", both, os.chmod, f, 0o600)
    changed(log, "chown", both, os.chown, f, 1001, 1001)
    changed(log, "chown -1", both, os.chown, f, -1, -1)
    changed(log, "setxattr", both, os.setxattr, f, "user.a", b"1")
    changed(log, "removexattr", both, os.removexattr, f, "user.a")
    changed(log, "link", both + [g], os.link, f, g)
    changed(log, "unlink", both + [g], os.unlink, g)
    changed(log, "rename", both + [g], os.rename, f, g)
    changed(log, "rename back", both + [g], os.rename, g, f)
    write_file(g)
    log.do("hold", os.link, f, os.path.join(root, "held"))
    changed(log, "rename over", both + [g, os.path.join(root, "held")], os.rename, g, f)
    write_file(g)
    changed(log, "exchange", both + [g], rename2, f, g, EXCHANGE)
    sub, other = os.path.join(d, "sub"), os.path.join(root, "other")
    os.mkdir(other)
    changed(log, "mkdir", [d, sub], os.mkdir, sub)
    changed(log, "mkdir in sub", [d, sub], os.mkdir, os.path.join(sub, "x"))
    changed(log, "move dir", [d, sub, other, other + "/sub"], os.rename, sub, other + "/sub")
    changed(log, "rmdir", [other, other + "/sub"], os.rmdir, other + "/sub/x")
    changed(log, "symlink", [d, d + "/s"], os.symlink, "f", d + "/s")
    changed(log, "mkfifo", [d], os.mkfifo, d + "/p")
    changed(log, "stat", both, os.stat, f)
    # utimensat: explicit, now, omitted.
    class Spec(ctypes.Structure):
        _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]

    def utimens(access, modify):
        pair = (Spec * 2)(Spec(*access), Spec(*modify))
        if libc.utimensat(-100, os.fsencode(f), pair, 0) < 0:
            raise OSError(ctypes.get_errno(), "utimensat")

    now, omit = (0, 0x3fffffff), (0, 0x3ffffffe)
    for label, pair in ("set", ((11, 12), (13, 14))), ("omit access", (omit, (15, 999999999))), (
            "omit both", (omit, omit)), ("before 1970", ((-5, 1), (-6, 2))), ("2200", ((7258118400, 5), (7258118400, 6))), (
            "bad", ((0, 1000000000), (0, 0))), ("omit modified", ((21, 22), omit)):
        log.do("utimens " + label, utimens, *pair)
        log.note(times(f)[:2])
    log.do("utimens now", utimens, now, (31, 0))
    log.note(abs(times(f)[0] - time.time_ns()) < 2_000_000_000, times(f)[1])
    log.do("utimens now", utimens, (32, 0), now)
    log.note(times(f)[0], abs(times(f)[1] - time.time_ns()) < 2_000_000_000)
    # A read is seen in the access time where that is older than the modification (relatime).
    os.utime(f, ns=(1, 5))
    with open(f, "rb") as file:
        file.read()
    log.note("atime after reading", times(f)[0] > 1)
    os.utime(d, ns=(1, 5))
    os.listdir(d)
    log.note("atime after listing", times(d)[0] > 1)
    os.utime(d + "/s", ns=(1, 5), follow_symlinks=False)
    os.readlink(d + "/s")
    log.note("atime after readlink", times(d + "/s", False)[0] > 1)


def links(log, root):
    a, b = os.path.join(root, "la"), os.path.join(root, "lb")
    write_file(a, b"first")
    fd = os.open(a, os.O_RDWR)
    for number in range(5):
        os.link(a, f"{b}{number}")
        log.note(os.stat(a).st_nlink, os.fstat(fd).st_nlink, os.stat(f"{b}{number}").st_nlink)
    log.note(len({os.stat(path).st_ino for path in [a] + [f"{b}{n}" for n in range(5)]}), os.fstat(fd).st_ino == os.stat(a).st_ino)
    os.rename(f"{b}0", f"{b}1")  # the same file: nothing happens
    log.note(os.path.exists(f"{b}0"), os.stat(a).st_nlink)
    for number in range(5):
        os.unlink(f"{b}{number}")
        log.note(os.stat(a).st_nlink, os.fstat(fd).st_nlink)
    os.unlink(a)
    log.do("fstat of the nameless", os.fstat, fd)
    log.do("write", os.pwrite, fd, b"later", 100)
    log.do("read", os.pread, fd, 200, 0)
    log.do("ftruncate", os.ftruncate, fd, 7)
    log.do("fchmod", os.fchmod, fd, 0o4711)
    log.do("fchown", os.fchown, fd, 1002, 1003)
    log.do("futimens", os.utime, fd, ns=(100, 200))
    log.do("fsetxattr", os.setxattr, fd, "user.x", b"1")
    log.do("flistxattr", os.listxattr, fd)
    log.do("fallocate", fallocate, fd, 0, 0, 10000)
    log.do("fsync", os.fsync, fd)
    log.do("fstat", os.fstat, fd)
    log.note(os.fstat(fd).st_mtime_ns > 200)
    log.do("open again", lambda: os.read(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), 3))
    log.do("link again", os.link, f"/proc/self/fd/{fd}", a, follow_symlinks=True)
    os.close(fd)
    # A directory that is the working directory of someone is removed.
    d = os.path.join(root, "gone")
    os.mkdir(d)
    here = os.open(".", os.O_RDONLY)
    os.chdir(d)
    os.rmdir(d)
    log.do("create in the removed", os.open, "x", os.O_CREAT | os.O_WRONLY)
    log.do("mkdir in the removed", os.mkdir, "x")
    log.do("list the removed", os.listdir, ".")
    log.do("stat the removed", os.stat, ".")
    log.do("getcwd of the removed", os.getcwd)
    log.do("parent of the removed", lambda: os.path.samefile("..", root))
    os.fchdir(here)
    # A file that another is renamed over stays for whoever has it open.
    write_file(a, b"old")
    fd = os.open(a, os.O_RDWR)
    write_file(b, b"new")
    os.rename(b, a)
    log.note(os.read(fd, 10), open(a, "rb").read(), os.fstat(fd).st_nlink, os.fstat(fd).st_ino != os.stat(a).st_ino)
    os.close(fd)
    # One inode by several names, removed and made again under the same names.
    for round in range(50):
        write_file(a, b"%d" % round)
        os.link(a, b)
        os.unlink(a)
        os.rename(b, a)
        log.note(open(a, "rb").read(), os.stat(a).st_nlink)
        os.unlink(a)


def names(log, root):
    d = os.path.join(os.fsencode(root), b"names")
    os.mkdir(d)
    for name in [b"a" * 255, b"a" * 256, b"a" * 1024, b"a" * 1025, b"a" * 4096, "\u00fc".encode() * 127, b"\xff\xfe\x80", b" ",
                 b"\n", b"\\", b"a,b", b"...", b"-", bytes(range(1, 47)), bytes(range(48, 256)), b"'\"", b"\x7f"]:
        path = os.path.join(d, name)
        log.do(f"open {name[:20]!r} {len(name)}", os.open, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        log.do("stat", os.stat, path)
        log.do("mkdir", os.mkdir, path + b".d"[:max(0, 255 - len(name))])
        log.do("symlink", os.symlink, name, os.path.join(d, b"s" + name[:200]))
        log.do("readlink", os.readlink, os.path.join(d, b"s" + name[:200]))
        log.do("rename", os.rename, path, path[:-1] + b"!")
    log.note(sorted(os.listdir(d)))
    log.do("long target", os.symlink, b"t" * 4095, d + b"/long")
    log.do("readlink", os.readlink, d + b"/long")
    log.do("longer target", os.symlink, b"t" * 4096, d + b"/longer")
    log.do("empty target", os.symlink, b"", d + b"/none")
    log.do("empty name", os.stat, b"")
    # A chain of 40 links, and one of 41.
    write_file(d + b"/l0")
    for number in range(1, 43):
        os.symlink(b"l%d" % (number - 1), d + b"/l%d" % number)
    for number in 39, 40, 41, 42:
        log.do(f"chain {number}", os.stat, d + b"/l%d" % number)
    # Deeper than PATH_MAX.
    here = os.open(".", os.O_RDONLY)
    os.chdir(d)
    for level in range(60):
        os.mkdir(b"d" * 100)
        os.chdir(b"d" * 100)
    write_file(b"bottom", b"deep")
    log.note(open(b"bottom", "rb").read())
    log.do("getcwd", lambda: len(os.getcwd()) - len(root))
    log.do("up", lambda: [os.chdir("..") for _ in range(60)] and os.path.samefile(".", d))
    log.do("too long", os.stat, b"/".join([b"d" * 100] * 60))
    os.fchdir(here)
    os.close(here)


def directories(log, root):
    d = os.path.join(root, "big")
    os.mkdir(d)
    for number in range(3000):
        os.close(os.open(f"{d}/name-{number:05}-{'x' * (number % 60)}", os.O_CREAT | os.O_WRONLY))
    log.note(len(os.listdir(d)), sorted(os.listdir(d)) == sorted(e.name for e in os.scandir(d)))
    log.note({e.is_file(follow_symlinks=False) for e in os.scandir(d)}, all(
        e.inode() == os.stat(e.path).st_ino for e in list(os.scandir(d))[:200]))
    # telldir, seekdir, rewinddir.
    libc.opendir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long

    class Entry(ctypes.Structure):
        _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("len", ctypes.c_uint16), ("type", ctypes.c_uint8),
                    ("name", ctypes.c_char * 256)]

    libc.readdir.restype = ctypes.POINTER(Entry)
    stream = ctypes.c_void_p(libc.opendir(os.fsencode(d)))
    order, marks = [], []
    while True:
        mark = libc.telldir(stream)
        entry = libc.readdir(stream)
        if not entry:
            break
        marks.append(mark)
        order.append(bytes(entry.contents.name))
    log.note("stream", len(order), len(set(order)))
    pick = random.Random(5)
    wrong = 0
    for _ in range(500):
        index = pick.randrange(len(order))
        libc.seekdir(stream, ctypes.c_long(marks[index]))
        for step in range(min(3, len(order) - index)):
            if bytes(libc.readdir(stream).contents.name) != order[index + step]:
                wrong += 1
    log.note("seekdir wrong", wrong)
    libc.rewinddir(stream)
    write_file(d + "/brand-new")
    again = []
    while entry := libc.readdir(stream):
        again.append(bytes(entry.contents.name))
    log.note("after rewinddir", len(again), b"brand-new" in again)
    libc.closedir(stream)
    # Everything that stays through a listing is listed once, whatever is removed meanwhile.
    seen = []
    for entry in os.scandir(d):
        seen.append(entry.name)
        if len(seen) % 2:
            os.unlink(entry.path)
    log.note("removed while listing", len(seen) == len(set(seen)), len(seen), len(os.listdir(d)))
    log.do("rmdir full", os.rmdir, d)
    for name in os.listdir(d):
        os.unlink(os.path.join(d, name))
    log.do("rmdir", os.rmdir, d)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    log.do("fsync of a directory", os.fsync, fd)
    log.do("read of a directory", os.read, fd, 10)
    log.do("lseek of a directory", os.lseek, fd, 0, os.SEEK_SET)
    log.do("ftruncate of a directory", os.ftruncate, fd, 0)
    os.close(fd)
    for number in range(1, 30):
        os.makedirs(f"{root}/many/{number}")
        log.note(os.stat(f"{root}/many").st_nlink)
    for number in range(1, 30):
        os.rmdir(f"{root}/many/{number}")
        log.note(os.stat(f"{root}/many").st_nlink)


def holes(fd):
    """Data and holes as (start, is data), to the end."""
    result, position, end = [], 0, os.fstat(fd).st_size
    while position < end:
        try:
            data = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:
            result.append((position, "hole"))
            break
        if data > position:
            result.append((position, "hole"))
        hole = os.lseek(fd, data, os.SEEK_HOLE)
        result.append((data, "data"))
        position = hole
    return result


def sizes(log, root):
    path = os.path.join(root, "sparse")
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    big = 5 << 30
    log.do("pwrite far", os.pwrite, fd, b"end", big)
    log.do("pwrite", os.pwrite, fd, b"middle", (4 << 30) - 3)
    log.do("fstat", os.fstat, fd)
    log.note("blocks", os.fstat(fd).st_blocks < 100)
    log.do("pread", os.pread, fd, 10, big - 2)
    log.do("pread", os.pread, fd, 10, (4 << 30) - 5)
    os.fsync(fd)
    log.note(holes(fd))
    log.do("append", lambda: os.write(os.open(path, os.O_WRONLY | os.O_APPEND), b"x"))
    log.do("stat", os.stat, path)
    with mmap.mmap(fd, 4096, offset=4 << 30) as memory:
        log.note(memory[:8])
        memory[100:104] = b"MMAP"
    log.do("pread", os.pread, fd, 4, (4 << 30) + 100)
    log.do("truncate", os.truncate, path, (4 << 30) + 102)
    log.do("pread", os.pread, fd, 9, (4 << 30) + 98)
    log.do("grow", os.truncate, path, 6 << 30)
    log.do("pread", os.pread, fd, 9, (4 << 30) + 98)
    log.do("too large", os.ftruncate, fd, 1 << 62)
    log.do("far beyond", os.pwrite, fd, b"x", (1 << 63) - 2)
    log.do("beyond lower's most", os.pwrite, fd, b"x", 1 << 60)
    log.do("negative", os.pwrite, fd, b"x", -1)
    log.do("seek negative", os.lseek, fd, -1, os.SEEK_SET)
    log.do("seek data beyond", os.lseek, fd, 1 << 40, os.SEEK_DATA)
    log.do("seek hole beyond", os.lseek, fd, 1 << 40, os.SEEK_HOLE)
    log.do("seek end", os.lseek, fd, -4, os.SEEK_END)
    log.do("seek bad", os.lseek, fd, 0, 9)
    os.close(fd)
    os.unlink(path)
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(fd, b"filled " * 50_000)
    os.pwrite(fd, b"known" * 1000, 100_000)
    # FUSE carries no other modes: COLLAPSE_RANGE, INSERT_RANGE and UNSHARE_RANGE are refused by the kernel.
    for mode, offset, length in [(0, 0, 400_000), (KEEP_SIZE, 0, 1 << 20), (PUNCH_HOLE, 0, 4096), (KEEP_SIZE | PUNCH_HOLE,
                                 4096, 8192), (KEEP_SIZE | PUNCH_HOLE, 50_001, 60_000), (ZERO, 8192, 4096), (
                                 ZERO | KEEP_SIZE, 399_000, 8192), (0, -1, 5), (0, 0, 0), (0, 5, -5), (0, 1 << 62,
                                 1 << 62), (KEEP_SIZE | PUNCH_HOLE, 1 << 40, 4096), (1 << 14, 0, 5)]:
        log.do(f"fallocate {mode} {offset} {length}", fallocate, fd, mode, offset, length)
        log.do("fstat", os.fstat, fd)
        log.do("content", lambda: os.pread(fd, 1 << 20, 90_000))
    os.close(fd)
    read_only = os.open(path, os.O_RDONLY)
    log.do("fallocate read only", fallocate, read_only, 0, 0, 10)
    log.do("ftruncate read only", os.ftruncate, read_only, 3)
    log.do("write read only", os.write, read_only, b"x")
    os.close(read_only)
    write_only = os.open(path, os.O_WRONLY)
    log.do("read write only", os.read, write_only, 1)
    log.do("map write only", mmap.mmap, write_only, 4096)
    os.close(write_only)


def copying(log, root):
    source, target = os.path.join(root, "source"), os.path.join(root, "target")
    write_file(source, random.Random(1).randbytes(3_000_000))
    for count, offset, to in (3_000_000, 0, 0), (1000, 5, 7), (10, 2_999_995, 0), (10, 5_000_000, 0), (0, 0, 0), (
            1 << 40, 1_000_000, 4_000_000):
        a, b = os.open(source, os.O_RDONLY), os.open(target, os.O_RDWR | os.O_CREAT)
        # How much one call copies is the filesystem's choice.
        def whole(count=count, offset=offset, to=to):
            done = 0
            while done < count:
                copied = os.copy_file_range(a, b, min(count - done, 1 << 30), offset + done, to + done)
                if copied == 0:
                    break
                done += copied
            return done
        log.do(f"copy_file_range {count} {offset} {to}", whole)
        log.do("content", os.pread, b, 1 << 25, 0)
        log.do("fstat", os.fstat, b)
        os.close(a)
        os.close(b)
    fd = os.open(source, os.O_RDWR)
    log.do("overlapping", os.copy_file_range, fd, fd, 1000, 0, 500)
    log.do("same file", os.copy_file_range, fd, fd, 1000, 0, 5000)
    log.do("content", os.pread, fd, 1 << 25, 0)
    append = os.open(target, os.O_WRONLY | os.O_APPEND)
    log.do("to append", os.copy_file_range, fd, append, 1000, 0, 5000)
    reading = os.open(target, os.O_RDONLY)
    log.do("to read only", os.copy_file_range, fd, reading, 1000, 0, 0)
    log.do("from write only", os.copy_file_range, append, fd, 1000, 0, 0)
    directory = os.open(root, os.O_RDONLY)
    log.do("from a directory", os.copy_file_range, directory, fd, 10)
    log.do("sendfile", os.sendfile, os.open(target, os.O_WRONLY | os.O_TRUNC), fd, 0, 100_000)
    log.do("stat", os.stat, target)
    outside = os.memfd_create("x")
    log.do("to another filesystem", os.copy_file_range, fd, outside, 1000)
    # Shell's ways: append from several descriptors, flags changed while open.
    path = os.path.join(root, "append")
    one, two = (os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND) for _ in "12")
    for number in range(20):
        os.write(one if number % 2 else two, b"%d," % number)
    log.do("appended", os.pread, one, 1000, 0)
    log.do("pwrite appends", os.pwrite, one, b"P", 0)
    log.do("appended", os.pread, one, 1000, 0)
    fcntl.fcntl(one, fcntl.F_SETFL, fcntl.fcntl(one, fcntl.F_GETFL) & ~os.O_APPEND)
    log.do("no longer appends", os.pwrite, one, b"Q", 0)
    log.do("content", os.pread, two, 1000, 0)
    plain = os.open(path, os.O_RDWR)
    fcntl.fcntl(plain, fcntl.F_SETFL, os.O_APPEND)
    log.do("appends now", os.write, plain, b"R")
    log.do("content", os.pread, two, 1000, 0)
    log.do("mapped", lambda: mmap.mmap(two, 10)[:5])
    # O_DIRECT.
    direct = log.do("open direct", os.open, path, os.O_RDWR | os.O_DIRECT)
    page = mmap.mmap(-1, 8192)
    page[:4] = b"DIRC"
    log.do("direct write", os.pwrite, direct, memoryview(page)[:4096], 4096)
    log.do("direct read", os.preadv, direct, [memoryview(page)[4096:]], 4096)
    log.note(page[4096:4100])
    log.do("seen", os.pread, two, 4, 4096)
    os.pwrite(two, b"BUFF", 4096)
    log.do("direct read", os.preadv, direct, [memoryview(page)[4096:]], 4096)
    log.note(page[4096:4100])
    # Vectors, flags.
    log.do("pwritev", os.pwritev, two, [b"a", b"bc", b""], 0)
    log.do("preadv", os.preadv, two, [bytearray(3), bytearray(5)], 0)
    log.do("advise", os.posix_fadvise, two, 0, 0, os.POSIX_FADV_DONTNEED)
    log.do("lease", fcntl.fcntl, two, fcntl.F_GETLEASE)
    log.do("ioctl", fcntl.ioctl, two, 0x1234)
    log.do("pathconf", lambda: (os.pathconf(root, "PC_NAME_MAX"), os.pathconf(root, "PC_LINK_MAX") > 0))


def mappings(log, root):
    path = os.path.join(root, "map")
    write_file(path, bytes(20_000))
    fd, again = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    shared, second = mmap.mmap(fd, 20_000), mmap.mmap(again, 20_000)
    private = mmap.mmap(fd, 20_000, flags=mmap.MAP_PRIVATE)
    shared[0:5] = b"share"
    log.note(second[0:5], private[0:5], os.pread(again, 5, 0))
    os.pwrite(again, b"write", 5000)
    log.note(shared[5000:5005], second[5000:5005], private[5000:5005])
    private[0:5] = b"mine!"
    log.note(shared[0:5], os.pread(fd, 5, 0), private[0:5])
    child = os.fork()
    if child == 0:
        shared[100:105] = b"child"
        third = os.open(path, os.O_RDWR)
        mmap.mmap(third, 20_000)[200:205] = b"third"
        os.pwrite(third, b"after", 300)
        os._exit(0)
    os.waitpid(child, 0)
    log.note(second[100:105], os.pread(fd, 5, 200), shared[300:305])
    shared.flush()
    log.do("ftruncate", os.ftruncate, fd, 4096 * 2 + 10)
    log.note(second[4096 * 2:4096 * 2 + 20])
    shared[4096 * 2 + 15:4096 * 2 + 18] = b"xyz"  # beyond the end, in the last page
    os.ftruncate(fd, 20_000)
    log.note("beyond the end", os.pread(fd, 30, 4096 * 2))
    child = os.fork()
    if child == 0:
        os.ftruncate(fd, 0)
        shared[5000]
        os._exit(0)
    log.note("beyond the end ends by signal", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.unlink(path)
    os.ftruncate(fd, 20_000)
    shared[0:4] = b"gone"
    log.note(os.pread(again, 4, 0), second[0:4])
    for memory in shared, second, private:
        memory.close()
    os.close(fd)
    os.close(again)
    # What is executed cannot be written.
    program = os.path.join(root, "sleeper")
    with open("/bin/sleep", "rb") as file:
        write_file(program, file.read())
    os.chmod(program, 0o755)
    child = os.fork()
    if child == 0:
        os.execv(program, [program, "100"])
    while os.readlink(f"/proc/{child}/exe") != program:
        time.sleep(0.01)
    log.do("open w of what runs", os.open, program, os.O_WRONLY)
    log.do("truncate of what runs", os.truncate, program, 1)
    log.do("unlink of what runs", os.unlink, program)
    os.kill(child, 9)
    os.waitpid(child, 0)


def exclusive(log, root):
    """O_EXCL, link and mkdir are won by one of many."""
    for kind in "excl", "link", "mkdir", "rename":
        wins = 0
        source = os.path.join(root, "excl-source")
        write_file(source)
        for round in range(30):
            path = os.path.join(root, f"{kind}-{round}")
            children = []
            reading, writing = os.pipe()
            for number in range(4):
                child = os.fork()
                if child == 0:
                    os.close(writing)
                    mine = f"{path}.{number}"
                    if kind == "rename":
                        write_file(mine)
                    os.read(reading, 1)  # all begin at once
                    try:
                        if kind == "excl":
                            os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                        elif kind == "link":
                            os.link(source, path)
                        elif kind == "mkdir":
                            os.mkdir(path)
                        else:
                            rename2(mine, path, NOREPLACE)
                        os._exit(1)
                    except FileExistsError:
                        os._exit(0)
                    except BaseException:
                        os._exit(100)
                children.append(child)
            os.close(reading)
            os.close(writing)
            for child in children:
                wins += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        log.note(kind, wins)
    # Appends of several processes are all there.
    path = os.path.join(root, "appended")
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for line in range(300):
                os.write(fd, b"%d:%03d\n" % (number, line))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    log.note("appended", len(lines), sorted(lines)[:3], all(
        [l for l in lines if l[:1] == b"%d" % n] == [b"%d:%03d" % (n, i) for i in range(300)] for n in range(4)))


def privileges(log, root):
    """Set-id bits and capabilities go when an ordinary user writes; root's writes leave set-id bits alone."""
    path = os.path.join(root, "setid")
    ways = {
        "write": lambda: os.write(os.open(path, os.O_WRONLY), b"x"),
        "pwrite at end": lambda: os.pwrite(os.open(path, os.O_WRONLY), b"x", 10000),
        "append": lambda: os.write(os.open(path, os.O_WRONLY | os.O_APPEND), b"x"),
        "truncate": lambda: os.truncate(path, 1),
        "ftruncate": lambda: os.ftruncate(os.open(path, os.O_WRONLY), 1),
        "open trunc": lambda: os.open(path, os.O_WRONLY | os.O_TRUNC) and 0,
        "fallocate": lambda: fallocate(os.open(path, os.O_WRONLY), 0, 0, 9999),
        "punch": lambda: fallocate(os.open(path, os.O_WRONLY), PUNCH_HOLE | KEEP_SIZE, 0, 3),
        "mapped": lambda: mapped_write(path),
        "chown": lambda: os.chown(path, -1, os.getegid()),
        "chown -1": lambda: os.chown(path, -1, -1),
        "chmod": lambda: os.chmod(path, 0o6755),
        "utime": lambda: os.utime(path),
        "setxattr": lambda: os.setxattr(path, "user.x", b"1"),
        "copy_file_range": lambda: os.copy_file_range(os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY), 2, 0, 4),
        "direct": lambda: os.pwrite(os.open(path, os.O_WRONLY | os.O_DIRECT), mmap.mmap(-1, 4096), 0),
    }
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    for user in USERS:
        for mode in 0o6777, 0o2766, 0o4777, 0o2676, 0o6666:
            for label, way in ways.items():
                write_file(path, b"content" * 100)
                os.chown(path, 1001, 1500)
                os.chmod(path, mode)
                os.setxattr(path, "security.capability", capability)

                def act():
                    inner = Log(root)
                    inner.do(label, lambda: way() and 0)
                    return inner.lines

                log.case(f"{user} {mode:o} {label}")
                log.lines += run_as(*USERS[user], act)
                log.do("stat", os.stat, path)
                log.do("capability", lambda: len(os.getxattr(path, "security.capability")))
                os.unlink(path)


def inheritance(log, root):
    """Who owns what is made, in directories with and without the set-group-id bit, under several masks."""
    place = os.path.join(root, "inherit")
    for user in USERS:
        for mode in 0o777, 0o2777, 0o3777:
            for mask in 0, 0o022, 0o077, 0o777:
                for group in 0, 1001, 1500:
                    os.mkdir(place)
                    os.chown(place, 1004, group)
                    os.chmod(place, mode)

                    def act():
                        inner = Log(root)
                        os.umask(mask)
                        at = lambda name: os.path.join(place, name)  # noqa: E731
                        inner.do("open", os.open, at("f"), os.O_CREAT | os.O_WRONLY, 0o6777)
                        inner.do("open x", os.open, at("g"), os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o2767)
                        inner.do("mkdir", os.mkdir, at("d"), 0o3777)
                        inner.do("mkdir in", os.mkdir, at("d/d"), 0o777)
                        inner.do("mknod", os.mknod, at("n"), stat.S_IFREG | 0o2771)
                        inner.do("mkfifo", os.mkfifo, at("p"), 0o666)
                        inner.do("symlink", os.symlink, "x", at("s"))
                        inner.do("chmod", os.chmod, at("f"), 0o2755)
                        inner.do("chgrp", os.chown, at("g"), -1, 1500)
                        inner.do("chgrp", os.chown, at("d"), -1, 1001)
                        return inner.lines

                    log.case(f"{user} {mode:o} {mask:o} {group}")
                    log.lines += run_as(*USERS[user], act)
                    log.lines += snapshot(place)
                    clear(place)
                    os.rmdir(place)


def attributes(log, root):
    path = os.path.join(root, "attrs")
    write_file(path)
    for number in range(20):
        os.setxattr(path, f"user.name{number}", b"v" * number)
    log.do("list", lambda: sorted(os.listxattr(path)))
    for number in range(20):
        log.do("get", os.getxattr, path, f"user.name{number}")
    for size in 0, 1, 10, 100:
        buffer = ctypes.create_string_buffer(max(size, 1))
        result = libc.getxattr(os.fsencode(path), b"user.name10", buffer, size)
        log.note("getxattr size", size, result, ctypes.get_errno() if result < 0 else 0)
        result = libc.listxattr(os.fsencode(path), buffer, size)
        log.note("listxattr size", size, result, ctypes.get_errno() if result < 0 else 0)
    log.do("large", os.setxattr, path, "user.large", b"x" * 2000)
    log.do("get large", os.getxattr, path, "user.large")
    log.do("acl", os.getxattr, path, "system.posix_acl_access")
    statistics = os.statvfs(path)
    log.note("statvfs", statistics.f_bsize, statistics.f_frsize, statistics.f_blocks, statistics.f_namemax)
    log.do("tmpfile", os.open, root, os.O_TMPFILE | os.O_RDWR)


def whiteouts(log, root):
    one, two = os.path.join(root, "w1"), os.path.join(root, "w2")
    write_file(one)
    log.do("whiteout", rename2, one, two, WHITEOUT)
    log.do("left", os.lstat, one)


def everything(root, full):
    lines = []
    for body in timestamps, links, names, directories, sizes, copying, mappings, exclusive, attributes, whiteouts:
        place = os.path.join(root, body.__name__)
        os.mkdir(place)
        log = Log(place)
        log.case(f"{body.__name__}")
        try:
            body(log, place)
        except Exception as error:
            import traceback
            log.note("EXCEPTION", body.__name__, repr(error), traceback.format_exc().splitlines()[-3].strip())
        lines += log.lines
        os.system(f"rm -rf '{place}'")
    return lines


def users(root):
    place = os.path.join(root, "users")
    os.mkdir(place)
    log = Log(place)
    privileges(log, place)
    inheritance(log, place)
    os.rmdir(place)
    return log.lines
