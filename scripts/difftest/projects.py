"""Real projects to build, with the edits that a developer makes to them."""

import os
import random
import shutil
import subprocess
from typing import NamedTuple


class Project(NamedTuple):
    """commands: shell scripts to be run with and without acache; ACACHE stands for the call of acache where each
    compilation has one of its own. edited: the files that are edited, by their endings. comment: how a line is commented out."""

    name: str
    make: object  # a function that fills an empty directory
    commands: tuple
    clean: str
    edited: tuple
    comment: str
    needs: str  # a program, or a directory of the sources

    def is_possible(self, scripts: str, sources: str) -> bool:
        if self.needs in ("lua5.4", "zlib"):
            subprocess.run([os.path.join(scripts, "fetch-sources"), sources, self.needs], check=False, capture_output=True)
        return shutil.which(self.needs) is not None or os.path.isdir(os.path.join(sources, self.needs))


def copied(source: str, prepare=lambda directory: None):
    def make(directory: str, sources: str):
        shutil.copytree(os.path.join(sources, source), directory, dirs_exist_ok=True, symlinks=True)
        for name in (".complete",):
            if os.path.exists(os.path.join(directory, name)):
                os.unlink(os.path.join(directory, name))
        prepare(directory)
    return make


def write(directory: str, files: dict):
    for name, text in files.items():
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)


def python_package(directory: str, _: str):
    write(directory, {
        "setup.py": "from setuptools import Extension, setup\n"
                    "setup(name='counting', version='1', packages=['counting'], ext_modules=[\n"
                    "    Extension('counting.fast', ['counting/fast.c'], depends=['counting/fast.h'])])\n",
        "counting/__init__.py": "from .fast import count\nfrom .words import words\n",
        "counting/words.py": "def words(text):\n    return text.split()\n",
        "counting/fast.h": "#define START 1\n",
        "counting/fast.c": '''#include <Python.h>
#include "fast.h"
static PyObject *count(PyObject *self, PyObject *list) {
  return PyLong_FromSsize_t(START - 1 + PyObject_Length(list));
}
static PyMethodDef methods[] = {{"count", count, METH_O, "how many"}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast", 0, -1, methods};
PyMODINIT_FUNC PyInit_fast(void) { return PyModule_Create(&module); }
''',
        "main.py": "import sys\nimport counting\nprint(counting.count(counting.words(open('text').read())))\n",
        "text": "one two three\n",
    })


def document(directory: str, _: str):
    write(directory, {
        "paper.tex": "\\documentclass{article}\n\\begin{document}\n\\section{One}\\label{one}\n\\input{chapter}\n"
                     "\\section{Two}\nSee \\ref{one}.\n\\end{document}\n",
        "chapter.tex": "A chapter of few words.\n",
    })


def pictures(directory: str, _: str):
    write(directory, {
        "Makefile": "all: $(patsubst %.dot,%.svg,$(wildcard *.dot)) index\n%.svg: %.dot style\n"
                    "\t(head -n 1 $<; cat style; tail -n +2 $<) | dot -Tsvg > $@.new && mv $@.new $@\n"
                    "index: $(wildcard *.dot)\n\tls *.dot > $@\nclean:\n\trm -f *.svg index\n",
        "style": "node [shape=box];\n",
        "a.dot": "digraph a {\n a -> b;\n}\n",
        "b.dot": "digraph b {\n x -> y -> z;\n}\n",
    })


PROJECTS = [
    Project("lua", copied("lua5.4"),
            ("make -s -C src linux", "make -s -C src CC='ACACHE gcc -std=gnu99' linux", "make -s -C src linux && src/lua -e 'print(2^10)'"),
            "make -s -C src clean", (".c", ".h"), "/* %s */", "lua5.4"),
    Project("zlib", copied("zlib"),
            ("./configure && rm -f configure.log && make -s libz.a example", "[ -e Makefile ] || ./configure; rm -f configure.log; make -s CC='ACACHE gcc' libz.a minigzip",
             "make -s test >/dev/null 2>&1; ls"),
            "make -s distclean", (".c", ".h"), "/* %s */", "zlib"),
    Project("sqlite", copied("amalgamation"),
            ("gcc -O0 -c sqlite3.c -o sqlite3.o", "gcc -O0 -E sqlite3.c | grep -v '^#' | tail -n 400", "ACACHE gcc -O0 -DSQLITE_OMIT_LOAD_EXTENSION -c sqlite3.c -o small.o && ls"),
            "rm -f *.o", (".c", ".h"), "/* %s */", "amalgamation"),
    Project("python", python_package,
            ("/usr/bin/python3 setup.py -q build_ext --inplace && /usr/bin/python3 main.py", "/usr/bin/python3 main.py",
             "/usr/bin/python3 -m compileall -q counting; ls counting"),
            "rm -rf build counting/*.so", (".c", ".h", ".py"), None, "gcc"),
    Project("document", document,
            ("pdflatex -interaction=batchmode paper >/dev/null && rm -f paper.log && ls", "pdflatex -interaction=nonstopmode paper | grep -c Chapter; rm -f paper.log"),
            "rm -f *.pdf *.aux", (".tex",), "%% %s", "pdflatex"),
    Project("pictures", pictures, ("make -s", "make -s a.svg; dot -Tplain b.dot", "make -s && cat index"), "make -s clean", (".dot", "style"), "// %s", "dot"),
]


def edits(project: Project, tree: str, pick: random.Random, number: int, changed: dict) -> tuple:
    """What is done to the tree: (words, list of (path, bytes or None)). `changed` holds the first content of each file."""
    files = sorted(
        os.path.relpath(os.path.join(directory, name), tree)
        for directory, directories, names in os.walk(tree) for name in names
        if name.endswith(project.edited) and os.path.isfile(os.path.join(directory, name)) and "build" not in os.path.relpath(directory, tree))
    kind = pick.choice(["comment", "comment", "same size", "revert", "revert", "revert all", "revert all", "remove", "new", "touch"])
    path = pick.choice(files)
    with open(os.path.join(tree, path), "rb") as file:
        content = file.read()
    comment = project.comment or ("# %s" if path.endswith(".py") else "// %s")
    mark = (comment % f"casher {number}").encode()
    if kind == "revert all":
        return kind, [(name, first) for name, first in sorted(changed.items())]
    if kind == "revert" and changed:
        path = pick.choice(sorted(changed))
        return f"revert {path}", [(path, changed[path])]
    if kind == "remove" and number % 3 == 0:
        changed.setdefault(path, content)
        return f"remove {path}", [(path, None)]
    if kind == "new":
        ending = pick.choice(project.edited)
        name = os.path.join(os.path.dirname(path), f"extra{pick.randrange(3)}{ending}")
        if not os.path.exists(os.path.join(tree, name)):
            changed.setdefault(name, None)
            text = b"digraph n { n%d }\n" % number if ending == ".dot" else mark + b"\n"
            return f"new {name}", [(name, text)]
    if kind == "same size":
        digits = [index for index, byte in enumerate(content) if byte in b"0123456789"]
        if digits:
            index = pick.choice(digits)
            changed.setdefault(path, content)
            return f"a digit of {path}", [(path, content[:index] + b"%d" % pick.randrange(10) + content[index + 1:])]
    if kind == "touch":
        return f"touch {path}", [(path, content)]
    changed.setdefault(path, content)
    return f"{kind} in {path}", [(path, content + mark + b"\n")]
