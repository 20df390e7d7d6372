"""Twins whose daemon is killed now and then: whatever was seen in the mount must be there when it is mounted again."""

import json
import os
import random
import signal
import subprocess
import time

from tree import restore, snapshot
from twins import PATIENCE, Mismatch, Step, Twins


class CrashingTwins(Twins):
    def __init__(self, *arguments, seed: int = 0, chance: float = 0.0, **options):
        #: How likely a step has a kill.
        self.random, self.chance = random.Random(seed), chance
        self.kills = self.recovered = 0
        super().__init__(*arguments, **options)
        # The more results there are to put back the better.
        self.more_options = ["--cache-failures"]

    def take(self, step: Step):
        if self.random.random() >= self.chance:
            return super().take(step)
        if step.kind == "run" and len(step.scripts) == 1 and self.random.random() < 0.6:
            return self.kill_in_replay(step)
        super().take(step)
        # At once, while what the last commands left may still be being stored.
        time.sleep(self.random.choice([0, 0, 0.001, 0.01, 0.1]))
        self.kill()
        self.mount_again()
        self.compare("the tree after the daemon was killed")

    def kill_in_replay(self, step: Step):
        """Kills the daemon while it puts the result of a recorded run back: each file is as it was or as it will be."""
        before = self.state
        skipped = self.runs
        super().take(step)
        if self.runs == skipped:
            return
        after = self.state
        restore(self.mounted, after, before)
        directory = os.path.join(self.mounted, step.directory)
        replay = subprocess.Popen(
            [self.acache, "--quiet", "--read-only"] + (["--strict"] if self.strict else [])
            + self.more_options + ["--", "sh", "-c", step.scripts[0]],
            cwd=directory if os.path.isdir(directory) else self.mounted, env=dict(self.environment, ACACHE="acache --"),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(self.random.random() * 0.012)
        if self.random.random() < 0.3:
            replay.send_signal(signal.SIGKILL)
        self.kill()
        try:
            replay.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            replay.kill()
            raise Mismatch("acache hangs when its daemon was killed") from None
        self.mount_again()
        seen = snapshot(self.mounted)
        for path in seen.keys() | before.keys() | after.keys():
            if plainly(seen.get(path)) not in (plainly(before.get(path)), plainly(after.get(path))):
                raise Mismatch(
                    f"{os.fsdecode(path)!r} is {seen.get(path)} after a kill, neither as it was before the replay, "
                    f"{before.get(path)}, nor as it is after it, {after.get(path)}")
        restore(self.mounted, seen, after)
        self.compare("the tree that was repaired after a kill")

    def kill(self):
        status = subprocess.run(
            [self.casherfs, "status", "--json", os.fsdecode(self.mounted)], env=self.environment, cwd="/",
            capture_output=True, timeout=PATIENCE)
        process = json.loads(status.stdout)[0]["process"]
        os.kill(process, signal.SIGKILL)
        while os.path.exists(f"/proc/{process}") and not is_dead(process):
            time.sleep(0.001)
        self.kills += 1

    def mount_again(self):
        done = subprocess.run(
            [self.casherfs, "mount"] + (["-o", self.mount_options] if self.mount_options else [])
            + [os.fsdecode(self.mounted)],
            env=self.environment, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise Mismatch(f"the mount after a kill failed with {done.returncode}: {done.stderr.decode(errors='replace')}")
        self.recovered += b"recovered" in done.stdout + done.stderr


def plainly(entry):
    """Without the other names of a hard link, which come one after the other."""
    return entry and entry._replace(names=())


def is_dead(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True
