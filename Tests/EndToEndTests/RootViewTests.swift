import Foundation
import Testing

/// Whether runs get a view of the whole root here; else strace is what there is, and other suites test that.
private let hasRootView: Bool = {
  var isUsed = false
  try? withMount { place in
    isUsed = try place.casherfs("status", place.work).output.contains("by a view of the root")
  }
  return isUsed
}()

@Suite("A view of the root", .enabled(if: hasRootView))
struct RootViewTests {
  @Test(
    "The view and strace observe the same",
    arguments: [
      "true", "cat /etc/hostname /etc/none 2>&1; true", "ls -l /etc/cron.d ../out 2>&1; true",
      "[ -x /usr/bin/sort ] && echo x",
      "find /usr/include/linux/can | xargs cat | wc", "cat ../out/link ../out/dir/f; readlink ../out/link",
      "tar cf - /usr/include/linux/can | wc -c", "sort /etc/passwd | uniq | head -2; cd /usr/share && pwd",
      "printf 'int main(void){return 0;}' > a.c; gcc -c a.c -I/usr/include/linux -o a.o && echo built",
      "python3 -c 'import json, email.message; print(json.dumps({}))'", "perl -e 'use POSIX; print 1'",
      "git init -q r && git -C r status --porcelain", "printf 'all:\\n\\techo made\\n' > m; make -s -f m",
      "sh -c 'exec cat < ../out/dir/f'; env -i /bin/echo hi",
      "stat -c %a / /usr /etc/passwd; test -d ../out/no/where || echo no",
      "printf '#include <vector>\n#include <string>\nint main(){}' > a.cc; g++ -c a.cc -o a.o && echo built",
      "printf 'int main(void){return 0;}' > a.c; gcc -c a.c; ld -o a a.o --entry main && ./a; ar rcsD l.a a.o; ar t l.a",
      "perl -MFile::Find -MData::Dumper -e 'find(sub { $n++ }, \"../out\"); print $n'",
      "python3 -c 'import os, sys; print(sorted(os.listdir(sys.argv[1])), os.path.realpath(\"../out/link\"))' ../out",
      "PYTHONPATH=../out/none:../out/dir python3 -c 'import module; print(module.value)'",
      "printf 'include ../out/part.mk\nall: ; @echo $(V)\n' > m; make -s -f m",
      "git init -q r; cd r; echo f > f; git add f; git -c user.name=n -c user.email=e commit -qm m; git log --format=%s",
      "find ../out /etc/cron.d -type f -name 'f*' | sort; find -L ../out -maxdepth 2 -type d 2>&1 | sort",
      "mawk 'FNR == 1' ../out/dir/f ../out/link; mawk -f ../out/program.awk < /dev/null",
      "../out/script; ../out/nested a b", "PATH=../out/none:../out/dir:$PATH tool",
      "LD_LIBRARY_PATH=../out/none:../out/dir /bin/cat ../out/dir/f",
      "mkdir -p x; tar xf ../out/t.tar -C x; cat x/dir/f; cmp x/dir/f ../out/dir/f && echo same",
      "cat ../out/circle ../out/dangling ../out/dirlink/f 2>/dev/null; cd ../out/dirlink && cat f && pwd -P",
      "cp ../out/dir/f copy; mv copy moved; diff moved ../out/dir/f && ls -d ../out/*",
      "sed -n p ../out/dir/f; grep -rl f ../out | sort; md5sum < ../out/dir/f; xargs cat < ../out/list",
      "bash -c 'shopt -s globstar nullglob; echo ../out/**/f; . ../out/part.sh; [[ -x ../out/script ]] && echo x'",
      "sqlite3 -readonly ../out/db 'select x from t'; file -b ../out/dir/f; jq -c . ../out/json",
      "echo made > ../out/made; cat ../out/made; mkdir -p ../out/new/d; ls ../out/new; rm ../out/made",
    ])
  func sameObservations(script: String) throws {
    try withMount { place in
      let made = try place.shell(Self.outside)
      try #require(made.status == 0, "\(made.error)")
      let view = try observations(of: script, by: "view", place)
      let traced = try observations(of: script, by: "strace", place)
      #expect(view.output == traced.output)
      let missed = traced.paths.subtracting(view.paths).filter { !view.covers($0) }
      #expect(missed.isEmpty, "\(script): not seen through the view: \(missed.sorted())")
      // What the view tells besides is what paths lead through, those to what is mounted in it too.
      let mounted = Observed(output: "", paths: [place.work.real, (place.base + "/cache/mounts").real])
      let further = view.paths.filter { path in
        !traced.covers(path) && !traced.leadsThrough(path) && !mounted.leadsThrough(path)
      }
      #expect(further.isEmpty, "\(script): seen through the view alone: \(further.sorted())")
    }
  }

  /// What the commands of `sameObservations` use outside.
  private static let outside = #"""
    set -e
    mkdir -p ../out/dir; cd ../out; echo f > dir/f; ln -s dir/f link; ln -s dir dirlink
    ln -s circle circle; ln -s nowhere dangling; echo 'value = 1' > dir/module.py; echo 'V = 7' > part.mk
    echo 'BEGIN { print "awk" }' > program.awk; echo 'echo part' > part.sh; echo ../out/dir/f > list
    echo '#!/bin/sh' > script; echo 'echo script "$@"' >> script; echo '#!/usr/bin/env -S sh ../out/script' > nested
    cp script dir/tool; chmod +x script nested dir/tool; tar cf t.tar dir; echo '{"a": 1}' > json; echo 1+1 > sum
    sqlite3 db 'create table t (x); insert into t values (5)'
    """#

  @Test("Commands work in it as they do outside")
  func behaviour() throws {
    try withMount { place in
      let script = #"""
        d=../out; mkdir -p $d
        mkfifo $d/p; (echo through > $d/p &) ; cat $d/p; rm $d/p
        script -qc 'echo in a terminal' /dev/null < /dev/null | tr -d '\r'
        flock $d/lock echo locked; rm $d/lock
        cp /bin/sleep $d/program; $d/program 1000 &
        for i in $(seq 6000); do readlink /proc/$!/exe | grep -q '/program$' && break; sleep 0.01; done
        (echo x > $d/program) 2>/dev/null || echo busy
        rm $d/program; kill $!; wait $!; echo $?
        ln $d/../out/../work/none $d/l 2>/dev/null || echo none
        echo a > $d/l1; ln $d/l1 $d/l2; stat -c %h $d/l2; rm $d/l1 $d/l2
        find /usr/bin -perm -4000 -name su; readlink /proc/self/exe; cd /usr/include; pwd; cd ..; pwd
        python3 -c 'import os,socket; a=socket.socket(socket.AF_UNIX); a.bind("'$OLDPWD/../out/own'"); a.listen(1); b=socket.socket(socket.AF_UNIX); b.connect("'$OLDPWD/../out/own'"); c,_=a.accept(); c.sendall(b"x"); print(b.recv(1)); os.unlink("'$OLDPWD/../out/own'")' 2>&1 | tail -1
        stat -c %i /usr/bin/env /etc/passwd; ls -d /.casher-views 2>/dev/null || echo hidden
        """#
      let plain = try place.shell(script)
      let run = try place.acache(script, options: ["--outside", "view"])
      #expect(run.output == plain.output)
      #expect(run.status == plain.status)
    }
  }

  @Test("A socket of the machine can be connected to, which is not stored")
  func socket() throws {
    try withMount { place in
      let client =
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(9))"
      try place.write(client, to: "client.py")
      let run = try place.shell(
        """
        mkdir -p ../out; python3 -c '\(Self.server)' ../out/s & server=$!
        timeout 100 sh -c 'until [ -S ../out/s ]; do sleep 0.01; done'
        timeout 100 acache -v -- python3 client.py ../out/s; kill $server 2>/dev/null
        """)
      #expect(run.output == "b'from host'\n")
      #expect(run.error.contains("not stored: the command connected to"))
    }
  }

  private static let server =
    "import socket,sys; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1); c,_=s.accept(); "
    + #"c.sendall(b"from host"); c.close()"#

  @Test("A network connection is not stored, and of nested calls not that of any around it")
  func network() throws {
    try withMount { place in
      let connect =
        "python3 -c 'import socket; s=socket.socket(); s.settimeout(1); s.connect_ex((\"127.0.0.1\",9))'"
      let run = try place.acache(connect, options: ["-v"])
      #expect(run.error.contains("not stored: the command connected to 127.0.0.1:9"))
      try place.write(connect + "\n", to: "connect")
      let nested = try place.acache("acache -v -- sh connect; acache -v -- true", options: ["-v"])
      #expect(nested.error.components(separatedBy: "not stored: the command connected to").count == 3)
      #expect(nested.error.components(separatedBy: "stored, took").count == 2)
    }
  }

  @Test("What a call three deep reads counts for all around it")
  func nested() throws {
    try withMount { place in
      try place.shell("mkdir -p ../out; echo one > ../out/f; echo in > a")
      let script = "acache -- sh -c 'acache -- sh -c \"cat a ../out/f > o; cat o\"'"
      #expect(try place.acache(script, options: ["--outside", "view"]).output == "in\none\n")
      #expect(try place.counts() == Counts(hits: 0, misses: 3))
      #expect(try place.acache(script).output == "in\none\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 3))
      try place.shell("echo two > ../out/f")
      #expect(try place.acache(script).output == "in\ntwo\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 6))
    }
  }

  @Test("A file that another process makes outside is seen by a command that waits for it")
  func waiting() throws {
    try withMount { place in
      let run = try place.shell(
        """
        mkdir -p ../out/d
        acache -- sh -c 'touch ../out/begun; for i in $(seq 2000); do cat ../out/d/f 2>/dev/null && break; sleep 0.05; done' &
        timeout 100 sh -c 'until [ -e ../out/begun ]; do sleep 0.01; done'
        rmdir ../out/d; mkdir ../out/d; echo here > ../out/d/f; wait
        """)
      #expect(run.output == "here\n")
    }
  }

  @Test("A hit's files outside are seen at once by the command around it")
  func nestedHit() throws {
    try withMount { place in
      try place.shell("mkdir -p ../out")
      let inner = "acache -- sh -c 'echo made > ../out/f'"
      try place.acache("true; " + inner)
      try place.shell("rm ../out/f")
      let run = try place.acache("cat ../out/f 2>/dev/null; cat ../out/f 2>/dev/null; \(inner); cat ../out/f")
      #expect(run.output == "made\n")
    }
  }

  @Test("Locks outside hold between a command and other processes")
  func locks() throws {
    try withMount { place in
      try place.shell("mkdir -p ../out; touch ../out/lock")
      let run = try place.shell(
        """
        flock ../out/lock sh -c 'touch ../out/held; while [ -e ../out/held ]; do sleep 0.02; done' & holder=$!
        timeout 100 sh -c 'until [ -e ../out/held ]; do sleep 0.01; done'
        timeout 100 acache -- sh -c "flock -n ../out/lock echo no; (sleep 0.2; rm ../out/held) & \
          flock ../out/lock sh -c '[ -e ../out/held ] || echo free'"
        rm -f ../out/held; wait $holder
        """)
      #expect(run.output == "free\n")
      let sqlite =
        "import fcntl,sys; f=open(sys.argv[1],\"r+\"); fcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB); print(\"got\")"
      let held = try place.shell(
        "python3 -c 'import fcntl,subprocess,os; f=open(\"../out/lock\",\"r+\"); fcntl.lockf(f,fcntl.LOCK_EX); "
          + "print(subprocess.run([\"acache\",\"--\",\"python3\",\"-c\",\"\"\"\(sqlite.replacing("\"", with: "\\\""))\"\"\",\"../out/lock\"],capture_output=True).returncode)'"
      )
      #expect(held.output == "1\n", "\(held.error)")
    }
  }

  @Test("The way that was asked for is taken, or the result is not stored")
  func policies() throws {
    try withMount("-o", "no_passthrough") { place in
      let run = try place.acache("cat /etc/hostname", options: ["--outside", "view", "-v"])
      #expect(run.error.contains("not stored: what the command reads outside the mount cannot be seen"))
      #expect(try place.casherfs("status", place.work).output.contains("by strace, as there is no passthrough"))
      #expect(try place.acache("cat /etc/hostname", options: ["-v"]).error.contains("stored, took"))
    }
  }
}

/// The paths that a run observed outside the mount.
private struct Observed {
  var output: String
  var paths: Set<String>

  /// Whether the path, as it is followed from the root, ends at what is observed, or early at a name that is.
  func covers(_ path: String) -> Bool {
    if paths.contains(path) || paths.contains(path.real) { return true }
    var here = ""
    for name in path.split(separator: "/") {
      here = (here + "/" + name).real
      if paths.contains(here), !FileManager.default.fileExists(atPath: here) { return true }
    }
    return paths.contains(here)
  }

  /// Whether one of the paths passes through it, by its names or by those that symlinks in it lead to.
  func leadsThrough(_ path: String) -> Bool {
    paths.contains { other in
      var here = ""
      for name in other.split(separator: "/") {
        let next = here + "/" + name
        if next == path || next.real == path { return true }
        var link = next
        for _ in 0..<40 {
          guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: link) else { break }
          link = target.hasPrefix("/") ? target : (link as NSString).deletingLastPathComponent + "/" + target
          let plain = (link as NSString).standardizingPath
          if plain == path || plain.hasPrefix(path + "/") || link.real.hasPrefix(path + "/") || link.real == path {
            return true
          }
        }
        here = next.real
        if here == path || here.hasPrefix(path + "/") { return true }
      }
      return path == "/"
    }
  }
}

extension String {
  /// The path with symlinks resolved as far as it exists.
  fileprivate var real: String {
    if let resolved = realpath(self, nil) {
      defer { free(resolved) }
      return String(cString: resolved)
    }
    let parent = (self as NSString).deletingLastPathComponent
    if parent == self || parent.isEmpty { return self }
    return (parent.real as NSString).appendingPathComponent((self as NSString).lastPathComponent)
  }
}

private func observations(of script: String, by means: String, _ place: Place) throws -> Observed {
  try place.shell("rm -rf * ../out/new")
  let run = try place.acache(script, options: ["--outside", means, "--force", "-v"])
  try #require(run.error.contains("stored, took"), "\(means): \(run.error)")
  let record = try place.casherfs("show", "@", "--json", in: place.work).json(as: [String: Any].self)
  let inputs = record["inputs"] as? [[String: Any]] ?? []
  return Observed(
    output: run.output,
    paths: Set(inputs.compactMap { $0["path"] as? String }.filter { $0.hasPrefix("/") }))
}
