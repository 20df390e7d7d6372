import Testing

@Suite("Names that were looked for and missing")
struct AbsentNameTests {
  @Test("A header that appears earlier in the include path is found, also where there was no directory")
  func includePath() throws {
    let prepare = """
      mkdir a b; echo '#define VALUE 1' > b/value.h
      printf '#include "value.h"\\nint value = VALUE;\\n' > x.c
      """
    try withTwins(prepare: prepare) { twins throws in
      let compile = "gcc -Inone/deep -Ia -Ib -E -P x.c"
      try twins.missThenHit(compile)
      try twins.edit("echo '#define VALUE 2' > a/value.h")
      try twins.missThenHit(compile)
      try twins.edit("mkdir -p none/deep; echo '#define VALUE 3' > none/deep/value.h")
      try twins.missThenHit(compile)
      try twins.edit("rm -r none a/value.h")
      try twins.hit(compile)
    }
  }

  @Test("A module that appears earlier in Python's path is found")
  func pythonPath() throws {
    try withTwins(prepare: "mkdir a b; echo 'value = 1' > b/module.py") { twins throws in
      let script = "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=a:b /usr/bin/python3 -c 'import module; print(module.value)'"
      try twins.missThenHit(script)
      try twins.edit("echo 'value = 2' > a/module.py")
      try twins.missThenHit(script)
      try twins.edit("rm a/module.py; mkdir a/module; echo 'value = 3' > a/module/__init__.py")
      try twins.missThenHit(script)
      try twins.edit("rm -r a; mkdir a")
      try twins.hit(script)
    }
  }

  @Test("A program that appears earlier in PATH is found")
  func programPath() throws {
    let prepare = "mkdir a b; printf '#!/bin/sh\\necho second\\n' > b/tool; chmod 755 b/tool"
    try withTwins(prepare: prepare) { twins throws in
      let script = "PATH=a:b:$PATH; tool"
      try twins.missThenHit(script)
      try twins.edit("printf '#!/bin/sh\\necho first\\n' > a/tool; chmod 755 a/tool")
      try twins.missThenHit(script)
      try twins.edit("chmod 644 a/tool")
      try twins.missThenHit(script)
      try twins.edit("rm a/tool")
      try twins.hit(script)
    }
  }

  @Test("A configuration file that appears is read")
  func configuration() throws {
    try withTwins { twins throws in
      try twins.missThenHit("cat conf 2>/dev/null || echo default")
      try twins.edit("echo mine > conf")
      try twins.missThenHit("cat conf 2>/dev/null || echo default")
      try twins.edit("rm conf")
      try twins.hit("cat conf 2>/dev/null || echo default")
    }
  }

  @Test("A missing name that becomes a directory, a dangling symlink or a fifo is not missing any more")
  func otherKinds() throws {
    try withTwins { twins throws in
      let script = "[ -e n ] && echo there; [ -L n ] && echo link; [ -d n ] && echo directory; true"
      try twins.missThenHit(script)
      try twins.edit("mkdir n")
      try twins.missThenHit(script)
      try twins.edit("rmdir n; ln -s nowhere n")
      try twins.missThenHit(script)
      try twins.edit("rm n; mkfifo n")
      try twins.missThenHit(script)
      try twins.edit("rm n")
      try twins.hit(script)
    }
  }

  @Test("A name below a file is missing until the file is a directory")
  func belowFile() throws {
    try withTwins(prepare: "echo file > d") { twins throws in
      let script = "cat d/x 2>/dev/null || echo none"
      try twins.missThenHit(script)
      try twins.edit("rm d; mkdir d; echo there > d/x")
      try twins.missThenHit(script)
      try twins.edit("rm -r d; echo file > d")
      try twins.hit(script)
    }
  }

  @Test("A name in a directory that is removed with the directory is missing")
  func removedDirectory() throws {
    try withTwins(prepare: "mkdir -p d/e; echo x > d/e/f") { twins throws in
      let script = "cat d/e/f 2>/dev/null || echo none"
      try twins.missThenHit(script)
      try twins.edit("rm -r d")
      try twins.missThenHit(script)
      try twins.edit("mkdir -p d/e")
      try twins.missThenHit(script)
    }
  }
}
