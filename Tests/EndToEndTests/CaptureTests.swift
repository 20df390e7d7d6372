import Foundation
import Testing

/// Outputs large enough that acache returns before they are in the store.
@Suite("Results that are stored behind acache")
struct CaptureTests {
  private let make = "acache -- sh -c 'head -c 20000000 /dev/zero | tr \"\\0\" x > big; echo more >> big'"
  private let size = "20000005\n"

  @Test("A second identical call that comes at once is a hit")
  func second() throws {
    try withMount { place throws in
      let outcome = try place.shell("\(make); \(make); stat -c %s big")
      #expect(outcome == Outcome(status: 0, output: size, error: ""))
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("Whoever changes an output right after waits, and the result is what the command left")
  func writers() throws {
    let changes = [
      "echo other > big", "echo other >> big", "truncate -s 3 big", "chmod 600 big", "touch -d @1 big", "mv big away",
      "rm big", "ln big name", "echo other > o; mv o big", "rm big; echo other > big", "setfattr -n user.a -v b big",
    ]
    for change in changes {
      try withMount { place throws in
        try place.shell("\(make); \(change)")
        let outcome = try place.shell("rm -f big; \(make); stat -c '%s %a' big; tail -c 6 big")
        #expect(outcome == Outcome(status: 0, output: size.dropLast() + " 644\nxmore\n", error: ""), "\(change)")
        #expect(try place.counts() == Counts(hits: 1, misses: 1), "\(change)")
      }
    }
  }

  @Test("A directory that is renamed right after waits for what was made in it")
  func renamedDirectory() throws {
    try withMount { place throws in
      let script = "acache -- sh -c 'mkdir -p d/e; head -c 20000000 /dev/zero > d/e/big'"
      try place.shell("\(script); mv d other; rm -r other; \(script)")
      #expect(try place.shell("stat -c %s d/e/big").output == "20000000\n")
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("An input that is changed right after counts as it was")
  func inputs() throws {
    try withMount { place throws in
      try place.shell("head -c 20000000 /dev/zero > in")
      let script = "acache -- sh -c 'tail -c 1 in | od -c'"
      let zero = try place.shell("\(script); echo x > in").output
      let other = try place.shell(script).output
      #expect(zero != other)
      #expect(try place.shell("head -c 20000000 /dev/zero > in; \(script)").output == zero)
      #expect(try place.shell("echo x > in; \(script)").output == other)
      #expect(try place.counts() == Counts(hits: 2, misses: 2))
    }
  }

  @Test("Unmounting waits until everything is stored", arguments: ["casherfs unmount", "umount", "fusermount3 -u"])
  func unmounting(command: String) throws {
    try withMount { place throws in
      let state = try #require(try place.casherfs("status", "--json", place.work).json(as: [[String: Any]].self).first)
      let daemon = try #require(state["process"] as? Int)
      let end = "timeout 100 tail --pid=\(daemon) -f /dev/null"
      let unmounted = try place.shell("\(make); cd /; \(command) \"$OLDPWD\"; \(end)")
      #expect(unmounted.status == 0 && unmounted.error == "", "\(unmounted.error)")
      #expect(try place.casherfs("mount", place.work).status == 0)
      #expect(try place.shell("rm -f big; \(make); stat -c %s big").output == size)
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("What a command prints in quantity is stored behind acache; the next call waits for it, and is a hit")
  func transcript() throws {
    try withMount { place throws in
      let print = "acache -- sh -c 'head -c 20000000 /dev/zero | tr \"\\0\" y; echo end >&2'"
      let outcome = try place.shell(
        "\(print) | cksum; \(print) | cksum; head -c 20000000 /dev/zero | tr '\\0' y | cksum")
      let sums = Set(outcome.output.split(separator: "\n"))
      #expect(sums.count == 1 && outcome.error == "end\nend\n", "\(outcome)")
      #expect(try place.counts() == Counts(hits: 1, misses: 1))
    }
  }

  @Test("With --sync the result is stored when acache returns")
  func synchronous() throws {
    try withMount { place throws in
      let status = try place.shell(make.replacing("acache", with: "acache --sync") + "; casherfs status --json .")
      #expect(try status.json(as: [[String: Any]].self).first?["capturing"] as? Int == 0)
    }
  }
}
