"""What a hit costs: the wall time of acache, beside what else could have been done."""

import os

import work
from casher import Mount, remove
from harness import Benchmark, Contender, Skip, Target, median_of, plot, program, spawn


def hit(mount, *command, options=()):
    """Measures a call that must be a hit: --read-only runs nothing."""
    return program(*mount.acache(*command, options=("--read-only", *options)), directory=mount.directory,
                   environment=mount.environment)


def small(session, name):
    """The smallest useful command: it reads a file and writes one."""
    with Mount(session.directory("small")) as mount:
        with open(mount.path("in"), "w") as file:
            file.write("some text\n")
        command = ["cp", "in", "out"]
        mount.record(*command)
        mount.record("cat", "in")
        yield Benchmark(
            name, "hit, small command (cp of one small file)", [
                Contender("true", program("/bin/true")),
                Contender("cp", program(*command, directory=mount.directory)),
                Contender("acache, output kept", hit(mount, *command)),
                Contender("acache, output deleted", hit(mount, *command), lambda: remove(mount.path("out"))),
                Contender("acache, output on stdout", hit(mount, "cat", "in")),
                Contender("python3 -c pass", program(work.python(), "-c", "pass")),
            ], session.rounds(200, 5), baseline="true", warmup=3, targets=[
                Target("hit, small command, outputs kept, in spawns of /bin/true", "acache, output kept", 3, "true"),
                Target("hit, small command, outputs deleted, in spawns of /bin/true", "acache, output deleted", 3, "true"),
            ]).run()


def compilation(session, name, title, command, make, source, output):
    """One compilation as acache and ccache answer it the second time."""
    with Mount(session.directory(name)) as mount:
        make(mount.directory)
        plain = session.directory(name + "-plain")
        make(plain)
        mount.record(*command)
        environment = dict(os.environ, CCACHE_DIR=plain + ".cache")
        cached = Contender(
            "ccache", program("ccache", *command, directory=plain, environment=environment),
            lambda: remove(os.path.join(plain, output)))
        spawn(["ccache", *command], plain, environment)
        yield Benchmark(
            name, title, [
                Contender("plain", program(*command, directory=plain), rounds=session.rounds(3, 1)),
                cached,
                Contender("acache, output kept", hit(mount, *command)),
                Contender("acache, output deleted", hit(mount, *command), lambda: remove(mount.path(output))),
            ], session.rounds(60), baseline="ccache", targets=[
                Target(f"{title}, of ccache's", "acache, output deleted", 0.5, "ccache")]).run()
        remove(environment["CCACHE_DIR"])


def sqlite(session, name):
    if session.quick:
        raise Skip("sqlite3.c takes too long for --quick")
    yield from compilation(session, name, "hit, one compilation (sqlite3.c at -O2)",
                           ["gcc", "-O2", "-c", "sqlite3.c", "-o", "sqlite3.o"], session.material.sqlite, "sqlite3.c",
                           "sqlite3.o")


def cplusplus(session, name):
    headers = session.size(25, 3)
    yield from compilation(session, name, f"hit, one compilation (C++ with {headers} headers)",
                           ["g++", "-O1", "-c", "main.cc", "-o", "main.o"],
                           lambda target: work.cplusplus(target, headers), "main.cc", "main.o")


def lua(session, name):
    """A whole build as one command."""
    with Mount(session.directory("lua")) as mount:
        session.material.lua(mount.directory)
        plain = session.directory("lua-plain")
        session.material.lua(plain)
        command = session.material.build
        clean = lambda directory: lambda: spawn(["make", "clean"], directory)
        mount.record(*command)
        yield Benchmark(
            name, "hit, Lua built with make -j2 as one command, outputs deleted", [
                Contender("plain", program(*command, directory=plain), clean(plain), rounds=session.rounds(3, 1)),
                Contender("acache", hit(mount, *command), clean(mount.directory)),
                Contender("acache, outputs kept", hit(mount, *command)),
            ], session.rounds(40), targets=[
                Target("hit, Lua make -j2, outputs deleted, of the plain build (a tenth of riker's 110 ms in 3.1 s)",
                       "acache", 0.0035, "plain")]).run()


def large(session, name):
    """One output, from a kilobyte to a gigabyte."""
    sizes = session.size([1 << 10, 1 << 20, 1 << 26, 1 << 30], [1 << 10, 1 << 24])
    label = {1 << 10: "1 KiB", 1 << 20: "1 MiB", 1 << 24: "16 MiB", 1 << 26: "64 MiB", 1 << 30: "1 GiB"}
    with Mount(session.directory("large")) as mount:
        contenders = []
        for size in sizes:
            output = f"out{size}"
            command = ["sh", "-c", f"head -c {size} /dev/urandom > {output}"]
            mount.record(*command)
            contenders.append(Contender(
                label[size], hit(mount, *command), lambda output=output: remove(mount.path(output))))
        benchmark = Benchmark(
            name, f"hit, one output of {label[sizes[-1]]} deleted", contenders, session.rounds(15), targets=[
                Target(f"hit, {label[sizes[-1]]} output, of the hit with 1 KiB", label[sizes[-1]], 1.2, label[sizes[0]])])
        result = benchmark.run()
        points = [(size, row["median_seconds"]) for size, row in zip(sizes, result["rows"]) if "failed" not in row]
        result["plots"] = [plot("hit-by-output-size", "Hit by size of the output", "bytes", "seconds",
                                [("acache, output deleted", points)], logarithmic=True)]
        yield result


def many(session, name):
    """Many outputs, beside copying them."""
    counts = session.size([10, 100, 1000, 5000], [10, 100])
    with Mount(session.directory("many")) as mount:
        work.script(mount.path("write.py"), work.WRITE_MANY)
        native = session.directory("many-native")
        points, most = {"acache": [], "cp -a": []}, counts[-1]
        for count in counts:
            remove(mount.path("many"))
            command = [work.python(), "write.py", str(count)]
            mount.call(*command, options=("--sync",))
            remove(os.path.join(native, "from"))
            spawn(["cp", "-a", mount.path("many"), os.path.join(native, "from")])
            clear = lambda: remove(mount.path("many"))
            copy = program("cp", "-a", "from", "to", directory=native)
            uncopy = lambda: remove(os.path.join(native, "to"))
            if count == most:
                result = Benchmark(
                    name, f"hit, {count} outputs of 4 KiB", [
                        Contender("cp -a", copy, uncopy),
                        Contender("acache, outputs kept", hit(mount, *command), lambda: hit(mount, *command)()),
                        Contender("acache, outputs deleted", hit(mount, *command), clear),
                    ], session.rounds(9), targets=[
                        Target(f"hit, {count} outputs of 4 KiB, deleted, of cp -a", "acache, outputs deleted", 0.1,
                               "cp -a")]).run()
                for row in result["rows"]:
                    key = {"cp -a": "cp -a", "acache, outputs deleted": "acache"}.get(row["name"])
                    if key and "median_seconds" in row:
                        points[key].append((count, row["median_seconds"]))
            else:
                points["acache"].append((count, median_of(hit(mount, *command), session.rounds(9), clear)))
                points["cp -a"].append((count, median_of(copy, session.rounds(9), uncopy)))
        result["plots"] = [plot("hit-by-outputs", "Hit by number of outputs of 4 KiB", "outputs", "seconds",
                                    list(points.items()), logarithmic=True)]
        yield result


BENCHMARKS = {
    "hit-small": small, "hit-sqlite": sqlite, "hit-cplusplus": cplusplus, "hit-lua": lua, "hit-large": large,
    "hit-many": many,
}
