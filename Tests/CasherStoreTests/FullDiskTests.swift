import CasherStore
import CasherSystem
import Foundation
import Testing

@Suite struct FullDiskTests {
  @Test(arguments: [StoreOptions.JournalMode.wal, .delete])
  func `a full disk is told as such, spoils nothing, and eviction makes room`(mode: StoreOptions.JournalMode) throws {
    let place = try TemporaryStore()
    place.options.journalMode = mode
    let cache = place.base + "/cache"
    try FileManager.default.createDirectory(atPath: cache, withIntermediateDirectories: true)
    let mount = try Process.run(
      URL(fileURLWithPath: "/bin/mount"), arguments: ["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", cache])
    mount.waitUntilExit()
    try #require(mount.terminationStatus == 0)
    defer { umount2(cache, Int32(MNT_DETACH)) }
    let store = try place.open()
    defer { store.close() }
    var kept: [Digest: [UInt8]] = [:]
    var failures = 0
    for number in 0..<400 where failures < 20 {
      let content = noise(number % 3 == 0 ? 3000 : 30_000, seed: UInt64(number))
      do {
        let blob = try store.putBlob(content)
        try store.insert(makeRun("\(number)", blobs: [blob], used: Int64(number)), pathSetBody: [1])
        kept[blob] = content
      } catch {
        let code = error.code
        #expect(code == .noSpace || code == .missingBlob, "\(error)")
        failures += 1
      }
    }
    #expect(failures == 20)
    #expect(kept.count > 20)
    for (blob, content) in kept { #expect(try store.openBlob(blob).contents() == content) }
    let before = try store.statistics().storedBytes
    #expect(try store.evict(maxBytes: before / 2).storedBytes <= before / 2)
    #expect(try store.verify().problems == [])
    let content = noise(30_000, seed: 1000)
    let blob = try store.putBlob(content)
    try store.insert(makeRun("again", blobs: [blob]), pathSetBody: [1])
    #expect(try store.openBlob(blob).contents() == content)
  }
}
