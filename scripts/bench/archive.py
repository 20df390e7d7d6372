"""Stores filled fast: a run that was recorded is exported, and an archive with many like it is imported.

Of the format only this is used: an entry of a run begins with its id and its weak key, 32 bytes each; byte strings and
digests stand in it as they are, so that names of the same length and digests can be exchanged. casherfs computes all
else from the record when it imports it, and checks it.
"""

import hashlib
import os
import subprocess

from casher import CASHERFS

DIGEST = 32


def entry(name, content):
    """One regular file of a tar archive (POSIX ustar)."""
    header = bytearray(512)
    header[0:len(name)] = name.encode()
    header[100:108], header[108:116], header[116:124] = b"0000600\0", b"0000000\0", b"0000000\0"
    header[124:136], header[136:148] = b"%011o\0" % len(content), b"00000000000\0"
    header[148:156], header[156:157], header[257:265] = b" " * 8, b"0", b"ustar\x0000"
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % 512)


def exported(mount):
    """The entries of the mount's cache as `casherfs export` writes them: [(name, content)]."""
    packed = subprocess.run([CASHERFS, "export", "-"], env=mount.environment, check=True, capture_output=True).stdout
    data = subprocess.run(["zstd", "-dcq"], input=packed, check=True, capture_output=True).stdout
    entries, offset = [], 0
    while offset + 512 <= len(data) and data[offset]:
        name = data[offset:offset + 100].rstrip(b"\0").decode()
        size = int(data[offset + 124:offset + 135], 8)
        entries.append((name, data[offset + 512:offset + 512 + size]))
        offset += 512 + size + -size % 512
    return entries


def multiply(mount, count, variant, keeps_command=False):
    """Imports `count` runs like the newest one in the mount's cache.

    `variant(number)` gives what is exchanged in each: [(old, new)], bytes of the same length, and contents that the new
    run refers to. A run is another command's unless `keeps_command`."""
    entries = exported(mount)
    format_name, format_content = entries[0]
    template = next(content for name, content in reversed(entries) if name.startswith("runs/"))
    weak, rest = template[DIGEST:2 * DIGEST], template[2 * DIGEST:]
    # Runs of root say whose their outputs are, which is taken over from trusted archives alone.
    importer = subprocess.Popen([CASHERFS, "import", "--trust", "-"], env=mount.environment, stdin=subprocess.PIPE,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    packer = subprocess.Popen(["zstd", "-1cq"], stdin=subprocess.PIPE, stdout=importer.stdin)
    importer.stdin.close()
    with packer.stdin as pipe:
        pipe.write(entry(format_name, format_content))
        for name, content in entries:
            if name.startswith("blobs/"):
                pipe.write(entry(name, content))
        for number in range(1, count + 1):
            exchanges, contents = variant(number)
            record = rest
            for old, new in exchanges:
                if len(old) != len(new) or old not in record:
                    raise RuntimeError(f"a stored run does not hold {old!r}")
                record = record.replace(old, new)
            for content in contents:
                pipe.write(entry("blobs/" + hashlib.sha256(content).hexdigest(), content))
            identity = os.urandom(DIGEST)
            key = weak if keeps_command else os.urandom(DIGEST)
            pipe.write(entry("runs/" + identity.hex(), identity + key + record))
        pipe.write(bytes(1024))
    if packer.wait() or importer.wait():
        raise RuntimeError("casherfs import did not take the runs over")


def digest(content):
    return hashlib.sha256(content).digest()
