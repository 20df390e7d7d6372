import CasherSystem
import Foundation
import Testing

@testable import CasherOverlay

/// The machine stops after files have become ordinary and before lower has synced them: it may have lost their content,
/// but neither their names nor their times.
@Suite(.serialized) struct PowerLossTests {
  /// Files `a` and `b` have become ordinary; `body` is given lower. Then the directory is recovered, in another boot of
  /// the machine when `stopped`.
  private func recovered(
    stopped: Bool, _ body: (_ lower: String) throws -> Void
  ) throws -> (files: [String: String], recovery: Recovery) {
    let first = try PlacedMount()
    try first.place([("a", "content of a", 0o644), ("b", "content of b", 0o644)])
    #expect(first.overlay.materialiseAll().isEmpty)
    first.end(keeping: true)
    if stopped { try moveBoot(first.base + "/journal") }
    try body(first.directory)
    let second = try PlacedMount(base: first.base, mounts: false)
    defer { second.end() }
    let recovery = second.overlay.recover()
    #expect(second.overlay.materialiseAll().isEmpty)
    second.overlay.forgetOrdinary()
    let names = try FileManager.default.contentsOfDirectory(atPath: first.directory)
    let files = try names.map { ($0, try String(contentsOfFile: first.directory + "/" + $0, encoding: .utf8)) }
    return (Dictionary(uniqueKeysWithValues: files), recovery)
  }

  private func moveBoot(_ path: String) throws {
    let (journal, content) = try PlacementJournal.open(at: FilePath(path), copy: nil, isSynchronous: false)
    var entries = content.entries
    #expect(entries.count == 2)
    for index in entries.indices { entries[index].ordinary?.boot ^= 1 }
    try journal.replace(with: entries)
  }

  private let whole = ["a": "content of a", "b": "content of b"]

  @Test func `what lower has lost of their content is written again`() throws {
    for rest in ["", "content", String(repeating: "\0", count: 12)] {
      let (files, recovery) = try recovered(stopped: true) { lower in
        #expect(truncate(lower + "/a", 0) == 0)
        let file = try #require(FileHandle(forWritingAtPath: lower + "/a"))
        try file.write(contentsOf: Data(rest.utf8))
        try file.close()
        let time = timespec(tv_sec: 1_000_000_000, tv_nsec: 0)
        utimensat(AT_FDCWD, lower + "/a", [time, time], 0)
      }
      #expect(files == whole)
      #expect(recovery.files == 1 && recovery.lost.isEmpty)
    }
  }

  @Test func `a name that lower has lost is there again`() throws {
    let (files, recovery) = try recovered(stopped: true) { lower in #expect(unlink(lower + "/b") == 0) }
    #expect(files == whole)
    #expect(recovery.files == 1)
  }

  @Test func `what someone wrote since is kept`() throws {
    let (files, _) = try recovered(stopped: true) { lower in
      try Data("written since".utf8).write(to: URL(fileURLWithPath: lower + "/a"))
    }
    #expect(files == ["a": "written since", "b": "content of b"])
  }

  @Test func `when only the daemon has ended, lower is right in any case`() throws {
    let (files, recovery) = try recovered(stopped: false) { lower in
      #expect(truncate(lower + "/a", 3) == 0)
      #expect(unlink(lower + "/b") == 0)
    }
    #expect(files == ["a": "con"])
    #expect(recovery.files == 0 && recovery.lost.isEmpty)
  }
}
