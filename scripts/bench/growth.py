"""What grows with what: stored runs, variants of a command, path sets, inputs, files, and what is evicted."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import time

import archive
import work
from casher import CASHERFS, Mount, remove
from harness import Benchmark, Contender, Skip, Target, judged, plot, program
from hits import hit


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def need_zstd():
    if not shutil.which("zstd"):
        raise Skip("zstd is missing")


def compare(session, name, title, sizes, label, fill, prepare, command, target, axis):
    """A hit in mounts whose caches were filled to several sizes; a plot of it by size."""
    need_zstd()
    with contextlib.ExitStack() as stack:
        contenders = []
        for size in sizes:
            mount = stack.enter_context(Mount(session.directory(f"{name}-{size}")))
            fill(mount, size)
            contenders.append(Contender(label(size), hit(mount, *command),
                                        lambda mount=mount, size=size: prepare(mount, size)))
        targets = [Target(target[0], label(sizes[-1]), target[1], label(sizes[0]))] if target else []
        result = Benchmark(name, title, contenders, session.rounds(60, 3), warmup=3, targets=targets).run()
        points = [(size, row["median_seconds"]) for size, row in zip(sizes, result["rows"]) if "failed" not in row]
        result["plots"] = [plot("hit-by-" + axis.replace(" ", "-"), f"Hit by number of {axis}", axis, "seconds",
                                [("acache", points)], logarithmic=True)]
        yield result


def runs(session, name):
    """Other commands' runs in the store."""
    def fill(mount, size):
        # Each has a path set of its own.
        write(mount.path("in-00000000"), b"some text\n")
        mount.call("cp", "in-00000000", "out-00000000", options=("--sync",))
        archive.multiply(mount, size, lambda n: ([(b"in-00000000", b"in-%08d" % n), (b"out-00000000", b"out-%08d" % n)],
                                                 []))
        write(mount.path("in"), b"other text\n")
        mount.record("cp", "in", "out")

    sizes = session.size([100, 10_000, 100_000, 1_000_000], [100, 1_000])
    sizes = [size for size in sizes if size < session.stored_runs] + [min(session.stored_runs, sizes[-1])]
    yield from compare(
        session, name, f"growth, hit with {sizes[-1]} stored runs", sizes, lambda size: f"{size} runs", fill,
        lambda mount, size: remove(mount.path("out")), ["cp", "in", "out"],
        (f"growth, hit with {sizes[-1]} stored runs, of that with {sizes[0]}", 1.2), "stored runs")


def variants(session, name):
    """One command with many contents of its input; a call meets any of them."""
    def content(number):
        return b"variant %08d\n" % number

    def fill(mount, size):
        write(mount.path("in"), content(0))
        mount.record("cp", "in", "out")
        archive.multiply(mount, size - 1, lambda n: (
            [(archive.digest(content(0)), archive.digest(content(n)))], [content(n)]), keeps_command=True)

    def prepare(mount, size):
        remove(mount.path("out"))
        write(mount.path("in"), content(random.randrange(size)))

    sizes = session.size([1, 10, 100, 1_000], [1, 10])
    yield from compare(
        session, name, f"growth, hit with {sizes[-1]} variants of one command", sizes, lambda size: f"{size} variants",
        fill, prepare, ["cp", "in", "out"], (f"growth, {sizes[-1]} variants of one command, of one", 2), "variants")


def path_sets(session, name):
    """One command whose reads depend on what it reads; a call meets any of its path sets."""
    yield from differing_path_sets(session, name, 1, "path sets")


def wide_path_sets(session, name):
    """As `path_sets`, each with 20 files of its own, which no other has."""
    yield from differing_path_sets(session, name, 20, "path sets of 20 files of their own")


def differing_path_sets(session, name, files, label):
    def listed(number):
        return b"".join(b"f-%08d-%02d\n" % (number, index) for index in range(files))

    def fill(mount, size):
        for number in range(size):
            for path in listed(number).split():
                write(mount.path(path.decode()), b"content\n")
        write(mount.path("list"), listed(0))
        mount.record("sh", "-c", "cat $(cat list)")
        archive.multiply(mount, size - 1, lambda n: (
            [(b"f-00000000-", b"f-%08d-" % n), (archive.digest(listed(0)), archive.digest(listed(n)))], []),
            keeps_command=True)

    def prepare(mount, size):
        write(mount.path("list"), listed(random.randrange(size)))

    sizes = session.size([1, 10, 100, 1_000], [1, 10])
    yield from compare(
        session, name, f"growth, hit with {sizes[-1]} {label} of one command", sizes, lambda size: f"{size} path sets",
        fill, prepare, ["sh", "-c", "cat $(cat list)"], (f"growth, {sizes[-1]} {label}, of one", 2), label)


def inputs(session, name):
    """Runs that have read many files of the mount, none of which has changed."""
    counts = session.size([10, 100, 1_000, 10_000], [10, 100])
    with Mount(session.directory(name)) as mount:
        contenders = []
        for count in counts:
            work.many_inputs(mount.path(f"tree{count}"), count)
            command = ["sh", "-c", f"find tree{count} -type f | xargs cat | wc -c"]
            mount.record(*command)
            contenders.append(Contender(f"{count} inputs", hit(mount, *command)))
        result = Benchmark(
            name, f"growth, hit with {counts[-1]} observed inputs, nothing changed", contenders, session.rounds(30, 3),
            targets=[Target(f"growth, hit with {counts[-1]} observed inputs", f"{counts[-1]} inputs", 0.015)]).run()
        points = [(count, row["median_seconds"]) for count, row in zip(counts, result["rows"]) if "failed" not in row]
        result["plots"] = [plot("hit-by-inputs", "Hit by number of observed inputs", "inputs", "seconds",
                                [("acache", points)], logarithmic=True)]
        yield result


def settled(mount):
    """The daemon's memory once it changes no more."""
    last, same = mount.memory(), 0
    for _ in range(100):
        time.sleep(0.1)
        now = mount.memory()
        same = same + 1 if now == last else 0
        last = now
        if same == 10:
            break
    return last


def tree(session, name):
    """A large tree walked once: what the daemon keeps of it, and gives back."""
    count = session.size(1_000_000, 10_000)
    directory = session.directory(name)
    work.tree(os.path.join(directory, "tree"), count, size=0, per_directory=1000)
    walk = ["find", "tree", "-size", "+100k"]
    native = program(*walk, directory=directory)
    plain = native()
    with Mount(directory) as mount:
        before = settled(mount)
        points = [(0, before / 1e6)]
        result = Benchmark(name, f"growth, a tree of {count} files walked once", [
            Contender("casherfs", program(*walk, directory=directory))], 1, warmup=0).run()
        after = settled(mount)
        points.append((count, after / 1e6))
        result["rows"].insert(0, {"name": "native, before it was mounted", "rounds": 1, "median_seconds": plain,
                                  "least_seconds": plain, "most_seconds": plain})
        result["rows"][1].pop("ratio", None)
        result["targets"].append(judged(f"growth, daemon's memory after {count} files were walked", after, 300e6,
                                        unit="bytes"))
        if os.geteuid() == 0:
            with open("/proc/sys/vm/drop_caches", "w") as file:
                file.write("2")
            given_back = settled(mount)
            result["targets"].append(judged(
                "growth, daemon's memory after the kernel has forgotten them (a quarter of the growth may stay)",
                given_back, before + (after - before) / 4, unit="bytes"))
        else:
            session.say("the kernel can be made to forget by root alone: what the daemon gives back is not measured")
        result["note"] = f"The daemon had {before / 1e6:.1f} MB before."
        result["plots"] = [plot("memory-by-files", "Memory of the daemon by files walked", "files", "MB",
                                [("daemon", points)])]
        yield result


def eviction(session, name):
    """Runs evicted from stores of several sizes; seconds for each run that went."""
    need_zstd()
    small, large = session.size((1_000, 50_000), (200, 1_000))
    few, many = session.size((100, 1_000), (20, 100))

    def evict(cache, count):
        environment = dict(os.environ, CASHER_CACHE_DIR=cache)

        def casherfs(*arguments):
            return json.loads(subprocess.run([CASHERFS, *arguments, "--json"], env=environment, check=True,
                                             capture_output=True).stdout)

        def measure():
            now = casherfs("stats")
            size = now["stored_bytes"] - now["stored_bytes"] * count // max(1, now["entries"])
            begin = time.perf_counter()
            report = casherfs("evict", "--max-size", str(size))
            took = time.perf_counter() - begin
            if not report["runs"]:
                raise RuntimeError("nothing was evicted")
            return took / len(report["runs"])
        return measure

    def content(number):
        return b"output %08d\n" % number

    contenders = []
    for size, count in ((small, few), (large, few), (large, many)):
        with Mount(session.directory(f"{name}-{size}-{count}")) as mount:
            write(mount.path("in"), content(0))
            mount.record("cp", "in", "out")
            archive.multiply(mount, size, lambda n: (
                [(archive.digest(content(0)), archive.digest(content(n)))], [content(n)]))
            contenders.append(Contender(f"{count} of {size}", evict(mount.cache, count)))
    names = [contender.name for contender in contenders]
    yield Benchmark(name, "growth, eviction, seconds for each run evicted", contenders, session.rounds(5), targets=[
        Target(f"growth, evicting {names[1]} runs, of {names[0]}", names[1], 1.5, names[0]),
        Target(f"growth, evicting {names[2]} runs, for each run of {names[1]}", names[2], 1.2, names[1])]).run()


BENCHMARKS = {
    "growth-runs": runs, "growth-variants": variants, "growth-path-sets": path_sets,
    "growth-wide-path-sets": wide_path_sets, "growth-inputs": inputs, "growth-tree": tree, "growth-eviction": eviction,
}
