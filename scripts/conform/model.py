"""Random reads, writes, truncates, mappings and renames of one file by several processes, checked against a model.

The model is bytes in memory, so that the plain directory and the mount are both checked against what POSIX says and not
against each other alone. The file is an ordinary one or one that a hit has left, smaller and larger than what the daemon reads
itself for the kernel (1 MiB). Of a larger one that a hit has left, whoever has it open to read when it is first changed
goes on with what it was (docs/limitations.md), where the kernel reads it by itself: the model knows that, and nothing else.
"""

import mmap
import os
import random
import signal
import socket
import subprocess
import sys

from base import KEEP_SIZE, PUNCH_HOLE, fallocate

#: Name: sizes to begin with, most bytes, whether a hit has left it, steps with one file.
KINDS = {
    "ordinary": ((0, 1), 300_000, False, 20_000), "large": ((0, 2_000_000), 2_500_000, False, 20_000),
    "placed": ((1, 200_000), 300_000, True, 250), "placed large": ((1_048_577, 1_500_000), 1_700_000, True, 250),
    "crossing": ((1_030_000, 1_060_000), 1_200_000, True, 250),
}
MIB = 1 << 20
MAKE = """
import os, random, sys
pick = random.Random(int(sys.argv[1]))
for number in range(int(sys.argv[2])):
    with open(f"model{number}", "wb") as file:
        file.write(pick.randbytes(pick.randrange(int(sys.argv[3]), int(sys.argv[4]))))
"""
READS = {"read", "map read", "size", "unmap", "reopen", "sync r"}


class Worker:
    """A process that has the file open in its own ways."""

    def __init__(self, path, others):
        self.mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in self.mine, theirs:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        #: Whether it has the file open to read, and what it sees when that is not what the file is now.
        self.reads, self.frozen = False, None
        self.child = os.fork()
        if self.child == 0:
            for other in others:
                other.mine.close()
            self.mine.close()
            try:
                serve(path, theirs)
            except ConnectionError:
                pass
            except BaseException as error:
                theirs.send(repr(error).encode())
            finally:
                os._exit(0)
        theirs.close()

    def ask(self, step, data=b""):
        self.mine.send(repr(step).encode() + b"\0" + data)
        try:
            return self.mine.recv(1 << 20) or b"ended"
        except ConnectionError:
            return b"ended"

    def end(self):
        self.mine.close()
        os.waitpid(self.child, 0)


class Files:
    """What a worker has open of the file, each from its first need on."""

    def __init__(self, path):
        self.path, self.open, self.maps = path, {}, {}

    def fd(self, flags):
        if flags not in self.open:
            self.open[flags] = os.open(self.path, flags)
        return self.open[flags]

    def memory(self, flags, end):
        present = self.maps.get(flags)
        if present is None or len(present) < end:
            fd = self.fd(flags)
            prot = mmap.PROT_READ | (mmap.PROT_WRITE if flags == os.O_RDWR else 0)
            self.maps[flags] = mmap.mmap(fd, os.fstat(fd).st_size, prot=prot)
        return self.maps[flags]

    def unmap(self):
        for memory in self.maps.values():
            memory.close()
        self.maps = {}

    def close(self):
        self.unmap()
        for fd in self.open.values():
            os.close(fd)
        self.open = {}


def serve(path, channel):
    files = Files(path)
    r, rw, append = os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND
    while request := channel.recv(1 << 20):
        text, _, data = request.partition(b"\0")
        kind, offset, length = eval(text)
        reply = b"ok"
        if kind == "read":
            reply = b"=" + os.pread(files.fd(r), length, offset)
        elif kind == "read w":
            reply = b"=" + os.pread(files.fd(rw), length, offset)
        elif kind == "write":
            os.pwrite(files.fd(rw), data, offset)
        elif kind == "append":
            os.write(files.fd(append), data)
        elif kind == "truncate":
            os.ftruncate(files.fd(rw), length)
        elif kind == "truncate path":
            os.truncate(files.path, length)
        elif kind == "punch":
            fallocate(files.fd(rw), PUNCH_HOLE | KEEP_SIZE, offset, length)
        elif kind == "allocate":
            fallocate(files.fd(rw), 0, offset, length)
        elif kind == "copy":
            done = 0
            while done < length[1]:
                count = os.copy_file_range(
                    files.fd(rw), files.fd(rw), length[1] - done, offset + done, length[0] + done)
                if count == 0:
                    break
                done += count
        elif kind == "sync":
            os.fsync(files.fd(rw))
        elif kind == "size":
            reply = b"%d %d" % (os.fstat(files.fd(r)).st_size, os.stat(files.path).st_size)
        elif kind == "map read":
            reply = b"=" + files.memory(r, offset + length)[offset:offset + length]
        elif kind == "map write":
            files.memory(rw, offset + length)[offset:offset + length] = data
        elif kind == "unmap":
            files.unmap()
        elif kind == "reopen":
            files.close()
        elif kind == "trunc at open":
            os.close(os.open(files.path, os.O_WRONLY | os.O_TRUNC))
        elif kind == "rename":
            os.rename(files.path, length)
        elif kind == "renamed":
            files.path = length
        elif kind == "chmod":
            os.chmod(files.path, length)
        channel.send(reply)


def change(kind, truth, offset, length, data, to=0):
    """What the step makes of the bytes."""
    if kind in ("write", "map write"):
        if len(truth) < offset and length:
            truth.extend(bytes(offset - len(truth)))
        if length:
            truth[offset:offset + length] = data
    elif kind == "append":
        truth += data
    elif kind.startswith("truncate"):
        del truth[offset:]
        truth.extend(bytes(offset - len(truth)))
    elif kind == "punch":
        end = min(offset + length, len(truth))
        if end > offset:
            truth[offset:end] = bytes(end - offset)
    elif kind == "allocate":
        truth.extend(bytes(max(0, offset + length - len(truth))))
    elif kind == "copy":
        truth.extend(bytes(max(0, to - len(truth))))
        truth[to:to + length] = truth[offset:offset + length]
    elif kind == "trunc at open":
        truth.clear()


def one_file(path, pick, steps, most, is_placed, keeps_blob):
    """`steps` with the file at `path`: None when all was as the model has it, else lines that say what was not."""
    with open(path, "rb") as file:
        truth = bytearray(file.read())
    workers, recent, first = [], [], path
    for _ in range(3):
        workers.append(Worker(path, workers))
    kinds = (["read"] * 5 + ["write"] * 5 + ["read w"] * 2 + ["append"] * 2 + ["map read"] * 4 + ["map write"] * 4 + [
        "truncate", "truncate path", "punch", "allocate", "copy", "sync", "size", "unmap", "reopen", "rename", "chmod"])
    # As long as nobody has changed it. At first it is only read, for a while of any length.
    is_blob, quiet = is_placed, pick.choice([0, 3, 10, 40]) if is_placed else 0
    try:
        for number in range(steps):
            who = pick.randrange(3)
            worker = workers[who]
            kind = pick.choice(["read", "map read", "size", "reopen", "rename"] if number < quiet else kinds)
            if kind == "append" and pick.random() < 0.05:
                kind = "trunc at open"
            offset = pick.choice([pick.randrange(most), pick.randrange(len(truth) + 1), 4096 * pick.randrange(most // 4096)])
            length = min(pick.choice([1, 10, 511, 4096, 4097, pick.randrange(60_000)]), most - offset)
            data, to = b"", pick.randrange(most)
            seen = truth if worker.frozen is None else worker.frozen
            if kind == "append" and len(truth) + length > most:
                continue
            if kind in ("map read", "map write"):
                # Pages beyond the end must not be touched.
                limit = len(seen) if kind == "map read" else len(truth)
                offset = min(offset, max(0, limit - length))
                length = min(length, limit - offset)
            if kind == "copy":
                offset = min(offset, len(truth))
                length = min(length, abs(to - offset), len(truth) - offset, most - to)
            if kind in ("map read", "map write", "copy", "punch", "allocate") and length <= 0:
                continue
            if kind in ("write", "append", "map write"):
                data = pick.randbytes(length)
            step = (kind, offset, length)
            if kind.startswith("truncate"):
                step = (kind, 0, offset)
            elif kind == "copy":
                step = (kind, offset, (to, length))
            elif kind == "rename":
                step = (kind, 0, f"{first}.{number}")
            elif kind == "chmod":
                step = (kind, 0, pick.choice([0o644, 0o600, 0o660]))
            if is_blob and kind not in READS and kind != "rename":
                is_blob = False
                if keeps_blob and len(truth) > MIB:
                    for other in workers:
                        if other.reads:
                            other.frozen = bytes(truth)
            expected = b"ok"
            if kind in ("read", "map read"):
                expected = b"=" + seen[offset:offset + length]
            elif kind == "read w":
                expected = b"=" + truth[offset:offset + length]
            elif kind == "size":
                expected = b"%d %d" % (len(seen), len(truth))
            change(kind, truth, offset, length, data, to)
            if kind in ("read", "map read", "size"):
                worker.reads = True
            elif kind == "reopen":
                worker.reads, worker.frozen = False, None
            recent.append(f"{number}: {who} {step} {'blob' if is_blob else ''} size {len(truth)}")
            found = worker.ask(step, data)
            if kind == "rename" and found == expected:
                path = step[2]
                for other in workers:
                    other.ask(("renamed", 0, path))
            if found != expected:
                where = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
                return recent[-20:] + [f"{len(found)} bytes instead of {len(expected)}, different from {where}: "
                                       f"{found[where:where + 60]!r} {expected[where:where + 20]!r}"]
    finally:
        for worker in workers:
            worker.end()
    with open(path, "rb") as file:
        same = file.read() == truth
    os.unlink(path)
    return None if same else recent[-20:] + ["another content at the end"]


def run(place, kind, steps, seed):
    """So many steps with files of one kind; lines that say how it went."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sizes, most, is_placed, portion = KINDS[kind]
    keeps_blob = place.mounted and place.status()["passthrough"]
    pick = random.Random(f"{seed} {kind}")
    directory = os.path.join(place.root, "model")
    done = 0
    while done < steps:
        count = min(40, max(1, -(-(steps - done) // portion))) if is_placed else 1
        words = [str(pick.randrange(1 << 30)), str(count), *map(str, sizes)]
        left = place.leave("model", [sys.executable, "-S", "-E", "-c", MAKE, *words], as_blobs=is_placed)
        if place.mounted and is_placed and left != count:
            return [f"EXCEPTION model: {left} placed instead of {count}"]
        for number in range(count):
            size = min(portion, steps - done)
            wrong = one_file(f"{directory}/model{number}", pick, size, most, is_placed, keeps_blob) if size > 0 else None
            if wrong:
                return [f"EXCEPTION model ({kind}, seed {seed}, after {done}): {line}" for line in wrong]
            done += size
        subprocess.run(["rm", "-rf", directory], check=True)
    return [f"model: {kind}, {steps} steps, seed {seed}: as the model"]


def everything(place, full):
    seed = int(os.environ.get("CONFORM_SEED", "7"))
    return [line for kind in KINDS for line in run(place, kind, 30_000 if full else 1_000, seed)]


def many(place, operations, seed):
    """So many operations of all kinds together."""
    well = True
    for kind in KINDS:
        lines = run(place, kind, operations // len(KINDS), seed)
        print("\n".join(lines), flush=True)
        well = well and not lines[0].startswith("EXCEPTION")
    return well
