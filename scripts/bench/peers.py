"""Casher beside the tools that people use for the same, on the same work in the same run."""

import glob
import os
import shutil
import subprocess

import work
from casher import Mount, remove
from harness import Benchmark, Contender, Skip, program, spawn
from hits import hit
from misses import STRACE_ALL, miss, numbers

#: Versions that were compared with; both want Python 3.12.
PACKAGES = ["pycasher==0.5.18", "cashet==0.5.0"]

READ_AND_WRITE = """import sys
with open("in.txt") as source:
    text = source.read()
with open("out.txt", "w") as out:
    out.write(text.upper())
"""

CASHET = """import sys
from cashet import Client

def work(path, salt):
    with open(path) as source:
        text = source.read()
    with open("out.txt", "w") as out:
        out.write(text.upper())
    return len(text)

with Client() as client:
    client.submit(work, "in.txt", sys.argv[1]).load()
"""


def environment_of(session):
    """The directory of programs of a virtual environment with pycasher and cashet; nil, and said, when there is none."""
    home = os.path.join(session.material.directory, "bench-venv")
    if os.path.exists(os.path.join(home, ".complete")):
        return os.path.join(home, "bin")
    pythons = [shutil.which(f"python3.{minor}") for minor in (12, 13, 14)]
    pythons += glob.glob(os.path.expanduser("~/.pyenv/versions/3.1[2-9]*/bin/python3"))
    for python in filter(None, pythons):
        if subprocess.run([python, "-c", "import venv"], capture_output=True).returncode:
            continue
        os.makedirs(session.material.directory, exist_ok=True)
        commands = ([python, "-m", "venv", "--clear", home], [os.path.join(home, "bin/pip"), "install", "-q", *PACKAGES])
        if all(subprocess.run(command, capture_output=True).returncode == 0 for command in commands):
            open(os.path.join(home, ".complete"), "w").close()
            return os.path.join(home, "bin")
    session.say("pycasher and cashet are skipped: there is no Python 3.12, or PyPI cannot be reached")
    return None


def pycasher(programs, directory, *command):
    """Arguments and environment of a call of pycasher with a cache of the directory's own."""
    return [os.path.join(programs, "casher"), "--", *command], dict(os.environ, CASHER_CACHE_DIR=directory + ".pycasher")


def python(session, name):
    """A small Python program: one file read, one written."""
    programs = environment_of(session)
    plain = session.directory(name + "-plain")
    with Mount(session.directory(name)) as mount:
        for directory in (plain, mount.directory):
            work.script(os.path.join(directory, "in.txt"), "some text\n" * 100)
            work.script(os.path.join(directory, "program.py"), READ_AND_WRITE)
            work.script(os.path.join(directory, "function.py"), CASHET)
        command = [work.python(), "program.py"]
        mount.record(*command)
        output = os.path.join(plain, "out.txt")
        contenders = [
            Contender("plain", program(*command, directory=plain)),
            Contender("acache, miss", miss(mount, *command)),
            Contender("acache, hit, output kept", hit(mount, *command)),
            Contender("acache, hit, output deleted", hit(mount, *command), lambda: remove(mount.path("out.txt"))),
            Contender("strace as pycasher uses it", program(*STRACE_ALL, plain + ".trace", *command, directory=plain)),
        ]
        if programs:
            arguments, environment = pycasher(programs, plain, *command)
            first = lambda: spawn([*arguments, str(next(numbers))], plain, environment)
            again = program(*arguments, directory=plain, environment=environment)
            again()
            cashet = os.path.join(programs, "python3")
            contenders += [
                Contender("pycasher, miss", first),
                Contender("pycasher, hit, output kept", again),
                Contender("pycasher, hit, output deleted", again, lambda: remove(output)),
                Contender("cashet, miss (a function)",
                          lambda: spawn([cashet, "function.py", str(next(numbers))], plain)),
                Contender("cashet, hit (a function)", program(cashet, "function.py", "same", directory=plain)),
            ]
        yield Benchmark(name, "peers, Python program, one file read, one written", contenders, session.rounds(15)).run()
        remove(plain + ".trace", plain + ".pycasher")


def compilation(session, name):
    """One C++ compilation that was done before."""
    programs = environment_of(session)
    headers = session.size(25, 2)
    plain = session.directory(name + "-plain")
    command = ["g++", "-O1", "-c", "main.cc", "-o", "main.o"]
    with Mount(session.directory(name)) as mount:
        for directory in (plain, mount.directory):
            work.cplusplus(directory, headers)
        mount.record(*command)
        contenders = [
            Contender("plain", program(*command, directory=plain), rounds=session.rounds(3, 1)),
            Contender("acache, hit, output kept", hit(mount, *command)),
            Contender("acache, hit, output deleted", hit(mount, *command), lambda: remove(mount.path("main.o"))),
        ]
        if shutil.which("ccache"):
            environment = dict(os.environ, CCACHE_DIR=plain + ".ccache")
            spawn(["ccache", *command], plain, environment)
            contenders.append(Contender("ccache, hit", program("ccache", *command, directory=plain,
                                                               environment=environment)))
        if programs:
            arguments, environment = pycasher(programs, plain, *command)
            spawn(arguments, plain, environment)
            contenders.append(Contender("pycasher, hit, output kept", program(
                *arguments, directory=plain, environment=environment)))
        yield Benchmark(name, f"peers, one C++ compilation with {headers} headers, done before", contenders,
                        session.rounds(20), baseline="acache, hit, output deleted").run()
        remove(plain + ".ccache", plain + ".pycasher")


def tup_build(session, directory):
    """Makes the directory one that tup builds Lua in, and builds it once."""
    objects = [goal[:-2] + ".c" for goal in session.material.build if goal.endswith(".o")]
    sources = objects or [os.path.basename(path) for path in glob.glob(os.path.join(directory, "*.c"))
                          if os.path.basename(path) != "luac.c"]
    rules = [f": foreach {' '.join(sorted(sources))} |> gcc -std=gnu99 -O2 -Wall -DLUA_COMPAT_5_3 -DLUA_USE_LINUX -c %f "
             "-o %o |> %B.o {objects}"]
    if not objects:
        rules.append(": {objects} |> gcc -o %o %f -Wl,-E -lm -ldl |> lua")
    work.script(os.path.join(directory, "Tupfile"), "\n".join(rules) + "\n")
    remove(os.path.join(directory, "Makefile"))
    for command in (["tup", "init"], ["tup", "-j2"]):
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if done.returncode:
            raise Skip(f"tup does not build here: {done.stdout[-200:]}")


def lua(session, name):
    """A build that was done before, after everything made by it was deleted: as one command and by its compilations."""
    make = session.material.build
    plain, with_ccache = session.directory(name + "-plain"), session.directory(name + "-ccache")
    with Mount(session.directory(name + "-whole")) as whole, Mount(session.directory(name + "-parts")) as parts:
        for directory in (plain, with_ccache, whole.directory, parts.directory):
            session.material.lua(directory)

        def cleaned(directory):
            return lambda: spawn(["make", "clean"], directory)

        parts_environment = dict(parts.environment, PATH=os.path.dirname(parts.acache()[0]) + ":" + os.environ["PATH"])
        by_acache = program(*make, "CC=acache -- gcc -std=gnu99", directory=parts.directory,
                            environment=parts_environment)
        whole.record(*make)
        by_acache()
        contenders = [
            Contender("plain", program(*make, directory=plain), cleaned(plain), rounds=session.rounds(3, 1)),
            Contender("acache -- make, hit", hit(whole, *make), cleaned(whole.directory)),
            Contender("make with acache -- gcc, hits", by_acache, cleaned(parts.directory)),
        ]
        if shutil.which("ccache"):
            environment = dict(os.environ, CCACHE_DIR=with_ccache + ".ccache")
            by_ccache = program(*make, "CC=ccache gcc -std=gnu99", directory=with_ccache, environment=environment)
            by_ccache()
            contenders.append(Contender("make with ccache gcc, hits", by_ccache, cleaned(with_ccache)))
        if shutil.which("tup"):
            try:
                directory = session.directory(name + "-tup")
                session.material.lua(directory)
                tup_build(session, directory)
                contenders.append(Contender("tup, nothing deleted", program("tup", "-j2", directory=directory)))
                contenders.append(Contender(
                    "tup, outputs deleted", program("tup", "-j2", directory=directory),
                    lambda: remove(*glob.glob(os.path.join(directory, "*.o"))), rounds=session.rounds(3, 1)))
            except Skip as reason:
                session.say(str(reason))
        yield Benchmark(name, "peers, Lua built with make -j2, done before, outputs deleted", contenders,
                        session.rounds(15)).run()
        remove(with_ccache + ".ccache")


BENCHMARKS = {"peers-python": python, "peers-cplusplus": compilation, "peers-lua": lua}
