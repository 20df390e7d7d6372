import Foundation
import Testing

@Suite("What a command reads")
struct InputRowTests {
  @Test("The content of a file that is read counts; the same content written again does not")
  func content() throws {
    try withTwins(prepare: "echo one > in") { twins throws in
      try twins.missThenHit("cat in")
      try twins.edit("echo one > new; mv new in; touch -d @1 in")
      try twins.hit("cat in")
      try twins.edit("echo two > in")
      try twins.missThenHit("cat in")
      try twins.edit("echo one > in")
      try twins.hit("cat in")
    }
  }

  @Test("A change that leaves size and modification time as they were counts")
  func sameSizeAndTime() throws {
    try withTwins(prepare: "echo one > in; touch -d @1000000000 in") { twins throws in
      try twins.missThenHit("cat in")
      try twins.edit("echo two > in; touch -d @1000000000 in")
      try twins.missThenHit("cat in")
    }
  }

  @Test("A file written to through mmap by another hand counts")
  func mappedWrite() throws {
    try withTwins(prepare: "echo one > in") { twins throws in
      try twins.missThenHit("cat in")
      try twins.edit(
        "/usr/bin/python3 -c 'import mmap;f=open(\"in\",\"r+b\");m=mmap.mmap(f.fileno(),0);m[0:3]=b\"two\"'")
      try twins.missThenHit("cat in")
    }
  }

  @Test("What is read through mmap counts")
  func mappedRead() throws {
    try withTwins(prepare: "echo one > in") { twins throws in
      let script =
        "/usr/bin/python3 -c 'import mmap;f=open(\"in\",\"rb\");print(mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ)[:])'"
      try twins.missThenHit(script)
      try twins.edit("echo two > in")
      try twins.missThenHit(script)
    }
  }

  @Test("The size of a file that is looked up but never opened counts")
  func statusOnly() throws {
    try withTwins(prepare: "echo one > in; : > empty") { twins throws in
      try twins.missThenHit("stat -c %s in; test -s empty || echo empty")
      try twins.edit("echo longer > in")
      try twins.missThenHit("stat -c %s in; test -s empty || echo empty")
      try twins.edit("echo > empty")
      try twins.missThenHit("stat -c %s in; test -s empty || echo empty")
    }
  }

  @Test("The permission bits of a file that is looked up count")
  func permissionBits() throws {
    try withTwins(prepare: "echo one > in; chmod 644 in") { twins throws in
      try twins.missThenHit("test -x in && echo executable; stat -c %a in")
      try twins.edit("chmod 755 in")
      try twins.missThenHit("test -x in && echo executable; stat -c %a in")
      try twins.edit("chmod 644 in")
      try twins.hit("test -x in && echo executable; stat -c %a in")
    }
  }

  @Test("The permission bits of a file that is read count")
  func permissionBitsOfInput() throws {
    try withTwins(prepare: "echo one > in; chmod 644 in") { twins throws in
      try twins.missThenHit("cp in out; stat -c %a out")
      try twins.edit("chmod 600 in; rm out")
      try twins.missThenHit("cp in out; stat -c %a out")
    }
  }

  @Test("The type and the permission bits of a directory that is looked up count")
  func directoryStatus() throws {
    try withTwins(prepare: "mkdir d; chmod 755 d") { twins throws in
      let script = "test -d d && echo directory; test -e d && stat -c %a d; true"
      try twins.missThenHit(script)
      try twins.edit("chmod 700 d")
      try twins.missThenHit(script)
      try twins.edit("rmdir d; : > d; chmod 700 d")
      try twins.missThenHit(script)
      try twins.edit("rm d; mkfifo d; chmod 700 d")
      try twins.missThenHit(script)
      try twins.edit("rm d; mkdir d; chmod 755 d")
      try twins.hit(script)
    }
  }

  @Test("A program in the tree and the interpreter that it names count")
  func interpreter() throws {
    let prepare = """
      cp /bin/cat interpreter; printf '#!./interpreter\\nfirst\\n' > tool; chmod 755 tool interpreter
      """
    try withTwins(prepare: prepare) { twins throws in
      try twins.missThenHit("./tool")
      try twins.edit("printf '#!./interpreter\\nsecond\\n' > tool")
      try twins.missThenHit("./tool")
      try twins.edit("cp /usr/bin/wc interpreter")
      try twins.missThenHit("./tool")
      try twins.edit("cp /bin/cat interpreter")
      try twins.hit("./tool")
    }
  }

  @Test("A program that loses its execute bit is not replayed")
  func executeBit() throws {
    try withTwins(prepare: "printf '#!/bin/sh\\necho ran\\n' > tool; chmod 755 tool") { twins throws in
      try twins.missThenHit("./tool 2>&1 || true")
      try twins.edit("chmod 644 tool")
      try twins.missThenHit("./tool 2>&1 || true")
    }
  }

  @Test("The command itself, when it is a program in the tree, counts")
  func commandItself() throws {
    try withTwins(prepare: "printf '#!/bin/sh\\necho one $1\\n' > tool; chmod 755 tool") { twins throws in
      twins.shell = ["./tool"]
      try twins.missThenHit("argument")
      try twins.edit("sed -i s/one/two/ tool")
      try twins.missThenHit("argument")
    }
  }

  @Test("A shared library counts, and so does another one that comes to stand before it in LD_LIBRARY_PATH")
  func sharedLibrary() throws {
    let prepare = """
      mkdir first second; echo 'int value(void) { return 1; }' > l.c
      echo '#include <stdio.h>\nint value(void); int main(void) { printf("%d\\\\n", value()); }' > m.c
      gcc -shared -fPIC -o second/libvalue.so l.c; gcc -o program m.c -Lsecond -lvalue
      """
    try withTwins(prepare: prepare) { twins throws in
      twins.place.environment["LD_LIBRARY_PATH"] = "first:second"
      try twins.missThenHit("./program")
      try twins.edit("unset LD_LIBRARY_PATH; sed -i s/1/2/ l.c; gcc -shared -fPIC -o second/libvalue.so l.c")
      try twins.missThenHit("./program")
      try twins.edit("unset LD_LIBRARY_PATH; sed -i s/2/3/ l.c; gcc -shared -fPIC -o first/libvalue.so l.c")
      try twins.missThenHit("./program")
      try twins.edit("rm first/libvalue.so")
      try twins.hit("./program")
    }
  }

  @Test("A database that is read counts")
  func database() throws {
    try withTwins(prepare: "sqlite3 db 'create table t (x); insert into t values (1)'") { twins throws in
      try twins.missThenHit("sqlite3 db 'select x from t'")
      try twins.edit("sqlite3 db 'update t set x = 2'")
      try twins.missThenHit("sqlite3 db 'select x from t'")
    }
  }

  @Test("The content of a sparse file and of an empty one counts")
  func sparse() throws {
    try withTwins(prepare: "truncate -s 8M sparse; : > empty") { twins throws in
      try twins.missThenHit("sha256sum sparse empty")
      try twins.edit("printf x | dd of=sparse bs=1 seek=4000000 conv=notrunc 2>/dev/null")
      try twins.missThenHit("sha256sum sparse empty")
    }
  }

  @Test("An extended attribute that is read counts")
  func extendedAttribute() throws {
    try withTwins(prepare: ": > in") { twins throws in
      let get = "/usr/bin/python3 -c 'import os; print(os.listxattr(\"in\"))'"
      try twins.missThenHit(get)
      try twins.edit("/usr/bin/python3 -c 'import os; os.setxattr(\"in\", \"user.note\", b\"1\")'")
      try twins.missThenHit(get)
    }
  }

  @Test("Modification times count with --mtime and do not without")
  func modificationTimes() throws {
    try withTwins(prepare: "echo one > in; touch -d @1000000000 in") { twins throws in
      try twins.missThenHit("cat in")
      try twins.missThenHit("stat -c %Y in", "--mtime")
      try twins.edit("touch -d @1000000001 in")
      try twins.hit("cat in")
      try twins.missThenHit("stat -c %Y in", "--mtime")
    }
  }
}
