"""flock(2) and POSIX locks, in one view and across views, blocking, interrupted, given back by an end."""

import ctypes
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import time

from base import Log

OFD_GETLK, OFD_SETLK, OFD_SETLKW = 36, 37, 38


class Other:
    """Another process, which does as it is told; in a view of its own where asked."""

    def __init__(self, place, own_view):
        command = [sys.executable, "-S", "-E", "-B", os.path.abspath(__file__), "serve"]
        if own_view:
            command = place.in_view(command)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=place.root, env=place.environment)
        self.ask("ready")

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def answer(self):
        if not select.select([self.process.stdout], [], [], 60)[0]:
            raise AssertionError("no answer within a minute")
        return self.process.stdout.readline().strip()

    def ask(self, *words):
        self.tell(*words)
        return self.answer()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def posix_lock(kind, start, length):
    return struct.pack("hhqqi4x", kind, 0, start, length, 0)


def serve():
    """The other process: a line is a command, a line is its answer."""
    fds = {}

    def alarm(number, frame):
        raise InterruptedError

    for line in sys.stdin:
        word, *rest = line.split()
        try:
            if word == "ready":
                print("ready", flush=True)
            elif word == "pid":
                print(os.getpid(), flush=True)
            elif word == "open":
                fds[rest[0]] = os.open(rest[1], {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}[rest[2]] | os.O_CREAT)
                print("ok", flush=True)
            elif word == "close":
                os.close(fds.pop(rest[0]))
                print("ok", flush=True)
            elif word == "flock":
                fcntl.flock(fds[rest[0]], int(rest[1]))
                print("ok", flush=True)
            elif word == "lock":
                command, kind, start, length = map(int, rest[1:])
                answer = fcntl.fcntl(fds[rest[0]], command, posix_lock(kind, start, length))
                kind, whence, start, length, pid = struct.unpack("hhqqi4x", answer)
                print("ok" if command not in (fcntl.F_GETLK, OFD_GETLK) else f"{kind} {whence} {start} {length} {pid != 0}",
                      flush=True)
            elif word == "alarm":
                # The next wait is interrupted.
                signal.signal(signal.SIGALRM, alarm)
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                print("ok", flush=True)
            elif word == "read":
                print(os.pread(fds[rest[0]], 100, 0), flush=True)
            elif word == "write":
                os.pwrite(fds[rest[0]], rest[1].encode(), 0)
                print("ok", flush=True)
            elif word == "stat":
                status = os.stat(rest[0])
                print(status.st_size, oct(status.st_mode), status.st_nlink, flush=True)
        except InterruptedError:
            print("EINTR", flush=True)
        except OSError as error:
            print(errno.errorcode[error.errno], flush=True)


READ, WRITE, UNLOCK = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
SET, WAIT, GET = fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_GETLK
SH, EX, UN, NB = fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN, fcntl.LOCK_NB


def waits(log, other, *words):
    """Whether the command has not come back after a while; then its answer is to be fetched."""
    other.tell(*words)
    if select.select([other.process.stdout], [], [], 0.15)[0]:
        log.note(*words, "->", other.answer())
        return False
    log.note(*words, "-> waits")
    return True


def both_exclusive(log, one, other):
    """Each gives up its shared lock to ask for an exclusive one; which of them gets in first is the kernel's choice."""
    one.tell("flock", "a", EX)
    log.note("waits for the other's", not select.select([one.process.stdout], [], [], 0.15)[0])
    other.tell("flock", "a", EX)
    waiting = {each.process.stdout: each for each in (one, other)}
    while waiting:
        ready = select.select(list(waiting), [], [], 60)[0]
        if not ready:
            raise AssertionError("nobody gets the lock")
        log.note("gets in", len(ready) == 1)
        for stream in ready:
            who = waiting.pop(stream)
            log.note(who.answer(), "then", who.ask("flock", "a", UN))


def conversation(log, place, own_view):
    one, two, three = Other(place, False), Other(place, own_view), Other(place, own_view)
    everyone = [one, two, three]
    names = {one: "one", two: "two", three: "three"}

    def ask(who, *words):
        log.note(names[who], *words, "->", who.ask(*words))

    try:
        for who in everyone:
            ask(who, "open", "a", "locked", "rw")
            ask(who, "open", "b", "locked", "rw")
            ask(who, "open", "r", "locked", "r")
            ask(who, "open", "w", "locked", "w")
        # flock
        ask(one, "flock", "a", SH)
        ask(two, "flock", "a", SH | NB)
        ask(two, "flock", "a", EX | NB)  # loses the shared one
        ask(one, "flock", "a", EX | NB)
        ask(one, "flock", "b", SH | NB)
        ask(two, "flock", "a", SH | NB)
        if waits(log, two, "flock", "a", EX):
            ask(one, "flock", "a", UN)
            log.note(two.answer())
        ask(one, "flock", "r", SH | NB)
        if waits(log, one, "flock", "r", SH):
            ask(two, "close", "a")
            log.note(one.answer())
        ask(one, "flock", "r", EX | NB)
        ask(one, "close", "r")
        ask(three, "flock", "a", EX | NB)
        ask(three, "flock", "a", UN)
        # Two shared locks that both become exclusive: one of them gets in, then the other.
        ask(one, "flock", "a", SH)
        ask(three, "flock", "a", SH)
        both_exclusive(log, one, three)
        # Interrupted.
        ask(one, "flock", "a", EX)
        ask(three, "alarm")
        ask(three, "flock", "a", EX)
        ask(one, "flock", "a", UN)
        ask(three, "flock", "a", EX | NB)
        ask(three, "flock", "a", UN)
        # POSIX
        ask(two, "open", "a", "locked", "rw")
        ask(one, "open", "r", "locked", "r")
        ask(one, "lock", "a", SET, WRITE, 10, 10)
        ask(two, "lock", "a", SET, WRITE, 0, 10)
        ask(two, "lock", "a", SET, READ, 15, 1)
        ask(two, "lock", "a", GET, READ, 0, 0)
        ask(one, "lock", "b", SET, READ, 12, 3)
        ask(two, "lock", "a", SET, READ, 12, 3)
        ask(two, "lock", "a", GET, WRITE, 11, 0)
        ask(two, "lock", "r", SET, WRITE, 100, 1)
        ask(two, "lock", "w", SET, READ, 100, 1)
        ask(one, "lock", "a", SET, UNLOCK, 14, 2)
        ask(two, "lock", "a", GET, WRITE, 14, 1)
        ask(two, "lock", "a", GET, WRITE, 14, 3)
        if waits(log, three, "lock", "a", WAIT, WRITE, 0, 0):
            ask(two, "lock", "a", SET, UNLOCK, 0, 0)
            ask(one, "close", "b")  # drops everything of the process
            log.note(three.answer())
        ask(one, "lock", "a", SET, READ, 0, 1)
        ask(three, "lock", "a", SET, UNLOCK, 0, 0)
        # A deadlock is seen.
        ask(one, "lock", "a", SET, WRITE, 0, 1)
        ask(two, "lock", "a", SET, WRITE, 1, 1)
        if waits(log, one, "lock", "a", WAIT, WRITE, 1, 1):
            ask(two, "lock", "a", WAIT, WRITE, 0, 1)
            ask(two, "lock", "a", SET, UNLOCK, 0, 0)
            log.note(one.answer())
        ask(one, "lock", "a", SET, UNLOCK, 0, 0)
        # Interrupted.
        ask(one, "lock", "a", SET, WRITE, 0, 0)
        ask(three, "alarm")
        ask(three, "lock", "a", WAIT, READ, 5, 1)
        # Given back by the end of a process.
        if waits(log, three, "lock", "a", WAIT, READ, 5, 1):
            one.process.kill()
            one.process.wait()
            log.note(three.answer())
        # Of open file descriptions.
        ask(three, "lock", "a", SET, UNLOCK, 0, 0)
        ask(two, "lock", "a", OFD_SETLK, WRITE, 0, 10)
        ask(three, "lock", "a", OFD_SETLK, READ, 5, 1)
        ask(three, "lock", "a", SET, READ, 5, 1)
        ask(three, "lock", "a", OFD_SETLK, READ, 10, 1)
        ask(two, "open", "b2", "locked", "rw")
        ask(two, "lock", "b2", OFD_SETLK, WRITE, 5, 1)
        ask(two, "close", "b2")
        ask(three, "lock", "a", OFD_SETLK, READ, 5, 1)
        # What one writes the other sees.
        ask(two, "write", "a", "hello")
        ask(three, "read", "a")
        ask(three, "stat", "locked")
        ask(three, "write", "b", "hello-again")
        ask(two, "read", "r")
        ask(two, "stat", "locked")
    finally:
        for who in everyone:
            if who.process.poll() is None:
                who.end()


def after_close(log, place):
    """A lock is gone as soon as its last descriptor is closed, and as soon as its process has ended."""
    path = os.path.join(place.root, "closing")
    failures = {"flock r": 0, "flock rw": 0, "posix r": 0, "posix rw": 0, "exit flock": 0, "exit posix": 0}
    open(path, "w").close()

    def flock_once(flags):
        fd = os.open(path, flags)
        try:
            fcntl.flock(fd, EX | NB)
            return 0
        except OSError:
            return 1
        finally:
            os.close(fd)

    def in_child(body):
        child = os.fork()
        if child == 0:
            try:
                os._exit(body())
            except BaseException:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def posix_once(flags, kind):
        fd = os.open(path, flags)
        fcntl.fcntl(fd, SET, posix_lock(kind, 0, 0))
        os.close(fd)
        other = os.open(path, os.O_RDWR)

        def another():
            fcntl.fcntl(other, SET, posix_lock(WRITE, 0, 0))
            return 0

        try:
            return in_child(another)
        finally:
            os.close(other)

    def ends_with(kind):
        def body():
            fd = os.open(path, os.O_RDONLY)
            if kind == "flock":
                fcntl.flock(fd, EX | NB)
            else:
                fcntl.fcntl(fd, SET, posix_lock(READ, 0, 0))
            return 0
        return in_child(body)

    for _ in range(200):
        failures["flock r"] += flock_once(os.O_RDONLY)
        failures["flock rw"] += flock_once(os.O_RDWR)
        failures["exit flock"] += ends_with("flock")
    for _ in range(60):
        failures["posix r"] += posix_once(os.O_RDONLY, READ)
        failures["posix rw"] += posix_once(os.O_RDWR, WRITE)
        failures["exit posix"] += ends_with("posix")
        failures["exit posix"] += posix_once(os.O_RDWR, WRITE)
    log.note(failures)


def everything(place, full):
    log = Log(place.root)
    log.case("one view")
    conversation(log, place, False)
    os.unlink(os.path.join(place.root, "locked"))
    log.case("several views")
    conversation(log, place, True)
    log.case("after close")
    after_close(log, place)
    return log.lines


if __name__ == "__main__":
    serve()
