"""stress-ng's filesystem stressors and fio with verification, in a mount and, more briefly, in a plain directory.

What a stressor says of the mount must be what it says of the plain directory; fio must read back what it wrote, through every
engine; the daemon must live; and the tree must be the same after the mount has gone.
"""

import os
import re
import shutil
import subprocess
import sys
import time

from base import Mount, snapshot

#: Not stressors of a filesystem in which they are started, or of nothing that exists on most machines.
ELSEWHERE = {"bind-mount", "binderfs", "procfs", "eventfd", "ioprio"}
#: Words of stress-ng's exit status.
ENDS = {0: "passed", 1: "unusable", 2: "FAILED", 3: "no resources", 4: "not implemented", 5: "by a signal", 7: "FAILED"}


def stressors():
    text = subprocess.run(["stress-ng", "--class", "filesystem?"], capture_output=True, text=True)
    return re.search(r"stressors:(.*)", text.stdout + text.stderr).group(1).split()


def stress(name, directory, seconds):
    """Runs one stressor; its end in a word, and what it complains of."""
    here = os.path.join(directory, "stress")
    os.makedirs(here, exist_ok=True)
    command = ["stress-ng", f"--{name}", "2", "--timeout", f"{seconds}s", "--verify", "--temp-path", here]
    done = subprocess.run(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    complaints = [re.sub(r"^stress-ng: \w+:\s+\[\d+\] ", "", line) for line in done.stdout.splitlines()
                  if re.match(r"stress-ng: (fail|error)", line)]
    return ENDS.get(done.returncode, f"status {done.returncode}"), complaints


def run_stressors(place, seconds):
    found = {}
    for name in stressors():
        if name in ELSEWHERE:
            continue
        found[name] = stress(name, place.root, seconds)
        if place.mounted and not place.is_served():
            found[name] = ("FAILED", ["the daemon is gone"])
            break
    return found


#: Engine, direct, pattern, block size.
JOBS = [
    ("psync", 0, "write", "64k"), ("psync", 0, "randwrite", "4k"), ("mmap", 0, "randwrite", "4k"), ("mmap", 0, "write", "16k"),
    ("psync", 1, "randwrite", "8k"), ("libaio", 1, "randwrite", "4k"), ("libaio", 1, "write", "128k"),
    ("sync", 0, "randrw", "2k"), ("pvsync", 0, "randwrite", "512-33k"), ("io_uring", 0, "randwrite", "4k"),
]


def fio(directory, seconds, shown=print):
    """Rounds of jobs that write and verify, each then verified once more through another engine. The lines of what failed."""
    here = os.path.join(directory, "fio")
    os.makedirs(here, exist_ok=True)
    until = time.monotonic() + seconds
    failures, rounds = [], 0
    while time.monotonic() < until or rounds < len(JOBS):
        engine, direct, pattern, size = JOBS[rounds % len(JOBS)]
        sizes = "--bsrange=" + size if "-" in size else "--bs=" + size
        common = ["fio", "--name=verify", f"--directory={here}", "--numjobs=3", "--size=24m", f"--rw={pattern}", sizes,
                  "--verify=crc32c", "--verify_fatal=1", "--group_reporting", f"--randseed={rounds + 1}",
                  "--fallocate=none" if rounds % 2 else "--fallocate=native", "--iodepth=8", "--minimal"]
        if "-" in size:
            common += ["--bs_unaligned=1"]
        if pattern == "randrw":
            common += ["--rwmixread=30"]
        runs = [(common + [f"--ioengine={engine}", f"--direct={direct}", "--end_fsync=1"], "write and verify")]
        if pattern != "randrw":
            again = "mmap" if engine != "mmap" else "psync"
            runs.append((common + [f"--ioengine={again}", "--verify_only=1"], f"verify by {again}"))
        for command, what in runs:
            done = subprocess.run(command, cwd=here, capture_output=True, text=True, errors="replace")
            if done.returncode != 0:
                failures.append(f"fio {engine} direct={direct} {pattern} {size}, {what}: "
                                + " | ".join((done.stderr + done.stdout).splitlines()[-4:]))
        rounds += 1
        for name in os.listdir(here):
            if rounds % 3 == 0 or name.endswith(".state"):
                os.unlink(os.path.join(here, name))
    shown(f"fio: {rounds} rounds of 3 jobs, {len(failures)} failures", flush=True)
    return failures


def fixed_tree(root):
    """What is there before and must be there afterwards."""
    os.makedirs(os.path.join(root, "before/deep"))
    for number in range(50):
        with open(os.path.join(root, f"before/{number}"), "wb") as file:
            file.write(b"%d" % number * 1000)
    os.symlink("0", os.path.join(root, "before/link"))
    os.link(os.path.join(root, "before/1"), os.path.join(root, "before/deep/other"))


def main(base, seconds, options=""):
    """True when all is well. `seconds` for the stressors, and as many for fio."""
    for program in "stress-ng", "fio":
        if not shutil.which(program):
            print(f"conformance: there is no {program} here", file=sys.stderr)
            return False
    well = True
    count = len([name for name in stressors() if name not in ELSEWHERE])
    plain, mount = Mount(base, mounted=False), Mount(base, options)
    try:
        fixed_tree(mount.root)
        print(f"stress-ng: {count} stressors, passthrough {mount.status().get('passthrough')}", flush=True)
        started = time.monotonic()
        found = run_stressors(mount, max(1, seconds // count))
        print(f"stress-ng: {len(found)} stressors in {time.monotonic() - started:.0f} s", flush=True)
        for name, (end, complaints) in found.items():
            if end == "passed":
                continue
            expected, same = stress(name, plain.root, 3)
            if end == expected:
                print(f"  {name}: {end}, as in the plain directory")
            else:
                well = False
                print(f"  FAIL {name}: {end}, in the plain directory {expected}")
            for line in complaints[:6]:
                print("    mount: " + line)
            for line in same[:3]:
                print("    plain: " + line)
        failures = fio(mount.root, seconds)
        for line in failures:
            print("  FAIL " + line)
        well = well and not failures
        before = snapshot(mount.root)
        mount.casherfs("unmount", mount.root)
        mount.mounted = False
        if snapshot(mount.root) == before:
            print(f"unmounted: the same {len(before)} files")
        else:
            well = False
            print("  FAIL the tree is another after unmounting")
    finally:
        plain.close()
        mount.close()
    print("stress: " + ("passed" if well else "FAILED"))
    return well
