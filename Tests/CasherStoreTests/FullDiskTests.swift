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

  /// Runs it as root with the programs of administrators; whether it succeeded.
  private static func shell(_ script: String) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", "PATH=$PATH:/usr/sbin:/sbin; \(script) >/dev/null 2>&1"]
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }

  @Test(.enabled(if: FullDiskTests.shell("command -v mkfs.btrfs && grep btrfs /proc/filesystems")))
  func `a full filesystem that writes to a new place each time ends no process, and content is still read`() throws {
    let place = try TemporaryStore()
    let (image, cache) = (place.base + "/image", place.base + "/cache")
    try FileManager.default.createDirectory(atPath: cache, withIntermediateDirectories: true)
    // mkfs.btrfs(8) gives up at a dead mount, which other tests leave for a moment.
    let make = "unshare -m sh -c 'umount -l -a -t fuse.casherfs; mkfs.btrfs -q \(image)'"
    try #require(FullDiskTests.shell("truncate -s 120m \(image) && \(make) && mount -o loop \(image) \(cache)"))
    defer { _ = FullDiskTests.shell("umount -l \(cache)") }
    chmod(cache, 0o700)
    let store = try place.open()
    defer { store.close() }
    var kept: [Digest: [UInt8]] = [:]
    for number in 0..<20 {
      let content = noise(number % 2 == 0 ? 3000 : 30_000, seed: UInt64(number))
      kept[try store.putBlob(content)] = content
      try store.insert(
        makeRun("\(number)", blobs: [SHA256.digest(of: content)], used: Int64(number)), pathSetBody: [1])
    }
    let filling = "for size in 1M 4k 4k; do dd if=/dev/urandom of=\(cache)/fill.$size bs=$size; sync; done"
    _ = FullDiskTests.shell("sync; \(filling)")
    // What is written back is clean again, and the next store into it needs space.
    for number in 0..<20 {
      sync()
      _ = try? store.insert(makeRun("more \(number)", blobs: [], used: 1), pathSetBody: [UInt8(number)])
      for (blob, content) in kept { #expect(try store.openBlob(blob).contents() == content) }
    }
  }
}
