"""Random edits and shell commands over a small set of names, so that they meet one another often."""

import random

WORDS = ["alpha", "beta", "gamma", "delta", "x", "a b", "0", "zz"]
FILES = [b"a", b"b", b"c", b"d e", b"f.txt", b"g.txt", b".h", b"n\xff", b"run.sh"]
DIRECTORIES = [b".", b".", b".", b"D", b"E", b"D/F", b"sub dir"]

#: Parts that can be left out by --without.
GROUPS = ["links", "symlinks", "modes", "attributes", "nested", "parallel", "stdin", "states", "trees"]


def quote(path: bytes) -> bytes:
    return b"'" + path.replace(b"'", b"'\\''") + b"'"


def copy_tree(source: bytes, target: bytes) -> bytes:
    """What copying a directory into itself leaves depends on the order of its names on the disk."""
    return b"case " + target + b"/ in " + source + b"/*) ;; *) cp -r " + source + b" " + target + b";; esac"


class Generator:
    def __init__(self, seed: int, without: set):
        self.random = random.Random(seed)
        self.without = without

    # Names.

    def directory(self) -> bytes:
        return self.random.choice(DIRECTORIES)

    def path(self) -> bytes:
        directory, name = self.directory(), self.random.choice(FILES)
        return name if directory == b"." else directory + b"/" + name

    def p(self) -> bytes:
        return quote(self.path())

    def d(self) -> bytes:
        return quote(self.random.choice([d for d in DIRECTORIES if d != b"."]))

    def w(self) -> bytes:
        return quote(self.random.choice(WORDS).encode())

    def pick(self, *choices):
        return self.random.choice(choices)

    # Commands.

    def simple(self) -> bytes:
        """One command of a shell."""
        p, q, d, e, w = self.p(), self.p(), self.d(), self.d(), self.w()
        n = b"%d" % self.random.randrange(12)
        reading = [
            b"cat " + p, b"cat " + p + b" " + q, b"head -c 3 " + p, b"head -n 1 " + p, b"tail -n 1 " + p, b"sort " + p,
            b"grep -c a " + p, b"wc -c < " + p, b"tr a-z A-Z < " + p, b"cut -c1-2 " + p, b"cmp " + p + b" " + q,
            b"ls -a " + d, b"ls -p", b"ls -pR", b"find . | LC_ALL=C sort", b"find " + d + b" -type f | sort",
            b"grep -r a . | sort", b"cat *", b"cat " + d + b"/*", b"for f in *; do echo \"$f\"; done",
            b"for f in *.txt; do [ -f \"$f\" ] && cat \"$f\"; done", b"[ -e " + p + b" ] && echo there",
            b"[ -d " + d + b" ] && ls " + d, b"[ -s " + p + b" ] || echo empty", b"test -x " + p + b" && echo runs",
            b"cat " + p + b" | sort | uniq -c", b"sed s/a/o/ " + p, b"stat -c '%F %a %s' " + p, b"od -c " + p + b" | head -n 2",
            b"sh " + p, b"find . -name '*.txt' | sort", b"cksum " + p, b"cat " + p + b" 2>/dev/null || echo none",
            b"find . -size -2c -type f | sort", b"diff " + p + b" " + q,
        ]
        writing = [
            b"echo " + w + b" > " + p, b"echo " + w + b" > " + p, b"echo " + w + b" >> " + p, b"printf %s " + w + b" > " + p,
            b": > " + p, b"cat " + p + b" > " + q, b"cat " + p + b" >> " + q, b"sort " + p + b" > " + q,
            b"sort -o " + p + b" " + p, b"sort -u " + p + b" -o " + q, b"sed -i s/a/o/g " + p, b"sed s/e/i/ " + p + b" > " + q,
            b"tr a-z A-Z < " + p + b" > " + q, b"cp " + p + b" " + q, b"cp -f " + p + b" " + q, b"mv " + p + b" " + q,
            b"mv -f " + p + b" " + q, b"mv -n " + p + b" " + q, b"rm " + p, b"rm -f " + p + b" " + q, b"touch " + p,
            b"touch -d @1000000 " + p, b"cat * > " + p + b" 2>/dev/null", b"echo " + w + b" | tee " + q,
            b"[ -e " + p + b" ] || echo " + w + b" > " + p, b"[ -e " + p + b" ] && cp " + p + b" " + q,
            b"[ -f " + p + b" ] && rm " + p, b"truncate -s " + n + b" " + p,
            b"printf QQ | dd of=" + p + b" bs=1 seek=" + n + b" conv=notrunc status=none",
            b"echo " + w + b" > tmp.1 && mv tmp.1 " + p, b"echo 'echo " + self.random.choice(WORDS).encode() + b"' > " + p,
            b"ls -p > " + p, b"echo " + w + b" | cat - " + p + b" > " + q, b"(umask 077; echo " + w + b" > " + p + b")",
            b"set -C; echo " + w + b" > " + p, b"exec 3<> " + p + b"; echo " + w + b" >&3", b"install -m 640 " + p + b" " + q,
            b"echo one > " + p + b"; rm " + p, b"cp " + p + b" " + q + b" && echo " + w + b" >> " + q,
        ]
        trees = [
            b"mkdir " + d, b"mkdir -p " + d, b"rmdir " + d, b"rm -rf " + d, b"rm -r " + d, copy_tree(d, e),
            b"mv " + d + b" " + e, b"mv -T " + d + b" " + e, b"mkdir -p " + d + b" && echo " + w + b" > " + d + b"/new",
            b"tar cf - " + d + b" | tar tf - | sort", b"cp -r " + d + b" copy && rm -r copy", b"mv " + p + b" " + d,
            b"find " + d + b" -type f -print0 | sort -z | xargs -0r cat", b"find . -name a -delete", b"rm -f " + d + b"/*",
            b"cd " + d + b" && echo " + w + b" > here && cat here", b"(cd " + d + b" && ls -a)", b"cp *.txt " + d,
        ]
        links = [b"ln " + p + b" " + q, b"ln -f " + p + b" " + q, b"cp -l " + p + b" " + q]
        symlinks = [
            b"ln -s " + quote(self.random.choice(FILES)) + b" " + p, b"ln -sf " + q + b" " + p, b"readlink " + p,
            b"ln -sfn " + d + b" " + p, b"cp -P " + p + b" " + q, b"ls -d " + p, b"[ -L " + p + b" ] && readlink " + p,
            b"cat " + p + b"/a", b"ls " + p + b"/", b"ln -s nowhere " + p,
        ]
        modes = [
            b"chmod " + self.pick(b"600", b"644", b"755", b"640", b"444", b"+x", b"go-r") + b" " + p,
            b"stat -c %a " + p, b"cp -p " + p + b" " + q,
            b"cp --preserve=xattr " + p + b" " + q, b"[ -w " + p + b" ] && echo writable", b"chmod 700 " + d,
        ]
        kinds = [(reading, 10), (writing, 10)]
        for name, commands, weight in [
            ("trees", trees, 4), ("links", links, 1), ("symlinks", symlinks, 2), ("modes", modes, 2),
        ]:
            if name not in self.without:
                kinds.append((commands, weight))
        group = self.random.choices([commands for commands, _ in kinds], [weight for _, weight in kinds])[0]
        return self.random.choice(group)

    def script(self) -> bytes:
        """A few commands joined in the ways of a shell."""
        count = self.random.choices([1, 2, 3, 4], [8, 5, 2, 1])[0]
        script = self.simple()
        for _ in range(count - 1):
            script += self.pick(b"; ", b"; ", b" && ", b" || ", b"\n") + self.simple()
        chance = self.random.random()
        if chance < 0.05:
            script += b"; exit " + self.pick(b"0", b"1", b"3", b"77")
        elif chance < 0.08:
            script = b"set -e; " + script
        elif chance < 0.10:
            script = b"{ " + script + b"\n} 2>&1"
        elif chance < 0.12:
            script = b"{ " + script + b"\n} & wait"
        elif chance < 0.13:
            script += b"; kill -TERM $$"
        if "nested" not in self.without and self.random.random() < 0.12:
            inner = self.script_without_nesting()
            script = self.pick(
                b"$ACACHE sh -c " + quote(script), b"$ACACHE sh -c " + quote(inner) + b"; " + script,
                script + b"; $ACACHE sh -c " + quote(inner), b"$ACACHE sh -c " + quote(inner) + b" > " + self.p(),
                b"$ACACHE sh -c " + quote(b"$ACACHE sh -c " + quote(inner) + b"; " + script))
        return script

    def script_without_nesting(self) -> bytes:
        return self.simple() + (b"; " + self.simple() if self.random.random() < 0.3 else b"")

    def edit(self) -> bytes:
        """What a user does to the tree without acache."""
        p, d, w = self.p(), self.d(), self.w()
        choices = [
            b"echo " + w + b" > " + p, b"echo " + w + b" > " + p, b"echo " + w + b" >> " + p, b"rm -f " + p,
            b"mkdir -p " + d, b"rm -rf " + d, b"printf '%s\\n' b a " + w + b" > " + p,
            b"mv " + p + b" " + self.p(), b"cp " + p + b" " + self.p(), b"touch " + p,
        ]
        if "trees" not in self.without:
            choices += [b"mv -T " + d + b" " + self.d(), copy_tree(d, self.d())]
        if "modes" not in self.without:
            choices += [b"chmod " + self.pick(b"600", b"644", b"755", b"444") + b" " + p]
        if "links" not in self.without:
            choices += [b"ln -f " + p + b" " + self.p()]
        if "symlinks" not in self.without:
            choices += [b"ln -sfn " + self.pick(b"a", b"b", b"D", b"nowhere", b"./a") + b" " + p]
        return self.random.choice(choices)
