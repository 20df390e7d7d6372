"""What public conformance suites (pjdfstest, LTP, xfstests) look at beyond single calls: who may do what in whose sticky
directory, limits, files without a name, access lists, leases, handles, flags, signals for sizes, unusual times."""

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import time

from base import EXCHANGE, Log, check, libc, rename2, run_as
from calls import write_file
from matrix import USERS, clear

EMPTY_PATH, NOFOLLOW, FOLLOW = 0x1000, 0x100, 0x400
ME = {"root": 0, "owner": 1001, "grouped": 1002, "other": 1003}


def sticky(log, root):
    """unlink, rmdir, rename from, rename over, exchange: directory and file of every owner, with and without the sticky bit."""
    place = os.path.join(root, "sticky")
    for user in "owner", "other", "grouped":
        for mode in 0o1777, 0o0777, 0o1770, 0o0755, 0o3775:
            for owner in 1001, 1003, 0:
                for file_owner in 1001, 1003, 0:
                    for label in "unlink", "rmdir", "from", "over", "over dir", "exchange", "into", "chdir":
                        os.mkdir(place)
                        os.mkdir(place + "/mine")
                        os.chown(place + "/mine", ME[user], ME[user])
                        write_file(place + "/mine/x")
                        os.chown(place + "/mine/x", ME[user], ME[user])
                        write_file(place + "/f")
                        os.mkdir(place + "/d")
                        for name in "f", "d":
                            os.chown(place + "/" + name, file_owner, 1001)
                        os.chown(place, owner, 1001)
                        os.chmod(place, mode)

                        def act():
                            inner = Log(place)
                            at = lambda name: os.path.join(place, name)  # noqa: E731
                            call = {
                                "unlink": lambda: os.unlink(at("f")), "rmdir": lambda: os.rmdir(at("d")),
                                "from": lambda: os.rename(at("f"), at("mine/y")),
                                "over": lambda: os.rename(at("mine/x"), at("f")),
                                "over dir": lambda: os.rename(at("mine"), at("d")),
                                "exchange": lambda: rename2(at("mine/x"), at("f"), EXCHANGE),
                                "into": lambda: os.rename(at("d"), at("mine/d")),
                                "chdir": lambda: os.chdir(at("d"))}[label]
                            inner.do(f"{user} {mode:o} {owner} {file_owner} {label}", call)
                            return inner.lines

                        log.lines += run_as(*USERS[user], act)
                        log.note(sorted(os.listdir(place)))
                        clear(place)
                        os.rmdir(place)


def link_descriptor(fd, name):
    return check(libc.linkat(-100, b"/proc/self/fd/%d" % fd, -100, os.fsencode(name), FOLLOW))


def tmpfiles(log, root):
    for user in "root", "other", "grouped":
        for mode in 0o777, 0o2777, 0o755:
            place = os.path.join(root, "tmpfile")
            os.mkdir(place)
            os.chown(place, 1001, 1500)
            os.chmod(place, mode)

            def act():
                inner = Log(place)
                os.umask(0o027)
                for flags in os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_EXCL, os.O_RDONLY:
                    fd = inner.do(f"open {user} {mode:o} {flags}", os.open, place, os.O_TMPFILE | flags, 0o6666)
                    if fd is None:
                        continue
                    inner.do("fstat", os.fstat, fd)
                    inner.do("write", os.write, fd, b"nameless" * 1000)
                    inner.do("fstat", os.fstat, fd)
                    inner.do("read", os.pread, fd, 100_000, 10)
                    inner.do("fchmod", os.fchmod, fd, 0o640)
                    inner.do("setxattr", os.setxattr, fd, "user.a", b"1")
                    inner.do("list", os.listdir, place)
                    inner.do("mmap", lambda: mmap.mmap(fd, 100)[:8])
                    inner.do("again", lambda: os.pread(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), 10, 4))
                    name = f"{place}/named{flags}"
                    inner.do("link", link_descriptor, fd, name)
                    inner.do("stat", os.stat, name)
                    inner.do("same", lambda: os.fstat(fd).st_ino == os.stat(name).st_ino)
                    inner.do("fstat", os.fstat, fd)
                    inner.do("write", os.write, fd, b"more")
                    inner.do("content", lambda: open(name, "rb").read())
                    inner.do("link again", link_descriptor, fd, name + "b")
                    inner.do("stat", os.stat, name)
                    inner.do("unlink", os.unlink, name)
                    inner.do("fstat", os.fstat, fd)
                    inner.do("list", lambda: sorted(os.listdir(place)))
                    os.close(fd)
                inner.do("in a file", os.open, __file__, os.O_TMPFILE | os.O_RDWR)
                inner.do("in nothing", os.open, place + "/none", os.O_TMPFILE | os.O_RDWR)
                return inner.lines

            log.lines += run_as(*USERS[user], act)
            clear(place)
            os.rmdir(place)


def acl(*entries):
    """The bytes of a POSIX access list, from (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, who & 0xffffffff) for tag, bits, who in entries)


OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHERS = 1, 2, 4, 8, 16, 32


def access_lists(log, root):
    access, default = "system.posix_acl_access", "system.posix_acl_default"
    lists = {
        "named user": acl((OBJ, 6, -1), (USER, 7, 1003), (GROUP_OBJ, 0, -1), (MASK, 7, -1), (OTHERS, 0, -1)),
        "masked": acl((OBJ, 6, -1), (USER, 7, 1003), (GROUP_OBJ, 7, -1), (MASK, 4, -1), (OTHERS, 0, -1)),
        "named group": acl((OBJ, 7, -1), (GROUP_OBJ, 0, -1), (GROUP, 6, 1500), (MASK, 7, -1), (OTHERS, 4, -1)),
        "denied": acl((OBJ, 7, -1), (USER, 0, 1003), (GROUP_OBJ, 7, -1), (MASK, 7, -1), (OTHERS, 7, -1)),
        "minimal": acl((OBJ, 6, -1), (GROUP_OBJ, 4, -1), (OTHERS, 0, -1)),
        "wrong": acl((OBJ, 6, -1), (GROUP_OBJ, 4, -1)),
        "no list": b"nonsense",
    }
    for label, text in lists.items():
        place = os.path.join(root, "acl")
        os.mkdir(place)
        os.chmod(place, 0o755)
        path, directory = place + "/f", place + "/d"
        write_file(path)
        os.mkdir(directory)
        for name in path, directory:
            os.chown(name, 1001, 1001)
        log.do(f"set {label}", os.setxattr, path, access, text)
        log.do("get", os.getxattr, path, access)
        log.do("stat", os.stat, path)
        log.do("list", lambda: sorted(os.listxattr(path)))
        log.do("default of a file", os.setxattr, path, default, text)
        log.do("directory", os.setxattr, directory, access, text)
        log.do("default", os.setxattr, directory, default, text)
        log.do("get default", os.getxattr, directory, default)
        for user in USERS:
            def act():
                inner = Log(place)
                os.umask(0o022)
                for mode in os.R_OK, os.W_OK, os.X_OK:
                    inner.do(f"{user} access {mode}", os.access, path, mode)
                    inner.do("directory", os.access, directory, mode)
                inner.do("open r", os.open, path, os.O_RDONLY)
                inner.do("open w", os.open, path, os.O_WRONLY)
                inner.do("list", os.listdir, directory)
                inner.do("open made", os.open, f"{directory}/f{user}", os.O_CREAT | os.O_WRONLY, 0o666)
                inner.do("mkdir", os.mkdir, f"{directory}/d{user}", 0o777)
                inner.do("mknod", os.mknod, f"{directory}/n{user}", stat.S_IFREG | 0o666)
                inner.do("symlink", os.symlink, "x", f"{directory}/s{user}")
                inner.do("tmpfile", lambda: describe_tmpfile(directory))
                inner.do("set", os.setxattr, path, access, lists["minimal"])
                return inner.lines
            log.lines += run_as(*USERS[user], act)
            for name in sorted(os.listdir(directory)):
                made = os.path.join(directory, name)
                log.do(name, os.lstat, made)
                if not os.path.islink(made):
                    log.do("its access", getxattr_or_none, made, access)
                    log.do("its default", getxattr_or_none, made, default)
        log.do("chmod", os.chmod, path, 0o640)
        log.do("get", os.getxattr, path, access)
        log.do("chmod", os.chmod, directory, 0o700)
        log.do("get", os.getxattr, directory, access)
        log.do("remove", os.removexattr, path, access)
        log.do("stat", os.stat, path)
        log.do("get", os.getxattr, path, access)
        log.do("remove default", os.removexattr, directory, default)
        log.do("mode as owner", lambda: None)
        clear(place)
        os.rmdir(place)


def getxattr_or_none(path, name):
    try:
        return os.getxattr(path, name)
    except OSError as error:
        return errno.errorcode[error.errno]


def describe_tmpfile(directory):
    fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o666)
    status = os.fstat(fd)
    found = f"{status.st_mode:o} {status.st_uid} {status.st_gid} {getxattr_or_none(fd, 'system.posix_acl_access')!r}"
    os.close(fd)
    return found


def limits(log, root):
    path = os.path.join(root, "limited")

    def limited():
        inner = Log(root)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        inner.do("write up to the limit", os.write, fd, bytes(12_000))
        inner.do("write beyond", os.write, fd, b"x")
        inner.do("pwrite beyond", os.pwrite, fd, b"x", 20_000)
        inner.do("pwrite across", os.pwrite, fd, bytes(100), 9_950)
        inner.do("ftruncate", os.ftruncate, fd, 10_001)
        inner.do("truncate", os.truncate, path, 1 << 40)
        inner.do("ftruncate", os.ftruncate, fd, 10_000)
        inner.do("fallocate", os.posix_fallocate, fd, 0, 20_000)
        source = os.open(__file__, os.O_RDONLY)
        inner.do("sendfile", lambda: os.sendfile(fd, source, 0, 5))
        os.lseek(fd, 10_000, os.SEEK_SET)
        inner.do("sendfile beyond", lambda: os.sendfile(fd, source, 0, 5))
        inner.do("append", os.write, os.open(path, os.O_WRONLY | os.O_APPEND), b"x")
        inner.do("stat", os.stat, path)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        child = os.fork()
        if child == 0:
            os.pwrite(fd, b"x", 20_000)
            os._exit(0)
        inner.note("signal", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return inner.lines

    log.lines += run_as(0, 0, [], limited)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    for size in (1 << 31) - 1, 1 << 31, (1 << 32) + 5, (1 << 44) - 4096, (1 << 44) - 4095, 1 << 44, 1 << 62, (1 << 63) - 1:
        log.do(f"ftruncate {size}", os.ftruncate, fd, size)
        log.do("truncate", os.truncate, path, size)
        log.note(os.fstat(fd).st_size)
        log.do("pwrite", os.pwrite, fd, b"end", size - 3)
        log.do("pread", os.pread, fd, 10, size - 3)
        log.do("seek data", os.lseek, fd, max(0, size - 8192), os.SEEK_DATA)
        os.ftruncate(fd, 0)
    for offset in (1 << 32) - 2, 1 << 33, (1 << 40) + 3:
        os.pwrite(fd, b"sparse", offset)
        os.ftruncate(fd, offset + 10_000)
        log.do("size", lambda: os.fstat(fd).st_size)
        with mmap.mmap(fd, 8192, offset=offset & ~4095) as memory:
            log.note(memory[offset & 4095:(offset & 4095) + 6])
            memory[(offset & 4095) + 6:(offset & 4095) + 7] = b"!"
        log.do("content", os.pread, fd, 9, offset)
        log.do("lseek hole", os.lseek, fd, 0, os.SEEK_DATA)
        os.ftruncate(fd, 0)
    os.close(fd)
    # Links up to the limit.
    last = None
    for number in range(66_000):
        try:
            os.link(path, f"{path}-{number}")
        except OSError as error:
            last = errno.errorcode[error.errno]
            break
    log.note("links", number, last, os.stat(path).st_nlink)
    clear(root)
    # Paths of exactly the limit.
    for length in 4094, 4095, 4096:
        inner = "./" * ((length - len(root) - 2) // 2)
        name = f"{root}/{inner}"
        name += "x" * (length - len(name))
        log.do(f"open of {length} bytes", os.open, name, os.O_CREAT | os.O_WRONLY)
        log.do("mkdir", os.mkdir, name[:-1] + "d")
        log.do("stat", os.stat, name)


def unusual_times(log, root):
    path = os.path.join(root, "times")
    write_file(path)
    for seconds in (-1, -2**31, -2**31 - 1, 2**31 - 1, 2**31, 2**32, 2**33, 15032385535, 15032385536, 2**40, -2**40, 2**62):
        log.do(f"utime {seconds}", os.utime, path, ns=(seconds * 10**9, seconds * 10**9 + 999_999_999))
        log.do("times", lambda: (os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns))
    os.symlink("times", root + "/link")
    log.do("of a link", os.utime, root + "/link", ns=(5, 6), follow_symlinks=False)
    log.do("times", lambda: (os.lstat(root + "/link").st_atime_ns, os.lstat(root + "/link").st_mtime_ns))

    # Who may set times: to now whoever may write, to others the owner alone.
    class Spec(ctypes.Structure):
        _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]

    now, omit = (0, 0x3fffffff), (0, 0x3ffffffe)
    for user in USERS:
        for mode in 0o644, 0o666, 0o664, 0o444:
            os.chown(path, 1001, 1001)
            os.chmod(path, mode)

            def act():
                inner = Log(root)
                for label, pair in {"now now": (now, now), "omit omit": (omit, omit), "now omit": (now, omit), "omit now": (omit, now),
                                    "set set": ((1, 2), (3, 4)), "set now": ((1, 2), now), "omit set": (omit, (3, 4))}.items():
                    spec = (Spec * 2)(Spec(*pair[0]), Spec(*pair[1]))
                    inner.do(f"{user} {mode:o} {label}", lambda: check(libc.utimensat(-100, os.fsencode(path), spec, 0)))
                inner.do("none", lambda: check(libc.utimensat(-100, os.fsencode(path), None, 0)))
                return inner.lines

            log.lines += run_as(*USERS[user], act)
    # Times of creation are told as lower tells them.
    out = subprocess.run(["stat", "-c", "%W", path], capture_output=True, text=True).stdout.strip()
    log.note("birth", out not in ("0", "-", ""), abs(int(out or 0) - time.time()) < 3600)


def descriptors(log, root):
    path, directory = root + "/f", root + "/d"
    write_file(path, b"content")
    os.mkdir(directory)
    os.symlink("f", root + "/l")
    # O_PATH.
    fd = os.open(path, os.O_PATH)
    for label, call in {"read": lambda: os.read(fd, 1), "write": lambda: os.write(fd, b"x"), "fchmod": lambda: os.fchmod(fd, 0o600),
                        "fstat": lambda: os.fstat(fd), "fsync": lambda: os.fsync(fd), "again": lambda: os.read(os.open(
                            f"/proc/self/fd/{fd}", os.O_RDONLY), 3), "fgetxattr": lambda: os.getxattr(fd, "user.x"),
                        "chmod by path": lambda: os.chmod(f"/proc/self/fd/{fd}", 0o604)}.items():
        log.do("path " + label, call)
    os.unlink(path)
    log.do("path fstat of the removed", os.fstat, fd)
    log.do("path link of the removed", lambda: check(libc.linkat(fd, b"", -100, os.fsencode(path), EMPTY_PATH)))
    log.do("path open of the removed", lambda: os.read(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), 3))
    os.close(fd)
    write_file(path, b"content")
    fd = os.open(path, os.O_RDONLY)
    log.do("link of a descriptor", lambda: check(libc.linkat(fd, b"", -100, os.fsencode(root + "/f2"), EMPTY_PATH)))
    log.do("stat", os.stat, path)
    link = os.open(root + "/l", os.O_PATH | os.O_NOFOLLOW)
    log.do("link fstat", os.fstat, link)
    log.do("link readlink", os.readlink, "", dir_fd=link)
    log.do("link open", os.open, root + "/l", os.O_RDONLY | os.O_NOFOLLOW)
    for flags in os.O_DIRECTORY, os.O_DIRECTORY | os.O_CREAT, os.O_DIRECTORY | os.O_RDWR, os.O_PATH | os.O_DIRECTORY:
        log.do(f"open directory flags {flags} of a file", os.open, path, flags)
        log.do(f"open directory flags {flags} of a directory", os.open, directory, flags)
        log.do(f"open directory flags {flags} of nothing", os.open, root + "/none", flags)
    # A symlink in the way of what is to be made.
    os.symlink("made-through", root + "/through")
    log.do("open excl through", os.open, root + "/through", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    log.do("open through", os.open, root + "/through", os.O_CREAT | os.O_WRONLY)
    log.do("mkdir through", os.mkdir, root + "/through")
    log.note(sorted(os.listdir(root)))
    # fcntl
    for flag in os.O_APPEND, os.O_NONBLOCK, os.O_DIRECT, os.O_NOATIME:
        log.do(f"setfl {flag}", fcntl.fcntl, fd, fcntl.F_SETFL, flag)
        log.do("getfl", lambda: fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_APPEND | os.O_NONBLOCK | os.O_DIRECT | os.O_NOATIME))
    log.do("dnotify", fcntl.fcntl, os.open(directory, os.O_RDONLY), fcntl.F_NOTIFY, 0)
    # Leases.
    fd = os.open(path, os.O_RDONLY)
    for lease in fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK:
        log.do(f"lease {lease}", fcntl.fcntl, fd, fcntl.F_SETLEASE, lease)
        log.do("getlease", fcntl.fcntl, fd, fcntl.F_GETLEASE)
    # Handles, ioctls, advice.
    buffer, mount = ctypes.create_string_buffer(136), ctypes.c_int()
    struct.pack_into("<I", buffer, 0, 128)
    log.note("handle", libc.name_to_handle_at(-100, os.fsencode(path), buffer, ctypes.byref(mount), 0) == 0)
    log.do("flags of attributes", lambda: bool(fcntl.ioctl(fd, 0x80086601, bytes(8))))
    log.do("readahead", lambda: check(libc.readahead(fd, ctypes.c_int64(0), 100)))
    log.do("fiemap size", lambda: len(fcntl.ioctl(fd, 0xC020660B, struct.pack("QQIIII", 0, 1 << 40, 0, 0, 0, 0))))
    log.do("bytes to read", lambda: struct.unpack("i", fcntl.ioctl(fd, 0x541B, bytes(4))))
    log.do("block size", lambda: struct.unpack("i", fcntl.ioctl(fd, 2, bytes(4))))
    log.do("clone", lambda: fcntl.ioctl(os.open(root + "/cloned", os.O_CREAT | os.O_WRONLY), 0x40049409, fd))
    log.do("syncfs", lambda: check(libc.syncfs(fd)))
    log.do("sync range", lambda: check(libc.sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(0), 7)))
    log.do("fdatasync of read only", os.fdatasync, fd)
    for whence in os.SEEK_SET, os.SEEK_CUR, os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE, 9:
        for offset in 0, 3, 7, 8, -1, -7, -8, (1 << 63) - 1:
            os.lseek(fd, 1, os.SEEK_SET)
            log.do(f"lseek {offset} {whence}", os.lseek, fd, offset, whence)
    os.close(fd)
    # fchmodat, faccessat, fchownat with flags.
    log.do("lchmod", lambda: check(libc.fchmodat(-100, os.fsencode(root + "/l"), 0o600, NOFOLLOW)))
    log.do("lchmod of a file", lambda: check(libc.fchmodat(-100, os.fsencode(path), 0o611, NOFOLLOW)))
    log.do("stat", os.stat, path)
    log.do("access of a link", lambda: check(libc.faccessat(-100, os.fsencode(root + "/l"), 4, NOFOLLOW)))
    # Sockets and FIFOs are found by whoever looks.
    here = os.open(".", os.O_RDONLY)
    os.chdir(root)
    server, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    log.do("bind", server.bind, "socket")
    log.do("connect before listening", client.connect, "socket")
    server.listen(1)
    log.do("connect", client.connect, "socket")
    log.do("bind again", socket.socket(socket.AF_UNIX).bind, "socket")
    log.do("open of a socket", os.open, "socket", os.O_RDWR)
    os.rename("socket", "moved")
    log.do("connect to the moved", socket.socket(socket.AF_UNIX).connect, "moved")
    os.mkfifo("pipe")
    log.do("open w without reader", os.open, "pipe", os.O_WRONLY | os.O_NONBLOCK)
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("pipe", os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, b"through")
    log.do("read", os.read, reader, 10)
    log.do("fstat", os.fstat, reader)
    os.fchdir(here)
    # Group and user of the caller decide, not those that were.
    for user in USERS:
        def act():
            inner = Log(root)
            for mode in range(8):
                inner.do(f"{user} access {mode}", os.access, path, mode)
                inner.do("effective", os.access, path, mode, effective_ids=True)
            for name in "f", "d":
                for mode in 0o2755, 0o1755, 0o4755, 0o7777:
                    inner.do(f"chmod {name} {mode:o}", os.chmod, f"{root}/{name}", mode)
                    inner.do("stat", os.stat, f"{root}/{name}")
            return inner.lines
        os.chown(path, 1001, 1500)
        os.chown(directory, 1002, 1001)
        log.lines += run_as(*USERS[user], act)


def watching(log, root):
    """inotify(7) tells of changes made through the same view."""
    fd = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(fd, os.fsencode(root), 0xfff)
    path = root + "/w"

    def told(label):
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            data = b""
        words = []
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            words.append(f"{mask:x} {data[16:16 + length].rstrip(bytes(1)).decode()}")
            data = data[16 + length:]
        log.note("told of", label, words)

    write_file(path)
    told("writing")
    open(path).read()
    told("reading")
    os.chmod(path, 0o600)
    told("chmod")
    os.rename(path, path + "2")
    told("rename")
    os.link(path + "2", path)
    told("link")
    os.truncate(path, 1)
    told("truncate")
    os.unlink(path)
    os.mkdir(path)
    os.rmdir(path)
    told("unlink, mkdir, rmdir")
    os.close(fd)


def in_steps(log, root):
    """What a directory shows while its names change, and what a rename of directories does to those who stand in them."""
    for a, b in ("a", "b"), ("deep/a", "deep/b"):
        os.makedirs(f"{root}/{a}/inner/deeper")
        os.makedirs(f"{root}/{b}")
        here = os.open(f"{root}/{a}/inner/deeper", os.O_RDONLY)
        child = os.open(f"{root}/{a}/inner", os.O_PATH)
        os.rename(f"{root}/{a}/inner", f"{root}/{b}/inner")
        log.do("open through the moved", os.open, "made", os.O_CREAT | os.O_WRONLY, dir_fd=here)
        log.do("listed", os.listdir, f"{root}/{b}/inner/deeper")
        log.do("parent", lambda: os.path.samestat(os.stat("..", dir_fd=child), os.stat(f"{root}/{b}")))
        log.do("links", lambda: (os.stat(f"{root}/{a}").st_nlink, os.stat(f"{root}/{b}").st_nlink))
        log.do("into itself", os.rename, f"{root}/{b}", f"{root}/{b}/inner/deeper/x")
        log.do("exchange with itself below", rename2, f"{root}/{b}", f"{root}/{b}/inner", EXCHANGE)
        log.do("over its parent", os.rename, f"{root}/{b}/inner", f"{root}/{b}")
        log.do("dot", os.rename, f"{root}/{b}/.", f"{root}/c")
        log.do("dot dot", os.rename, f"{root}/{b}/inner/..", f"{root}/c")
        log.do("to dot", os.rename, f"{root}/{a}", f"{root}/{b}/.")
        log.do("cross", os.rename, f"{root}/{a}", "/dev/shm/casher-cross")
        log.do("cross link", os.link, __file__, "/dev/shm/casher-cross")
        os.rename(f"{root}/{b}", f"{root}/{a}")
        log.do("listed", lambda: sorted(os.listdir(f"{root}/{a}")))
        log.do("made", os.stat, f"{root}/{a}/inner/deeper/made")


SECTIONS = {body.__name__: body for body in (
    sticky, tmpfiles, access_lists, limits, unusual_times, descriptors, watching, in_steps)}


def section(name, root):
    place = os.path.join(root, name)
    os.mkdir(place)
    log = Log(place)
    SECTIONS[name](log, place)
    subprocess.run(["rm", "-rf", place])
    return log.lines
