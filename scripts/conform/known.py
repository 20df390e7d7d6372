"""What a mount does otherwise than its directory, as docs/limitations.md says: exactly these results of exactly these cases."""

import hashlib
import re

#: What the larger placed files are made with (placed.py).
LARGE = bytes(range(256)) * (1_300_000 // 256)
MORE = ",".join(map(str, range(1, 20)))
BOTH = ("passthrough", "no passthrough")
#: (part, kinds of mount, case, result in the directory, result in the mount).
SINGLE = [
    # FUSE carries neither lower's attributes nor the map of extents, and lets any offset be sought.
    ("descriptors", BOTH, "", "flags of attributes -> True", "flags of attributes -> ENOTTY"),
    ("descriptors", BOTH, "", "fiemap size -> 32", "fiemap size -> ENOTSUP"),
    ("descriptors", BOTH, "", "lseek 9223372036854775807 0 -> EINVAL", "lseek 9223372036854775807 0 -> 9223372036854775807"),
    # Appending cannot be taken back.
    *(("calls", BOTH, "copying", f"content -> b'Q,{MORE},P{end}'", f"content -> b'0,{MORE},PQ{end}'") for end in ("", "R")),
    ("calls", BOTH, "copying", "mapped -> b'Q,1,2'", "mapped -> b'0,1,2'"),
    # What was written through a mapping beyond the end.
    ("calls", ("no passthrough",), "mappings", f"beyond the end {bytes(30)!r}", f"beyond the end {bytes(15) + b'xyz' + bytes(12)!r}"),
    # File capabilities go with a chown that is refused, and without passthrough with what is written through a mapping.
    *(("files", BOTH, f"{user} {mode} chown -1", "capability -> 20", "capability -> ENODATA")
      for user, modes in (("grouped", "6777 4777 2676 6666"), ("other", "6777 2766 4777 2676 6666")) for mode in modes.split()),
    *(("files", ("no passthrough",), f"{user} {mode} mapped", "capability -> 20", "capability -> ENODATA")
      for user in ("root", "owner", "grouped", "other") for mode in "6777 2766 4777 2676 6666".split()),
]

#: A placed file becomes an ordinary one, which its status change time tells, also by these that change nothing.
TOUCHED = {f"root {kind} {held} {label}" for kind in "fpb" for held in ("alone", "held") for label in (
    "xattr nonsense", "xattr system.nonsense", "locked", "fsync r")} | {f"other {kind} alone {label}" for kind in "fp" for label in (
        "xattr system.nonsense", "copied", "fchmod r", "fsync r")} | {"other p alone chown -1:-1", "other p alone lchown -1:-1"}
#: Who has a placed file of more than 1 MiB open goes on with its content when it is changed by these.
CHANGED = {f"root b held {label}" for label in (
    "open w", "open rw", "open w trunc", "open r trunc", "open w creat", "open rw creat trunc", "open w append", "open creat 0444",
    "open w creat nofollow", "open rw trunc sync", "truncate", "truncate up", "mapped", "two", "linked", "copied", "write", "append",
    "direct", "sync", "trunc", "punch")}
#: The same, in the process itself.
IN_TWO = ("root b alone two", "root b held two")


def placed(kind, cases, content):
    """Those of the part "placed", where the larger files are made with this content."""
    result = {(case, "times False False True", "times False True True") for case in TOUCHED}
    if kind != "passthrough":
        return result
    size, digest = len(content), hashlib.sha256(content).hexdigest()[:12]
    for case in IN_TWO:
        result.add((case, f"seen -> {content[:1] + b'TWO' + content[4:20]!r}", f"seen -> {content[:20]!r}"))
        result.add((case, *(f"size -> '-rw-rw-rw- 0:0 links=1 size={size + more} rdev=0'" for more in (3, 0))))
    for case, lines in cases:
        for line in lines if case in CHANGED else []:
            # Links and mode are those of now.
            if found := re.fullmatch(r"held: \(\d+, '[0-9a-f]{12}', True, \d+, (\d+), '(0o\d+)'\)", line):
                result.add((case, line, f"held: ({size}, '{digest}', True, {size}, {found[1]}, '{found[2]}')"))
    return result


def known_differences(part, kind, cases):
    """The differences of a part of scripts/conformance in a mount of this kind ('passthrough' or 'no passthrough') whose cases,
    as (name, lines), gave this in the plain directory: a set of (case, line of the directory, line of the mount)."""
    if part == "placed":
        return placed(kind, cases, LARGE)
    return {(case, plain, mounted) for of, kinds, case, plain, mounted in SINGLE if of == part and kind in kinds}


def may_be_missed(part, case):
    """Whether a known difference shows only where two times fall into different ticks of the kernel's clock."""
    return part == "placed" and case in TOUCHED
