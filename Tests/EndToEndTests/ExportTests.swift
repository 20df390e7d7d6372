import Foundation
import Testing

@Suite("Runs that go from one cache to another")
struct ExportTests {
  private let script = "cat in > out; mkdir -p d; seq 200000 > d/large; ln -sf out link; echo printed; echo wrong >&2"

  /// A recorded run, and an archive of all that is stored.
  private func archive(_ place: Place, tagged: Bool = false) throws -> String {
    try place.write("1\n", to: "in")
    try place.acache(script, options: tagged ? ["--tag", "stage=one"] : [])
    let path = place.base + "/runs.tar.zst"
    let outcome = try place.casherfs("export", path)
    #expect(outcome.status == 0, "\(outcome.error)")
    return path
  }

  private func left(_ place: Place) throws -> Int { try place.casherfs("log", "--json").json(as: [Any].self).count }

  @Test("An imported run is a hit, with files, streams, tags and times as they were")
  func roundTrip() throws {
    try withMount { place throws in
      let path = try archive(place, tagged: true)
      let before = try place.casherfs("show", "@", "--json").output
      #expect(
        try place.shell("zstd -dc runs.tar.zst | tar -t", in: place.base).output.hasPrefix("casher-export\nblobs/"))
      _ = try place.casherfs("clear", "--yes")
      try place.shell("rm -r out d link")
      let report = try place.casherfs("import", path, "--json")
      #expect(report.status == 0, "\(report.error)")
      #expect(try (report.json(as: [String: Any].self)["runs"] as? [Any])?.count == 1)
      let counts = try place.counts()
      let outcome = try place.acache(script)
      #expect(outcome.output == "printed\n" && outcome.error == "wrong\n")
      #expect(try place.counts() == Counts(hits: counts.hits + 1, misses: counts.misses))
      #expect(try place.shell("cat out; tail -n 1 d/large; readlink link").output == "1\n200000\nout\n")
      // All but when it was last used, and how often.
      func stable(_ text: String) -> [Substring] {
        text.split(separator: "\n").filter { line in
          !["last_used", "hits", "saved_seconds"].contains { line.contains("\"\($0)\"") }
        }
      }
      #expect(stable(try place.casherfs("show", "@", "--json").output) == stable(before))
      #expect(try place.casherfs("import", path).output.contains("1 run were there already"))
      #expect(try place.casherfs("verify", "--store").status == 0)
    }
  }

  @Test("Runs are chosen, and go through a pipe")
  func pipe() throws {
    try withMount { place throws in
      _ = try archive(place, tagged: true)
      try place.acache("echo other")
      let into = "casherfs export - --tag stage=one | CASHER_CACHE_DIR='\(place.base)/second' casherfs import -"
      #expect(try place.shell(into).output.hasPrefix("imported 1 run"))
      #expect(try place.casherfs("export", place.base + "/one", "@").output.hasPrefix("exported 1 run"))
      #expect(try place.casherfs("export", place.base + "/one", "abcdef0123").status == 12)
      #expect(try place.casherfs("export", "/no/such/place", "@").status == 1)
    }
  }

  @Test("Archives that were changed are refused or taken in part, and what was left out is named")
  func damage() throws {
    try withMount { place throws in
      let path = try archive(place)
      _ = try place.casherfs("clear", "--yes")
      func imports(_ name: String) throws -> Outcome { try place.casherfs("import", place.base + "/" + name) }
      #expect(try imports("no-such-file").status == 3)
      try place.shell("echo nonsense > text; tar -cf - in | zstd -q > other.tar.zst; : > empty", in: place.base)
      for name in ["text", "empty", "other.tar.zst"] {
        let outcome = try imports(name)
        #expect(outcome.status == 22)
        #expect(outcome.error.split(separator: "\n").count == 1)
        #expect(outcome.output.isEmpty)
      }
      let data = try Data(contentsOf: URL(fileURLWithPath: path))
      for length in [100, data.count / 2, data.count - 1] {
        try data.prefix(length).write(to: URL(fileURLWithPath: place.base + "/short"))
        #expect(try imports("short").status == 22)
      }
      for index in stride(from: 50, to: data.count, by: max(1, data.count / 20)) {
        var flipped = data
        flipped[flipped.startIndex + index] ^= 0x40
        try flipped.write(to: URL(fileURLWithPath: place.base + "/flipped"))
        #expect(try imports("flipped").status != 0)
      }
      // What was taken in part above is kept for a while, for whoever tries again.
      place.environment["CASHER_CACHE_DIR"] = place.base + "/other cache"

      // Another content under a digest's name, a path that climbs, and something that is no part of an export.
      try place.shell(
        """
        mkdir x; zstd -dc runs.tar.zst | tar -x -C x; cd x
        blob=$(ls -S blobs | head -n 1); echo 1 >> blobs/$blob
        mkdir -p ../up; echo up > ../up/climbed; ln -s /etc/passwd runs/link
        tar -P -cf - casher-export blobs runs ../up/climbed | zstd -q > ../forged
        """, in: place.base)
      let forged = try imports("forged")
      #expect(forged.status == 1)
      #expect(forged.error.contains("its content has another digest"))
      #expect(forged.error.contains("runs/link was left out: it is no regular file"))
      #expect(forged.error.contains("../up/climbed was left out: an export has no such entry"))
      #expect(forged.error.contains("is missing"), "\(forged.error)")
      #expect(try left(place) == 0)
      #expect(try place.casherfs("verify", "--store").status == 0)
    }
  }

  @Test("A run that reaches out of the mount needs --trust")
  func trust() throws {
    try withMount { place throws in
      try place.acache("echo out > ../outside; echo in > inside")
      let path = place.base + "/runs.tar.zst"
      #expect(try place.casherfs("export", path).status == 0)
      _ = try place.casherfs("clear", "--yes")
      let refused = try place.casherfs("import", path)
      #expect(refused.status == 1)
      #expect(refused.error.contains("it writes \(place.base)/outside, outside the mount"))
      #expect(try left(place) == 0)
      #expect(try place.casherfs("import", "--trust", path).status == 0)
      #expect(try left(place) == 1)
    }
  }

  @Test("An archive larger than the cache may hold is refused")
  func tooLarge() throws {
    try withMount { place throws in
      let path = try archive(place)
      _ = try place.casherfs("clear", "--yes")
      place.environment["CASHER_MAX_CACHE_BYTES"] = "100K"
      let outcome = try place.casherfs("import", path)
      #expect(outcome.status == 1)
      #expect(outcome.error.contains("more than the cache may hold (100 KiB)"))
    }
  }
}
