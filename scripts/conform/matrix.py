"""Every call on every kind of file, by several users; every kind renamed over every other."""

import os
import socket
import stat

from base import EXCHANGE, IS_ROOT, NOREPLACE, Log, case, rename2, run_as, snapshot

#: Name: user, group, supplementary groups.
USERS = {
    "root": (0, 0, []), "owner": (1001, 1001, []), "grouped": (1002, 1002, [1001, 1500]), "other": (1003, 1003, []),
}
#: Who owns what is made: an ordinary user can only be itself, and that is what it is called "root" for.
OWNER, GROUP = (1001, 1001) if IS_ROOT else (os.geteuid(), os.getegid())
KINDS = ["absent", "file", "program", "empty", "full", "link", "dirlink", "dangling", "loop", "fifo", "sock", "twin"]


#: What else is there when there is one of a kind: what links lead to, and other names.
NEEDED = {"link": {"target"}, "dirlink": {"targetdir"}, "twin": {"twin2"}}


def make_kinds(root, wanted=None, owner=OWNER, group=GROUP):
    """One of each kind, of this owner; or only those that are wanted, with what they need."""
    def path(name):
        return os.path.join(root, name)

    def is_wanted(name):
        return wanted is None or name in wanted or any(name in NEEDED.get(other, ()) for other in wanted)

    def own(name):
        os.lchown(path(name), owner, group)

    for name, mode in ("file", 0o664), ("program", 0o6775), ("twin", 0o640), ("target", 0o644):
        if is_wanted(name):
            with open(path(name), "wb") as file:
                file.write(name.encode() * 3)
            own(name)
            os.chmod(path(name), mode)
    if is_wanted("twin2"):
        os.link(path("twin"), path("twin2"))
    for name in "empty", "full", "targetdir":
        if is_wanted(name):
            os.mkdir(path(name))
            own(name)
    if is_wanted("full"):
        with open(path("full/inner"), "wb") as file:
            file.write(b"inner")
        os.mkdir(path("full/deep"))
        own("full/inner")
        own("full/deep")
        os.chmod(path("full"), 0o775)
    for name, target in ("link", "target"), ("dirlink", "targetdir"), ("dangling", "nowhere"), ("loop", "loop"):
        if is_wanted(name):
            os.symlink(target, path(name))
            own(name)
    if is_wanted("fifo"):
        os.mkfifo(path("fifo"))
        own("fifo")
    if is_wanted("sock"):
        # A socket's path is short.
        here = os.open(".", os.O_RDONLY)
        os.chdir(root)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("sock")
        os.chdir(here)
        os.close(here)
        own("sock")


def clear(root):
    for name in os.listdir(root):
        path = os.path.join(root, name)
        if os.path.isdir(path) and not os.path.islink(path):
            if not IS_ROOT:
                os.chmod(path, 0o700)
            clear(path)
            os.rmdir(path)
        else:
            os.unlink(path)


def opened(log, label, path, flags, mode=0o666, write=None):
    fd = log.do("open " + label, os.open, path, flags | os.O_NONBLOCK, mode)
    if fd is None:
        return
    log.do("fstat", os.fstat, fd)
    if flags & os.O_ACCMODE != os.O_WRONLY:
        log.do("read", os.read, fd, 10)
    if flags & os.O_ACCMODE != os.O_RDONLY:
        log.do("write", os.write, fd, b"WRITTEN")
        log.do("ftruncate", os.ftruncate, fd, 3)
        log.do("fallocate", os.posix_fallocate, fd, 0, 9)
    log.do("fchmod", os.fchmod, fd, 0o640)
    log.do("fstat", os.fstat, fd)
    os.close(fd)


def operations(full):
    """(label, function of log and path), for each call."""
    result = []

    def add(label, body):
        result.append((label, body))

    r, w, rw = os.O_RDONLY, os.O_WRONLY, os.O_RDWR
    flags = [("r", r), ("w", w), ("rw", rw), ("w trunc", w | os.O_TRUNC), ("r trunc", r | os.O_TRUNC),
             ("w creat", w | os.O_CREAT), ("w creat excl", w | os.O_CREAT | os.O_EXCL), ("rw creat trunc",
             rw | os.O_CREAT | os.O_TRUNC), ("w append", w | os.O_APPEND), ("r nofollow", r | os.O_NOFOLLOW),
             ("r directory", r | os.O_DIRECTORY), ("path", os.O_PATH), ("creat 0444", w | os.O_CREAT)]
    if full:
        flags += [("w creat nofollow", w | os.O_CREAT | os.O_NOFOLLOW), ("r creat directory",
                  r | os.O_CREAT | os.O_DIRECTORY), ("r creat", r | os.O_CREAT), ("r sync", r | os.O_SYNC),
                  ("rw trunc sync", rw | os.O_TRUNC | os.O_DSYNC), ("r noatime", r | os.O_NOATIME)]
    for label, flag in flags:
        if label == "path":
            add(label, lambda log, p: log.do("open path", os.open, p, os.O_PATH))
        else:
            mode = 0o444 if "0444" in label else 0o2757
            add("open " + label, lambda log, p, l=label, f=flag, m=mode: opened(log, l, p, f, m))
    add("stat", lambda log, p: (log.do("stat", os.stat, p), log.do("lstat", os.lstat, p)))
    for label, mode in ("f", os.F_OK), ("r", os.R_OK), ("w", os.W_OK), ("x", os.X_OK), ("rwx", 7):
        add("access " + label, lambda log, p, m=mode: log.do("access", os.access, p, m))
    add("unlink", lambda log, p: log.do("unlink", os.unlink, p))
    add("rmdir", lambda log, p: log.do("rmdir", os.rmdir, p))
    add("unlink slash", lambda log, p: log.do("unlink/", os.unlink, p + "/"))
    add("rmdir slash", lambda log, p: log.do("rmdir/", os.rmdir, p + "/"))
    add("rmdir dot", lambda log, p: log.do("rmdir/.", os.rmdir, p + "/."))
    add("rmdir dotdot", lambda log, p: log.do("rmdir/..", os.rmdir, p + "/.."))
    add("stat below", lambda log, p: log.do("stat below", os.stat, p + "/x"))
    add("mkdir", lambda log, p: log.do("mkdir", os.mkdir, p, 0o1777))
    add("mkdir slash", lambda log, p: log.do("mkdir/", os.mkdir, p + "/", 0o777))
    add("mkdir below", lambda log, p: log.do("mkdir below", os.mkdir, p + "/x", 0o777))
    for label, kind in ("fifo", stat.S_IFIFO), ("file", stat.S_IFREG), ("sock", stat.S_IFSOCK), ("chr", stat.S_IFCHR):
        add("mknod " + label, lambda log, p, k=kind: log.do("mknod", os.mknod, p, k | 0o666, os.makedev(1, 3)))
    add("symlink", lambda log, p: log.do("symlink", os.symlink, "some/where", p))
    add("link to", lambda log, p: log.do("link", os.link, p, os.path.join(os.path.dirname(p), "new")))
    add("link to follow", lambda log, p: log.do(
        "link", os.link, p, os.path.join(os.path.dirname(p), "new"), follow_symlinks=True))
    add("link from", lambda log, p: log.do("link", os.link, os.path.join(os.path.dirname(p), "target"), p))
    add("readlink", lambda log, p: log.do("readlink", os.readlink, p))
    add("listdir", lambda log, p: log.do("listdir", lambda q: sorted(os.listdir(q)), p))
    add("truncate", lambda log, p: log.do("truncate", os.truncate, p, 5))
    add("truncate up", lambda log, p: log.do("truncate", os.truncate, p, 50_000))
    add("truncate negative", lambda log, p: log.do("truncate", os.truncate, p, -1))
    for mode in 0o600, 0o4755, 0o2755, 0o2644, 0o1777, 0:
        add(f"chmod {mode:o}", lambda log, p, m=mode: log.do("chmod", os.chmod, p, m))
    for user, group in (-1, -1), (1001, -1), (-1, 1001), (-1, 1500), (1002, -1), (0, 0), (1003, 1003):
        add(f"chown {user}:{group}", lambda log, p, u=user, g=group: log.do("chown", os.chown, p, u, g))
        add(f"lchown {user}:{group}", lambda log, p, u=user, g=group: log.do("lchown", os.lchown, p, u, g))
    add("utime now", lambda log, p: log.do("utime", os.utime, p))
    add("utime set", lambda log, p: (
        log.do("utime", os.utime, p, ns=(1_000_000_001, 2_000_000_002)),
        log.do("times", lambda: [set_time(each) for each in (os.stat(p).st_atime_ns, os.stat(p).st_mtime_ns)])))
    add("lutime set", lambda log, p: (
        log.do("utime", os.utime, p, ns=(5, 6), follow_symlinks=False),
        log.do("mtime", lambda: set_time(os.lstat(p).st_mtime_ns))))
    for name in "user.note", "trusted.note", "security.note", "nonsense", "system.nonsense", "user." + "n" * 251:
        add("xattr " + name[:20], lambda log, p, n=name: extended(log, p, n))
    add("exec", lambda log, p: log.do("exec", execute, p))
    add("chdir", lambda log, p: log.do("chdir", change_directory, p))
    add("statvfs", lambda log, p: log.do("statvfs", lambda: os.statvfs(p).f_namemax))
    return result


def set_time(nanoseconds):
    """A time that has been set; where that was refused it is the present one, which differs from run to run."""
    return nanoseconds if nanoseconds < 1_000_000_000_000_000_000 else "of now"


def execute(path):
    child = os.fork()
    if child == 0:
        try:
            os.execv(path, [path])
        except OSError as error:
            os._exit(error.errno)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def change_directory(path):
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path)
        return os.path.basename(os.getcwd())
    finally:
        os.fchdir(here)
        os.close(here)


def extended(log, path, name):
    log.do("getxattr", os.getxattr, path, name)
    log.do("setxattr", os.setxattr, path, name, b"value")
    log.do("create", os.setxattr, path, name, b"value2", os.XATTR_CREATE)
    log.do("getxattr", os.getxattr, path, name)
    log.do("listxattr", lambda: sorted(n for n in os.listxattr(path) if n != "security.selinux"))
    log.do("removexattr", os.removexattr, path, name)
    log.do("replace", os.setxattr, path, name, b"value3", os.XATTR_REPLACE)
    log.do("lsetxattr", os.setxattr, path, name, b"v", 0, follow_symlinks=False)
    log.do("llist", lambda: sorted(os.listxattr(path, follow_symlinks=False)))
    log.do("empty", os.setxattr, path, name, b"")
    log.do("large", os.setxattr, path, name, b"x" * 70_000)


def unary(root, full):
    """Every call on every kind, in directories of several modes."""
    lines = []
    settings = [("root", 0o755), ("owner", 0o777), ("grouped", 0o3775), ("other", 0o1777)]
    if full:
        settings += [("owner", 0o3777), ("owner", 0o300), ("owner", 0o500), ("grouped", 0o2777), ("other", 0o755),
                     ("other", 0o774), ("grouped", 0o1777), ("root", 0o2777)]
    for user, mode in [each for each in settings if IS_ROOT or each[0] == "root"]:
        place = os.path.join(root, "matrix")
        os.mkdir(place)
        for label, body in operations(full):
            for kind in KINDS:
                # "link from" is from the target.
                make_kinds(place, {kind, "target"})
                os.chown(place, OWNER, GROUP)
                os.chmod(place, mode)
                lines.append(case(f"{user} {mode:o} {label} {kind}"))

                def act():
                    log = Log(place)
                    os.umask(0o027)
                    body(log, os.path.join(place, kind))
                    return log.lines

                lines += run_as(*USERS[user], act)
                lines += snapshot(place)
                clear(place)
        os.rmdir(place)
    return lines


def renames(root, full):
    """Every kind renamed over every kind, plainly and with flags."""
    lines = []
    settings = [("root", 0o755), ("other", 0o1777)] + ([("owner", 0o1777), ("grouped", 0o775)] if full else [])
    for user, mode in [each for each in settings if IS_ROOT or each[0] == "root"]:
        place = os.path.join(root, "renames")
        os.mkdir(place)
        for flags in 0, NOREPLACE, EXCHANGE, NOREPLACE | EXCHANGE, 64:
            for old in KINDS + ["full/deep"]:
                for new in KINDS + ["full/inner", "full/deep", "full/deep/x", "full/absent", "empty/", "twin2", "file/x"]:
                    make_kinds(place, {old.partition("/")[0], new.partition("/")[0], "twin"})
                    os.chown(place, OWNER, GROUP)
                    os.chmod(place, mode)
                    lines.append(case(f"{user} rename {old} {new} {flags}"))

                    def act():
                        log = Log(place)
                        log.do("rename", rename2, os.path.join(place, old), os.path.join(place, new), flags)
                        return log.lines

                    lines += act() if user == "root" else run_as(*USERS[user], act)
                    if flags in (0, 2):
                        lines += snapshot(place)
                    clear(place)
        os.rmdir(place)
    return lines
