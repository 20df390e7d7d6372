"""What a miss costs: a command under acache that was never run, beside the plain command and beside strace."""

import itertools
import os

import work
from casher import Mount, remove
from harness import Benchmark, Contender, Target, judged, program, spawn

#: What pycasher 0.5 starts strace with.
STRACE_ALL = [
    "strace", "-f", "-yy", "-s", "4096", "-e",
    "trace=openat,open,openat2,read,write,pread64,pwrite64,readv,writev,close,stat,lstat,newfstatat,statx,access,"
    "faccessat,faccessat2,chdir,fchdir", "-o"]
#: The least that tells which files were used.
STRACE_FILES = ["strace", "-f", "-y", "--seccomp-bpf", "-e", "trace=%file", "-o"]

numbers = itertools.count()


def miss(mount, *command, options=(), usage=None):
    """Measures a call that cannot be a hit: a salt of its own makes it another command each time."""
    def measure():
        arguments = mount.acache(*command, options=("--salt", str(next(numbers)), *options))
        return spawn(arguments, mount.directory, mount.environment, usage=usage)
    return measure


def compare(session, name, title, command, rounds, targets, make=lambda target: None, clear=(), straced=True, note=""):
    """The command plainly, under acache and under strace, each in a directory that `make` has filled; `clear` names what
    is removed before each run."""
    plain = session.directory(name + "-plain")
    make(plain)
    trace = plain + ".trace"
    with Mount(session.directory(name)) as mount:
        make(mount.directory)

        def clearing(directory):
            return lambda: remove(*(os.path.join(directory, each) for each in clear))

        contenders = [
            Contender("plain", program(*command, directory=plain), clearing(plain)),
            Contender("acache, miss", miss(mount, *command), clearing(mount.directory)),
            Contender("in the mount, no acache", program(*command, directory=mount.directory), clearing(mount.directory)),
        ]
        if straced:
            contenders += [
                Contender("strace as pycasher uses it", program(*STRACE_ALL, trace, *command, directory=plain),
                          clearing(plain), rounds=session.rounds(3, 1)),
                Contender("strace, seccomp-bpf, files", program(*STRACE_FILES, trace, *command, directory=plain),
                          clearing(plain), rounds=session.rounds(5, 1)),
            ]
        yield Benchmark(name, title, contenders, rounds, targets=targets, note=note).run(), mount
    remove(trace)


def ratio_target(text, limit):
    return [Target(text, "acache, miss", limit, "plain")]


def true(session, name):
    for result, _ in compare(session, name, "miss, /bin/true", ["/bin/true"], session.rounds(40), [
            Target("miss, /bin/true", "acache, miss", 0.015)]):
        yield result


def imports(session, name):
    modules = session.size(300, 60)
    for result, _ in compare(
            session, name, f"miss, Python program with {modules} imported modules", [work.python(), "imports.py"],
            session.rounds(9), ratio_target(f"miss, Python with {modules} imported modules", 1.3),
            lambda target: work.python_imports(target, modules)):
        yield result


def find(session, name):
    where = session.size("/usr/include", "/usr/include/linux/netfilter")
    command = ["sh", "-c", f"find {where} -name '*.h' | xargs cat"]
    for result, _ in compare(session, name, f"miss, find {where} -name '*.h' | xargs cat", command, session.rounds(5),
                             ratio_target("miss, find /usr/include | xargs cat", 4)):
        yield result


def write(session, name):
    """One large output; the memory that it takes must not depend on its size."""
    size = session.size(1024, 32)
    command = [work.python(), "write.py", str(size)]
    usage = {}
    results = compare(
        session, name, f"miss, a command that writes {size} MiB", command, session.rounds(5),
        ratio_target(f"miss, a command that writes {size} MiB", 1.15),
        lambda target: work.script(os.path.join(target, "write.py"), work.WRITE_LARGE), clear=["large"], straced=False)
    for result, mount in results:
        before = mount.memory()
        mount.forget_peak()
        remove(mount.path("large"))
        miss(mount, *command, usage=usage)()
        mount.casherfs("evict", "--max-size", "0")
        grown = max(0, mount.memory("VmHWM") - before)
        result["targets"].append(judged(
            f"miss that writes {size} MiB: what the daemon's memory grew by at its peak", grown, 32 << 20, unit="bytes"))
        result["targets"].append(judged(
            f"miss that writes {size} MiB: the most memory of acache or the command", usage["memory"], 64 << 20,
            unit="bytes"))
        yield result


def files(session, name):
    """Many outputs: by a process each, and by one program alone, which is as fast as files can be made."""
    count = session.size(5000, 100)
    for kind, text, command, limit in (
            ("", "head for each", ["sh", "-c", f"mkdir many; for i in $(seq {count}); do head -c 4096 /dev/urandom "
                                   ">many/$i; done"], 2),
            ("-fast", "one program", [work.python(), "write.py", str(count)], None)):
        targets = ratio_target(f"miss, {count} files of 4 KiB", limit) if limit else []
        for result, _ in compare(
                session, name + kind, f"miss, {count} files of 4 KiB ({text})", command, session.rounds(5), targets,
                lambda target: work.script(os.path.join(target, "write.py"), work.WRITE_MANY), clear=["many"]):
            yield result


def lua(session, name):
    def make(target):
        session.material.lua(target)
        work.script(os.path.join(target, "build"), f"#!/bin/sh\nmake clean && exec {' '.join(session.material.build)}\n")

    for result, _ in compare(session, name, "miss, Lua built with make -j2", ["./build"], session.rounds(5),
                             ratio_target("miss, Lua make -j2", 1.25), make):
        yield result


BENCHMARKS = {
    "miss-true": true, "miss-imports": imports, "miss-find": find, "miss-write": write, "miss-files": files,
    "miss-lua": lua,
}
