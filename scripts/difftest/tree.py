"""What a directory tree is, as two trees are compared: names, types, modes, owners, contents, link targets, hard links and
extended attributes of the user namespace. Times and inode numbers are left out: two trees never agree in them."""

import os
import shutil
import stat
from typing import NamedTuple


class Entry(NamedTuple):
    kind: str  # d, f, l, p, or ? for anything else
    mode: int
    owner: tuple
    data: bytes  # a file's content or a link's target
    attributes: tuple
    names: tuple  # of a file with several links: all its names in the tree, sorted


def snapshot(root: bytes) -> dict:
    """Every path below root, with what is there."""
    entries, inodes = {}, {}
    pending = [b""]
    while pending:
        directory = pending.pop()
        full = os.path.join(root, directory)
        if directory == b"":
            entries[b"."] = Entry("d", stat.S_IMODE(os.lstat(full).st_mode), (), b"", attributes(full), ())
        for name in names_in(full):
            path = os.path.join(directory, name)
            here = os.path.join(root, path)
            try:
                status = os.lstat(here)
            except PermissionError:
                entries[path] = Entry("?", 0, (), b"<not to be looked at>", (), ())
                continue
            mode, owner = stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)
            kind, data, extended = "?", b"", ()
            if stat.S_ISDIR(status.st_mode):
                kind, extended = "d", attributes(here)
                pending.append(path)
            elif stat.S_ISREG(status.st_mode):
                kind, extended = "f", attributes(here)
                try:
                    with open(here, "rb") as file:
                        data = file.read()
                except PermissionError:
                    data = b"<not to be read>".ljust(status.st_size)[: status.st_size]
                if len(data) != status.st_size:
                    data += b"<stat says %d bytes>" % status.st_size
                if status.st_nlink > 1:
                    inodes.setdefault(status.st_ino, []).append(path)
            elif stat.S_ISLNK(status.st_mode):
                kind, mode, data = "l", 0o777, os.readlink(here)
            elif stat.S_ISFIFO(status.st_mode):
                kind = "p"
            entries[path] = Entry(kind, mode, owner, data, extended, ())
    for paths in inodes.values():
        for path in paths:
            entries[path] = entries[path]._replace(names=tuple(sorted(paths)))
    return entries


def names_in(directory: bytes) -> list:
    try:
        return os.listdir(directory)
    except PermissionError:
        return []


def closed(entries: dict) -> bool:
    """Whether a directory keeps its owner from looking at what is in it."""
    return any(entry.kind == "d" and entry.mode & 0o500 != 0o500 for entry in entries.values())


def opened(root: bytes) -> dict:
    """The tree at root after its owner was allowed everything in it."""
    pending = [root]
    while pending:
        directory = pending.pop()
        os.chmod(directory, stat.S_IMODE(os.lstat(directory).st_mode) | 0o700)
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                os.chmod(entry.path, stat.S_IMODE(os.lstat(entry.path).st_mode) | 0o600)
    return snapshot(root)


def attributes(path: bytes) -> tuple:
    try:
        names = [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("user.")]
        return tuple(sorted((name, os.getxattr(path, name, follow_symlinks=False)) for name in names))
    except OSError:
        return ()


def differences(left: dict, right: dict, limit: int = 20) -> list:
    """A line for each path that is not the same in both, at most `limit`."""
    lines = []
    for path in sorted(left.keys() | right.keys()):
        a, b = left.get(path), right.get(path)
        if a != b:
            lines.append(f"{os.fsdecode(path)!r}: {describe(a)} <> {describe(b)}")
    return lines[:limit] + ([f"... and {len(lines) - limit} more"] if len(lines) > limit else [])


def describe(entry) -> str:
    if entry is None:
        return "nothing"
    text = f"{entry.kind} {entry.mode:o}"
    if entry.owner:
        text += " %d:%d" % entry.owner
    if entry.kind in "fl":
        text += f" {entry.data[:60]!r}"
        if len(entry.data) > 60:
            text += f"... ({len(entry.data)} bytes)"
    if entry.names:
        text += f" names={[os.fsdecode(name) for name in entry.names]}"
    if entry.attributes:
        text += f" {entry.attributes}"
    return text


def restore(root: bytes, now: dict, target: dict) -> None:
    """Turns the tree at root, which is as `now` says, into `target`, touching only what differs."""
    if os.getuid() != 0:
        now = opened(root)
    changed = {path for path in now.keys() | target.keys() if path != b"." and now.get(path) != target.get(path)}
    for path in sorted(changed, key=len, reverse=True):
        was, wanted = now.get(path), target.get(path)
        if was is None or (was.kind == "d" and wanted is not None and wanted.kind == "d"):
            continue
        here = os.path.join(root, path)
        if was.kind == "d":
            shutil.rmtree(here, ignore_errors=False)
        else:
            os.unlink(here)
    closing = []
    for path in sorted(changed):
        wanted = target.get(path)
        if wanted is None:
            continue
        here = os.path.join(root, path)
        make(root, here, path, wanted)
        if wanted.kind == "d":
            closing.append((here, wanted.mode))
        if wanted.kind in "df" and not (wanted.names and wanted.names[0] != path):
            # The attributes of a file that its owner may not write cannot be set either.
            os.chmod(here, wanted.mode | 0o700)
            had = dict(attributes(here))
            for name, value in wanted.attributes:
                os.setxattr(here, name, value)
            for name in had.keys() - dict(wanted.attributes).keys():
                os.removexattr(here, name)
            if wanted.kind == "f":
                os.chmod(here, wanted.mode)
            if os.getuid() == 0 and os.lstat(here)[4:6] != wanted.owner:
                os.chown(here, *wanted.owner)
    # Nothing can be made in a directory that its owner may not write.
    for here, mode in reversed(closing):
        os.chmod(here, mode)


def make(root: bytes, here: bytes, path: bytes, wanted: Entry) -> None:
    if wanted.kind == "d":
        if not os.path.isdir(here):
            os.mkdir(here)
    elif wanted.kind == "l":
        os.symlink(wanted.data, here)
    elif wanted.kind == "p":
        os.mkfifo(here)
    elif wanted.kind == "?":
        pass  # what it was is not known
    elif wanted.names and wanted.names[0] != path:
        os.link(os.path.join(root, wanted.names[0]), here)
    else:
        with open(here, "wb") as file:
            file.write(wanted.data)
