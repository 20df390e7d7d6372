"""What the benchmarks work on: sources, generated programs, trees of files."""

import os
import random
import shutil
import subprocess
import sys

from harness import Skip

HERE = os.path.dirname(os.path.abspath(__file__))

#: Standard headers of C++ that make a compilation long.
HEADERS = """algorithm array atomic chrono complex condition_variable deque filesystem functional future iostream
list map memory mutex numeric optional random regex set string thread unordered_map variant vector""".split()


class Material:
    """Sources from Debian, fetched when they are first wanted into a directory that is kept."""

    def __init__(self, directory, quick):
        self.directory, self.quick = directory, quick
        #: Builds Lua in its directory; with --quick some of it.
        self.build = ["make", "-j2", *(["lzio.o", "lctype.o"] if quick else ["linux"])]

    def fetch(self, package):
        path = os.path.join(self.directory, package)
        if not os.path.exists(os.path.join(path, ".complete")):
            fetch = os.path.join(HERE, "..", "fetch-sources")
            done = subprocess.run([fetch, self.directory, package], capture_output=True, text=True)
            if done.returncode:
                raise Skip(f"the source of {package} cannot be fetched from Debian")
        return path

    def lua(self, target):
        """Copies Lua's source to `target`."""
        shutil.copytree(os.path.join(self.fetch("lua5.4"), "src"), target, dirs_exist_ok=True)

    def sqlite(self, target):
        """Makes `target`/sqlite3.c."""
        made = os.path.join(self.directory, "amalgamation")
        if not os.path.exists(os.path.join(made, "sqlite3.c")):
            source, build = self.fetch("sqlite3"), os.path.join(self.directory, "bench-build")
            os.makedirs(build, exist_ok=True)
            for command in ([os.path.join(source, "configure")], ["make", "sqlite3.c"]):
                if subprocess.run(command, cwd=build, capture_output=True).returncode:
                    raise Skip("sqlite3.c cannot be made of SQLite's source (is Tcl there?)")
            os.makedirs(made, exist_ok=True)
            for name in ("sqlite3.c", "sqlite3.h"):
                shutil.copy(os.path.join(build, name), made)
            shutil.rmtree(build)
        os.makedirs(target, exist_ok=True)
        for name in ("sqlite3.c", "sqlite3.h"):
            shutil.copy(os.path.join(made, name), target)


def cplusplus(target, headers=25):
    """A C++ file that includes so many standard headers and uses a little of them."""
    with open(os.path.join(target, "main.cc"), "w") as file:
        file.write("".join(f"#include <{name}>\n" for name in HEADERS[:headers]))
        file.write("#include <map>\n#include <regex>\n#include <string>\n#include <iostream>\n"
                   "int main(int count, char** words) {\n  std::map<std::string, int> counts;\n"
                   "  for (int i = 0; i < count; ++i)\n"
                   "    if (std::regex_match(words[i], std::regex(\"[a-z]+\"))) ++counts[words[i]];\n"
                   "  for (auto& [word, n] : counts) std::cout << word << n << '\\n';\n}\n")


def python_imports(target, modules):
    """A Python program that imports modules of the standard library until so many are loaded."""
    probe = (
        "import sys, warnings; warnings.simplefilter('ignore'); got = []\n"
        "skip = {'antigravity', 'this', 'idlelib', 'turtledemo', 'turtle', 'tkinter', 'pty', 'lib2to3'}\n"
        "for name in sorted(sys.stdlib_module_names):\n"
        "  if name in skip or name.startswith('_'): continue\n"
        f"  if len(sys.modules) >= {modules}: break\n"
        "  try: __import__(name); got.append(name)\n"
        "  except Exception: pass\n"
        "print(' '.join(got))")
    names = subprocess.run([python(), "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    with open(os.path.join(target, "imports.py"), "w") as file:
        file.write("import warnings\nwarnings.simplefilter('ignore')\n")
        file.write("".join(f"import {name}\n" for name in names) + "import sys\nprint(len(sys.modules))\n")


def python():
    """The system's Python: one behind a wrapper's script would measure the wrapper."""
    return "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable


def tree(target, files, size=4096, per_directory=100):
    """So many files of so many bytes, some compressible and some not, in directories."""
    noise = random.Random(1)
    for number in range(files):
        directory = os.path.join(target, f"d{number // per_directory:04}")
        if number % per_directory == 0:
            os.makedirs(directory, exist_ok=True)
        with open(os.path.join(directory, f"f{number:07}"), "wb") as file:
            if size:
                half = noise.randbytes(size // 2)
                file.write(half + (b"%08d text\n" % number * size)[: size - len(half)])


def many_inputs(target, files):
    """Small files, all in one directory for each thousand."""
    tree(target, files, size=32, per_directory=1000)


def script(path, text):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


#: Writes argv[1] MiB that cannot be compressed.
WRITE_LARGE = """import os, sys
block = os.urandom(1 << 22)
with open("large", "wb", 0) as out:
    for number in range(int(sys.argv[1]) // 4):
        out.write(number.to_bytes(8, "little") + block[8:])
"""

#: Writes argv[1] files of 4 KiB into `many`.
WRITE_MANY = """import os, sys
os.mkdir("many")
block = os.urandom(4088)
for number in range(int(sys.argv[1])):
    with open(f"many/{number:05}", "wb", 0) as out:
        out.write(number.to_bytes(8, "little") + block)
"""
