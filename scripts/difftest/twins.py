"""Two trees that live through the same steps: one plainly, one mounted, its commands under acache."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tree import closed, differences, opened, restore, snapshot

#: Seconds that any command may take.
PATIENCE = 60


class Step(NamedTuple):
    """edit: a shell script, run plainly in both trees. attribute: (path, name, value), set in both. run: scripts under
    acache, several at the same time when there are several. state: the tree becomes what it was.

    again: a command that was stored must be a hit when it is run at once again (with --strict: from the same state)."""

    kind: str
    scripts: tuple = ()
    directory: bytes = b"."
    stdin: bytes | None = None  # bytes for a pipe
    input: bytes | None = None  # or a file of the tree
    state: dict | None = None
    again: bool = False


class Outcome(NamedTuple):
    status: int
    stdout: bytes
    stderr: bytes


class Mismatch(Exception):
    """What the two trees or the two runs do not agree in."""


#: Commands that write into a file without dropping its content first: they would have done so to any content.
IN_PLACE = re.compile(rb"sed -i|sort -o|>>|<>|notrunc|sqlite3|truncate|chmod")


def changed_files(before: dict, after: dict) -> bool:
    """Whether anything that was there before is another thing after, or gone."""
    return any(path != b"." and entry.kind != "d" and after.get(path) != entry for path, entry in before.items())


def without_obituaries(text: bytes) -> bytes:
    """A shell says so when its child was ended by a signal; acache exits with 128 and the signal's number instead."""
    return b"".join(
        line for line in text.splitlines(True) if line.strip() not in (b"Terminated", b"Killed", b"Hangup"))


class Twins:
    def __init__(self, binaries: str, strict: bool, mount_options: str = "", work: str | None = None):
        self.home = tempfile.mkdtemp(prefix="casher-differential-", dir=work)
        self.acache, self.casherfs = os.path.join(binaries, "acache"), os.path.join(binaries, "casherfs")
        self.strict, self.mount_options = strict, mount_options
        self.mounted = os.fsencode(os.path.join(self.home, "mounted"))
        self.plain = os.fsencode(os.path.join(self.home, "plain"))
        self.cache = os.path.join(self.home, "cache")
        os.mkdir(self.mounted)
        os.mkdir(self.plain)
        self.is_mounted = False
        #: Of every call of acache.
        self.more_options = []
        self.runs = self.skipped = 0
        self.environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": self.home,
            "CASHER_CACHE_DIR": self.cache, "ACACHE": "",
        }
        self.mount()

    # Mounting.

    def mount(self):
        command = [self.casherfs, "mount", os.fsdecode(self.mounted)]
        if self.mount_options:
            command[2:2] = ["-o", self.mount_options]
        done = subprocess.run(
            command, env=self.environment, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise Mismatch(f"the mount failed with {done.returncode}: {done.stderr.decode(errors='replace')}")
        self.is_mounted = True
        self.state = snapshot(self.plain)

    def unmount(self):
        if not self.is_mounted:
            return
        done = subprocess.run(
            [self.casherfs, "unmount", os.fsdecode(self.mounted)], env=self.environment, cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise Mismatch(f"the unmount failed with {done.returncode}: {done.stderr.decode(errors='replace')}")
        self.is_mounted = False

    def remount(self):
        """Unmounts, looks at the directory as it is without the mount, and mounts again."""
        self.unmount()
        self.compare("the real directory after the unmount")
        self.mount()

    def statistics(self) -> dict:
        done = subprocess.run([self.casherfs, "stats", "--json"], env=self.environment, capture_output=True, check=True)
        return json.loads(done.stdout)

    def close(self, keep: bool = False):
        if self.is_mounted:
            subprocess.run(
                [self.casherfs, "unmount", "--lazy", os.fsdecode(self.mounted)], env=self.environment, cwd="/",
                capture_output=True, timeout=PATIENCE)
            self.is_mounted = os.path.ismount(self.mounted)
        if not keep and not self.is_mounted:
            shutil.rmtree(self.home, ignore_errors=True)

    # Steps.

    def take(self, step: Step):
        """Takes the step in both trees and compares them; raises Mismatch."""
        if os.geteuid() != 0 and closed(self.state):
            # What cannot be looked at can be neither compared nor put back after a command that is left out.
            opened(self.plain)
            opened(self.mounted)
            self.compare("the tree, its owner being allowed everything,")
        if step.kind == "state":
            restore(self.plain, self.state, step.state)
            restore(self.mounted, self.state, step.state)
        elif step.kind == "attribute":
            self.set_attribute(step)
        elif step.kind == "edit":
            self.both(step, [], "")
        elif not self.run(step):
            self.skipped += 1
            return
        self.compare("the tree")

    def set_attribute(self, step: Step):
        path, name, value = step.scripts
        for root in (self.plain, self.mounted):
            try:
                os.setxattr(os.path.join(root, path), name, value, follow_symlinks=False)
            except OSError:
                pass  # not there, or a symlink: in both trees or the comparison finds it

    def run(self, step: Step) -> bool:
        """False when the command does not give the same twice, so that its outcome is nobody's to compare."""
        before = self.state
        plain = [self.execute(self.plain, step, script, []) for script in step.scripts]
        after = snapshot(self.plain)
        if not self.strict or len(step.scripts) > 1:
            again = [self.execute(self.plain, step, script, []) for script in step.scripts]
            twice = snapshot(self.plain)
            if again != plain or twice != after:
                restore(self.plain, twice, before)
                return False
        self.runs += 1
        linked = self.linked_elsewhere() if step.again else 0
        prefix = [self.acache] + (["--strict"] if self.strict else []) + self.more_options + ["--"]
        if len(step.scripts) == 1:
            cached = [self.execute(self.mounted, step, step.scripts[0], prefix)]
        else:
            with ThreadPoolExecutor(len(step.scripts)) as pool:
                cached = list(pool.map(lambda script: self.execute(self.mounted, step, script, prefix), step.scripts))
        for script, a, b in zip(step.scripts, cached, plain):
            self.compare_outcomes(script, a, b)
        if step.again and plain[0].status == 0:
            if self.linked_elsewhere() != linked:
                return True  # a change that shows under a hard link's other name is no result that can be put back
            self.expect_hit(step, prefix, before, plain[0],
                            changes_input=changed_files(before, after) or IN_PLACE.search(step.scripts[0]) is not None)
        return True

    def linked_elsewhere(self) -> int:
        return self.statistics()["uncacheable_by_reason"].get("linked-elsewhere", 0)

    def expect_hit(self, step: Step, prefix: list, before: dict, plain: Outcome, changes_input: bool):
        self.compare("the tree")
        if self.strict:
            restore(self.mounted, self.state, before)
        # A command that changed what was there may have read it too: then the next call is the first to see what it is now.
        for _ in range(2 if changes_input and not self.strict else 1):
            misses = self.statistics()["misses"]
            self.compare_outcomes(step.scripts[0], self.execute(self.mounted, step, step.scripts[0], prefix), plain)
            if self.statistics()["misses"] == misses:
                return
        raise Mismatch(f"{os.fsdecode(step.scripts[0])!r} was run again, and it was no hit")

    def both(self, step: Step, prefix: list, what: str):
        for script in step.scripts:
            plain = self.execute(self.plain, step, script, [])
            self.compare_outcomes(script, self.execute(self.mounted, step, script, prefix), plain)

    def execute(self, root: bytes, step: Step, script: bytes, prefix: list) -> Outcome:
        directory = os.path.join(root, step.directory)
        if not os.path.isdir(directory):
            directory = root
        environment = dict(self.environment)
        if prefix:
            environment["ACACHE"] = " ".join(prefix)
        opened, source = None, subprocess.DEVNULL
        if step.stdin is not None:
            source = None
        elif step.input is not None:
            try:
                source = opened = open(os.path.join(root, step.input), "rb")
            except OSError:
                pass
        try:
            done = subprocess.run(
                prefix + ["sh", "-c", script], cwd=directory, env=environment, capture_output=True, timeout=PATIENCE,
                **({"input": step.stdin} if step.stdin is not None else {"stdin": source}))
        except subprocess.TimeoutExpired:
            raise Mismatch(f"{os.fsdecode(script)!r} hangs {'under acache' if prefix else 'without acache'}") from None
        except OSError as error:
            raise Mismatch(f"{os.fsdecode(script)!r} cannot be run in {os.fsdecode(directory)}: {error}") from None
        finally:
            if opened:
                opened.close()
        status = done.returncode if done.returncode >= 0 else 128 - done.returncode
        return Outcome(status, done.stdout, without_obituaries(done.stderr))

    def compare_outcomes(self, script: bytes, mounted: Outcome, plain: Outcome):
        for name, a, b in zip(Outcome._fields, mounted, plain):
            if a != b:
                raise Mismatch(f"{name} of {os.fsdecode(script)!r}: {a!r} under acache, {b!r} plainly")

    def compare(self, what: str):
        self.state = snapshot(self.plain)
        try:
            mounted = snapshot(self.mounted)
        except OSError as error:
            raise Mismatch(f"{what} cannot be read: {error}") from None
        if mounted != self.state:
            lines = "\n  ".join(differences(mounted, self.state))
            raise Mismatch(f"{what} differs (with acache <> plainly):\n  {lines}")
