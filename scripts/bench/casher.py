"""Casher as the benchmarks use it: mounts, calls of acache, and what a daemon says of itself."""

import json
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
BINARIES = os.path.abspath(os.environ.get("CASHER_BIN_DIR") or os.path.join(HERE, "..", "..", ".build", "release"))
ACACHE = os.path.join(BINARIES, "acache")
CASHERFS = os.path.join(BINARIES, "casherfs")


class Mount:
    """A directory mounted over itself, with a cache of its own unless one is given."""

    def __init__(self, directory, cache=None, options=""):
        self.directory = directory
        self.cache = cache or directory + ".cache"
        self.environment = dict(os.environ, CASHER_CACHE_DIR=self.cache, CASHER_MAX_CACHE_BYTES=str(64 << 30))
        self.options = options

    def __enter__(self):
        os.makedirs(self.directory, exist_ok=True)
        arguments = [CASHERFS, "mount", self.directory] + (["-o", self.options] if self.options else [])
        subprocess.run(arguments, env=self.environment, check=True, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        os.chdir("/")
        done = subprocess.run([CASHERFS, "unmount", self.directory], env=self.environment, stdin=subprocess.DEVNULL)
        if done.returncode:
            subprocess.run([CASHERFS, "unmount", "--lazy", self.directory], stdin=subprocess.DEVNULL)

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def acache(self, *arguments, options=()):
        """The arguments of a call; it runs in the mount with `environment`."""
        return [ACACHE, *options, "--", *arguments]

    def call(self, *arguments, options=()):
        """A call, not measured, with the streams that measured ones have: which those are is part of the key."""
        done = subprocess.run(self.acache(*arguments, options=options), cwd=self.directory, env=self.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"{arguments}: exit status {done.returncode}")

    def record(self, *arguments, options=()):
        """Calls twice, and makes sure that the second time is a hit."""
        self.call(*arguments, options=("--sync", *options))
        self.call(*arguments, options=("--read-only", *options))

    def casherfs(self, *arguments):
        done = subprocess.run([CASHERFS, *arguments], env=self.environment, stdout=subprocess.PIPE, check=True,
                              stdin=subprocess.DEVNULL)
        return done.stdout

    def flush(self):
        """Waits until what runs left is stored: statistics are read from what has been written."""
        self.casherfs("stats")

    def status(self):
        for mount in json.loads(self.casherfs("status", "--json", self.directory)):
            if mount["directory"] == self.directory:
                return mount
        raise RuntimeError(f"{self.directory} is not mounted")

    def memory(self, what="VmRSS"):
        """Bytes that the daemon has in memory; `VmHWM` for the most so far."""
        with open(f"/proc/{self.status()['process']}/status") as file:
            for line in file:
                if line.startswith(what + ":"):
                    return int(line.split()[1]) * 1024
        return 0

    def forget_peak(self):
        """The daemon's VmHWM counts from here."""
        try:
            with open(f"/proc/{self.status()['process']}/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            pass


def remove(*paths):
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.remove(path)
