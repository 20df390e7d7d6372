"""Random reads, writes, truncates and mappings of one file by several processes, checked against a model.

The plain directory and the mount get the same steps; the model is bytes in memory, so that both are checked against what
POSIX says and not against each other alone.
"""

import mmap
import os
import random
import socket

from base import KEEP_SIZE, PUNCH_HOLE, fallocate

MOST = 300_000


class Worker:
    """A process that has the file open in its own ways."""

    def __init__(self, path, others):
        self.mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.child = os.fork()
        if self.child == 0:
            for other in others:
                other.mine.close()
            self.mine.close()
            try:
                serve(path, theirs)
            finally:
                os._exit(0)
        theirs.close()

    def ask(self, step, data=b""):
        self.mine.send(repr(step).encode() + b"\0" + data)
        return self.mine.recv(1 << 20)

    def end(self):
        self.mine.close()
        os.waitpid(self.child, 0)


def serve(path, channel):
    fd = os.open(path, os.O_RDWR)
    append = os.open(path, os.O_WRONLY | os.O_APPEND)
    memory = None
    while request := channel.recv(1 << 20):
        text, _, data = request.partition(b"\0")
        kind, offset, length = eval(text)
        reply = b"ok"
        if kind == "read":
            reply = b"=" + os.pread(fd, length, offset)
        elif kind == "write":
            os.pwrite(fd, data, offset)
        elif kind == "append":
            os.write(append, data)
        elif kind == "truncate":
            os.ftruncate(fd, length)
        elif kind == "truncate path":
            os.truncate(path, length)
        elif kind == "punch":
            fallocate(fd, PUNCH_HOLE | KEEP_SIZE, offset, length)
        elif kind == "allocate":
            fallocate(fd, 0, offset, length)
        elif kind == "copy":
            done = 0
            while done < length[1]:
                count = os.copy_file_range(fd, fd, length[1] - done, offset + done, length[0] + done)
                if count == 0:
                    break
                done += count
        elif kind == "sync":
            os.fsync(fd)
        elif kind == "size":
            reply = b"%d %d" % (os.fstat(fd).st_size, os.stat(path).st_size)
        elif kind in ("map read", "map write"):
            if memory is None or len(memory) < offset + length:
                memory = mmap.mmap(fd, os.fstat(fd).st_size)
            if kind == "map read":
                reply = b"=" + memory[offset:offset + length]
            else:
                memory[offset:offset + length] = data
        elif kind == "unmap":
            if memory is not None:
                memory.close()
            memory = None
        elif kind == "reopen":
            os.close(fd)
            fd = os.open(path, os.O_RDWR)
        elif kind == "trunc at open":
            os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        channel.send(reply)


def everything(root, full, seed=None):
    steps = 150_000 if full else 3_000
    seed = seed if seed is not None else int(os.environ.get("CONFORM_SEED", "7"))
    pick = random.Random(seed)
    path = os.path.join(root, "model")
    with open(path, "wb"):
        pass
    truth = bytearray()
    workers = []
    for _ in range(3):
        workers.append(Worker(path, workers))
    recent = []
    try:
        for number in range(steps):
            worker = pick.randrange(3)
            kind = pick.choice(
                ["read"] * 5 + ["write"] * 5 + ["append"] * 2 + ["truncate", "truncate path", "punch", "allocate", "copy", "sync",
                 "size", "unmap", "reopen"] + ["map read"] * 4 + ["map write"] * 4 + (["trunc at open"] if number % 10 == 0 else []))
            offset = pick.choice([pick.randrange(MOST), pick.randrange(len(truth) + 1), 4096 * pick.randrange(60)])
            length = pick.choice([1, 10, 511, 4096, 4097, pick.randrange(60_000)])
            data = b""
            step = (kind, offset, length)
            if kind == "append" and len(truth) + length > MOST:
                continue
            if kind in ("write", "append", "map write"):
                data = pick.randbytes(length)
            if kind in ("map read", "map write"):
                # Pages beyond the end must not be touched.
                offset = min(offset, max(0, len(truth) - length))
                length = min(length, len(truth) - offset)
                data = data[:length]
                step = (kind, offset, length)
                if length <= 0:
                    continue
            if kind.startswith("truncate"):
                step = (kind, 0, offset)
            expected = b"ok"
            if kind in ("read", "map read"):
                expected = b"=" + truth[offset:offset + length]
            elif kind in ("write", "map write"):
                if len(truth) < offset:
                    truth.extend(bytes(offset - len(truth)))
                if length:
                    truth[offset:offset + length] = data
            elif kind == "append":
                truth += data
            elif kind.startswith("truncate"):
                if offset < len(truth):
                    del truth[offset:]
                truth.extend(bytes(offset - len(truth)))
            elif kind == "punch":
                end = min(offset + length, len(truth))
                if end > offset:
                    truth[offset:end] = bytes(end - offset)
            elif kind == "allocate":
                truth.extend(bytes(max(0, offset + length - len(truth))))
            elif kind == "copy":
                to = pick.randrange(MOST)
                offset = min(offset, len(truth))
                count = min(length, abs(to - offset), len(truth) - offset)
                step = (kind, offset, (to, count))
                if count == 0:
                    continue
                if len(truth) < to:
                    truth.extend(bytes(to - len(truth)))
                truth[to:to + count] = truth[offset:offset + count]
            elif kind == "size":
                expected = b"%d %d" % (len(truth), len(truth))
            elif kind == "trunc at open":
                truth.clear()
            recent.append(f"{number}: {worker} {step}")
            found = workers[worker].ask(step, data)
            if found != expected:
                where = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
                return ["EXCEPTION model: " + line for line in recent[-15:]] + [
                    f"EXCEPTION model: {len(found)} bytes instead of {len(expected)}, different from {where}: "
                    f"{found[where:where + 20]!r} {expected[where:where + 20]!r} (seed {seed})"]
    finally:
        for worker in workers:
            worker.end()
    with open(path, "rb") as file:
        same = file.read() == truth
    os.unlink(path)
    return [f"model: {steps} steps, the same at the end: {same}"]
