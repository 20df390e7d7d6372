"""The filesystem by itself, without acache: the mount beside the native directory and other FUSE filesystems."""

import contextlib
import json
import os
import shutil
import subprocess
import tarfile

import work
from casher import Mount, remove
from harness import Benchmark, Contender, Skip, Target, median_of, plot, program, spawn


@contextlib.contextmanager
def places(session, name):
    """Directories by contender: native, the mount, and the peers that are there, each over a directory of its own."""
    with contextlib.ExitStack() as stack:
        result = {"native": session.directory(name + "-native")}
        result["casherfs"] = stack.enter_context(Mount(session.directory(name))).directory
        for peer, command in (
                ("bindfs", lambda low, top: ["bindfs", low, top]),
                ("fuse-overlayfs", lambda low, top: ["fuse-overlayfs", "-o", f"lowerdir={low}.empty,upperdir={low},"
                                                     f"workdir={low}.work", top])):
            if not shutil.which(peer):
                continue
            low, top = session.directory(f"{name}-{peer}-low"), session.directory(f"{name}-{peer}")
            for extra in (low + ".empty", low + ".work"):
                os.makedirs(extra, exist_ok=True)
            if subprocess.run(command(low, top), capture_output=True).returncode:
                session.say(f"{peer} does not mount here; it is skipped")
                continue
            stack.callback(unmount, top)
            result[peer] = top
        yield result


def unmount(path):
    os.chdir("/")
    for command in (["fusermount3", "-u", path], ["umount", path], ["umount", "-l", path]):
        if subprocess.run(command, capture_output=True).returncode == 0:
            return


def fio(directory, pattern, size, block, runtime):
    """A measurement of one fio job on a file that is in the page cache: seconds for the whole size."""
    def measure():
        arguments = ["fio", "--name=job", "--filename=data", f"--size={size}", f"--rw={pattern}", f"--bs={block}",
                     "--ioengine=psync", "--invalidate=0", "--output-format=json", f"--runtime={runtime}",
                     "--time_based=1", "--fallocate=none", "--end_fsync=0"]
        done = subprocess.run(arguments, cwd=directory, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"fio: {done.stderr.strip()[:200]}")
        job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]["read" if "read" in pattern else "write"]
        return size / job["bw_bytes"]
    return measure


def bandwidth(session, name):
    """Reading and writing one file that the page cache holds."""
    if not shutil.which("fio"):
        raise Skip("fio is missing")
    size = session.size(1 << 30, 1 << 24)
    seconds = session.size(2, 1)
    with places(session, name) as directories:
        for directory in directories.values():
            spawn(["dd", "if=/dev/zero", "of=data", "bs=1M", f"count={size >> 20}"], directory)
        for pattern, block, title in (("read", "1M", "sequential read"), ("randread", "4k", "random read of 4 KiB"),
                                      ("write", "1M", "sequential write"), ("randwrite", "4k", "random write of 4 KiB")):
            contenders = [Contender(place, fio(directory, pattern, size, block, seconds))
                          for place, directory in directories.items()]
            yield Benchmark(
                f"{name}-{pattern}", f"mount, {title}, warm; seconds for {size >> 20} MiB", contenders,
                session.rounds(5, 1), baseline="native", warmup=session.size(1, 0), targets=[
                    Target(f"mount, {title}, bandwidth of native's", "casherfs", 0.95, "native", at_least=True)]).run()


def archive(path, count):
    """A tar archive of so many small files."""
    source = path + ".tree"
    work.tree(source, count, size=2048)
    with tarfile.open(path, "w") as tar:
        tar.add(source, "tree")
    shutil.rmtree(source)
    return path


GIT = ["git", "-c", "gc.auto=0", "-c", "core.fsync=none", "-c", "safe.directory=*"]


def half(what):
    return Target(f"mount, {what}, of bindfs's time", "casherfs", 0.5, "bindfs")


class SmallFiles:
    """What works on many small files, at each place."""

    def __init__(self, session, directories):
        self.session, self.directories = session, directories
        self.count = session.size(5000, 200)
        tar = archive(os.path.join(session.base, "tree.tar"), self.count)
        self.extract = ["tar", "xf", tar]
        self.environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1")

    def clear(self, directory):
        return lambda: remove(os.path.join(directory, "tree"))

    def unpacked(self, directory):
        def prepare():
            remove(os.path.join(directory, "tree"))
            spawn(self.extract, directory)
        return prepare

    def emptied(self, directory):
        def prepare():
            remove(os.path.join(directory, "tree", ".git"))
            spawn([*GIT, "init", "-q", "tree"], directory, self.environment)
        return prepare

    def measure(self, part, title, command, prepare, where="", target=None, rounds=7):
        """Without `prepare` the command runs once just before, so that what may be cached is."""
        contenders = []
        for place, directory in self.directories.items():
            once = program(*command, directory=os.path.join(directory, where), environment=self.environment)
            contenders.append(Contender(place, once, prepare(directory) if prepare else once))
        return Benchmark(
            f"mount-metadata-{part}", f"mount, {title}, {self.count} files", contenders, self.session.rounds(rounds),
            baseline="native", targets=[target] if target and target.against in self.directories else []).run()


def metadata(session, name):
    """Making and removing them."""
    with places(session, name) as directories:
        files = SmallFiles(session, directories)
        yield files.measure("tar", "tar x", files.extract, files.clear, target=half("tar x"))
        yield files.measure("rm", "rm -rf", ["rm", "-rf", "tree"], files.unpacked, target=half("rm -rf"))


def repository(session, name):
    """Git and find on them."""
    with places(session, name) as directories:
        files = SmallFiles(session, directories)
        for directory in directories.values():
            files.unpacked(directory)()
        yield files.measure("git-add", "git add", [*GIT, "add", "-A"], files.emptied, "tree", half("git add"))
        yield files.measure("git-status", "git status, warm", [*GIT, "status", "--porcelain"], None, "tree",
                            Target("mount, git status, warm, of native", "casherfs", 1.5, "native"), rounds=15)
        yield files.measure("find", "find, warm", ["find", ".", "-size", "+100k"], None, "tree",
                            Target("mount, find, warm, of native", "casherfs", 1.5, "native"), rounds=15)


def build(session, name):
    """A build in the mount without acache."""
    with places(session, name) as directories:
        contenders = []
        for place, directory in directories.items():
            session.material.lua(directory)
            contenders.append(Contender(place, program(*session.material.build, directory=directory),
                                        lambda directory=directory: spawn(["make", "clean"], directory)))
        yield Benchmark(name, "mount, Lua built with make -j2, no acache", contenders, session.rounds(5, 1),
                        baseline="native", warmup=session.size(1, 0), targets=[
                            Target("mount, Lua build without acache, of native", "casherfs", 1.05, "native")]).run()


def files(session, name):
    """Walking trees of several sizes."""
    counts = session.size([1000, 5000, 20000, 100000], [100, 500])
    lines = {}
    with places(session, name) as directories:
        for count in counts:
            for place, directory in directories.items():
                work.tree(os.path.join(directory, f"t{count}"), count, size=0, per_directory=500)
        def walk(directory, count):
            return program("find", f"t{count}", "-size", "+100k", directory=directory)

        result = Benchmark(
            name, f"mount, find in a tree of {counts[-1]} files, warm", [
                Contender(place, walk(directory, counts[-1]), walk(directory, counts[-1]))
                for place, directory in directories.items()], session.rounds(5), baseline="native").run()
        for place, directory in directories.items():
            lines[place] = [(count, median_of(walk(directory, count), session.rounds(5), walk(directory, count)))
                            for count in counts]
    result["plots"] = [plot("find-by-files", "find in the mount by number of files", "files", "seconds",
                            list(lines.items()), logarithmic=True)]
    yield result


BENCHMARKS = {"mount-io": bandwidth, "mount-metadata": metadata, "mount-git": repository,
              "mount-build": build, "mount-files": files}
