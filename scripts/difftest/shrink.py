"""Makes a failing sequence of steps short, and writes it as a shell script."""

import os
import time

from commands import quote
from tree import Entry
from twins import Mismatch, Step, Twins


def fails(steps: list, make_twins) -> str | None:
    """What goes wrong when the steps are taken from an empty tree and an empty cache; None when nothing does."""
    twins = make_twins()
    try:
        for step in steps:
            twins.take(step)
        twins.unmount()
        twins.compare("the real directory after the unmount")
    except Mismatch as mismatch:
        return str(mismatch)
    finally:
        twins.close()
    return None


def shrink(history: list, make_twins, seconds: float) -> list:
    """history: (state before, step) of every step up to the one that failed. The shortest sequence found in that time."""
    deadline = time.monotonic() + seconds
    steps, length = None, 1
    while steps is None and time.monotonic() < deadline:
        tail = history[-length:]
        candidate = [Step("state", state=tail[0][0])] + [step for _, step in tail]
        if fails(candidate, make_twins):
            steps = candidate
        elif length >= len(history):
            break
        length *= 4
    if steps is None:
        return [step for _, step in history]
    size = max(1, len(steps) // 2)
    while time.monotonic() < deadline:
        position, removed = 0, False
        while position < len(steps) and time.monotonic() < deadline:
            candidate = steps[:position] + steps[position + size:]
            if candidate and fails(candidate, make_twins):
                steps, removed = candidate, True
            else:
                position += size
        if size == 1 and not removed:
            break
        size = max(1, size // 2) if not removed else min(size, max(1, len(steps) // 2))
    return shrink_state(steps, make_twins, deadline)


def shrink_state(steps: list, make_twins, deadline: float) -> list:
    """Leaves names out of the states as far as the sequence still fails."""
    for index, step in enumerate(steps):
        if step.kind != "state":
            continue
        for path in sorted(step.state, key=len, reverse=True):
            if path == b"." or time.monotonic() > deadline:
                continue
            if any(other.startswith(path + b"/") for other in step.state):
                continue
            state = {p: drop_name(e, path) for p, e in step.state.items() if p != path}
            candidate = steps[:index] + [step._replace(state=state)] + steps[index + 1:]
            if fails(candidate, make_twins):
                steps, step = candidate, candidate[index]
    return steps


def drop_name(entry: Entry, path: bytes) -> Entry:
    names = tuple(name for name in entry.names if name != path)
    return entry._replace(names=names if len(names) > 1 else ())


def script(steps: list, strict: bool, binaries: str) -> bytes:
    """A shell script that takes the steps in a mount and in a plain directory, and shows where they differ."""
    option = b"--strict " if strict else b""
    binaries = os.path.abspath(binaries)
    lines = [
        b"#!/bin/sh", b"# Takes the same steps in a mounted directory, under acache, and in a plain one.",
        b"PATH=%s:$PATH; export PATH LC_ALL=C" % quote(os.fsencode(binaries)), b"base=$(mktemp -d)",
        b"export CASHER_CACHE_DIR=\"$base/cache\"", b"mkdir \"$base/mounted\" \"$base/plain\"", b"steps() {",
    ]
    for step in steps:
        lines += [b"  " + line for line in render(step)]
    lines += [
        b"}", b"casherfs mount \"$base/mounted\" || exit",
        b"(cd \"$base/mounted\" && export ACACHE='acache " + option + b"--' && steps) > \"$base/mounted.out\" 2>&1",
        b"casherfs unmount \"$base/mounted\"",
        b"(cd \"$base/plain\" && export ACACHE= && steps) > \"$base/plain.out\" 2>&1",
        b"diff \"$base/mounted.out\" \"$base/plain.out\" && diff -r --no-dereference \"$base/mounted\" \"$base/plain\" &&",
        b"  echo 'no difference in output and contents'", b"echo \"see $base\"", b"",
    ]
    return b"\n".join(lines)


def render(step: Step) -> list:
    if step.kind == "state":
        lines = [b"find . -mindepth 1 -delete"]
        for path in sorted(step.state):
            lines += render_entry(path, step.state[path])
        return lines
    if step.kind == "attribute":
        path, name, value = step.scripts
        return [b"setfattr -h -n %s -v %s %s" % (quote(os.fsencode(name)), quote(value), quote(path))]
    source = b" < /dev/null"
    if step.stdin is not None:
        source = b""
    elif step.input is not None:
        source = b" < " + quote(step.input)
    lines = []
    for command in step.scripts:
        line = (b"$ACACHE " if step.kind == "run" else b"ACACHE= ") + b"sh -c " + quote(command) + source
        if step.stdin is not None:
            line = b"printf %b " + quote(octal(step.stdin)) + b" | " + line
        if step.directory != b".":
            line = b"(cd " + quote(step.directory) + b" 2>/dev/null; " + line + b")"
        lines.append(line + (b" &" if len(step.scripts) > 1 else b"; echo \"status $?\""))
    if step.again:
        lines += lines
    return lines + ([b"wait"] if len(step.scripts) > 1 else [])


def render_entry(path: bytes, entry: Entry) -> list:
    name = quote(path)
    if path == b".":
        return []
    if entry.kind == "l":
        return [b"ln -s " + quote(entry.data) + b" " + name]
    if entry.names and entry.names[0] != path:
        return [b"ln " + quote(entry.names[0]) + b" " + name]
    lines = [b"mkdir " + name] if entry.kind == "d" else [b"printf %b " + quote(octal(entry.data)) + b" > " + name]
    return lines + [b"chmod %o " % entry.mode + name]


def octal(data: bytes) -> bytes:
    return b"".join(b"\\0%03o" % byte for byte in data)
