import CasherStore
import CasherSystem
import Foundation
import Testing

@Suite struct DigestCacheTests {
  @Test func `a file's digest is known again in the same state alone, also by another process`() throws {
    let place = try TemporaryStore()
    let file = try place.make("file", [1, 2, 3])
    defer { file.close() }
    let status = try file.status()
    let store = try place.open()
    #expect(store.cachedDigest(status) == nil)
    store.rememberDigest(digest("content"), of: status)
    #expect(store.cachedDigest(status) == digest("content"))
    store.close()
    let again = try place.open()
    defer { again.close() }
    #expect(again.cachedDigest(status) == digest("content"))
    try file.writeAll([4])
    let changed = try file.status()
    #expect(again.cachedDigest(changed) == nil)
    again.rememberDigest(digest("new"), of: changed)
    #expect(again.cachedDigest(changed) == digest("new"))
    try again.flush()
    #expect(again.cachedDigest(status) == nil)
  }

  @Test func `a change of any of the times or the size counts`() throws {
    let place = try TemporaryStore()
    let file = try place.make("file", [1])
    defer { file.close() }
    let store = try place.open()
    defer { store.close() }
    let status = try file.status()
    store.rememberDigest(digest("content"), of: status)
    for change: (inout stat) -> Void in [
      { $0.st_size += 1 }, { $0.st_mtim.tv_nsec += 1 }, { $0.st_ctim.tv_nsec += 1 }, { $0.st_ino += 1 },
      { $0.st_dev += 1 },
    ] {
      var raw = status.raw
      change(&raw)
      #expect(store.cachedDigest(FileStatus(raw: raw)) == nil)
    }
  }

  @Test func `more files than memory holds are known all the same`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    var raw = stat()
    for number in 1...250_000 {
      raw.st_ino = UInt(number)
      store.rememberDigest(Digest(words: (UInt64(number), 0, 0, 0)), of: FileStatus(raw: raw))
    }
    try store.flush()
    for number in [1, 99_999, 100_001, 250_000] {
      raw.st_ino = UInt(number)
      #expect(store.cachedDigest(FileStatus(raw: raw)) == Digest(words: (UInt64(number), 0, 0, 0)))
    }
  }

  @Test func `what was of no use for long is dropped`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    var raw = stat()
    raw.st_ino = 1
    store.rememberDigest(digest("1"), of: FileStatus(raw: raw))
    store.close()
    _ = try place.sql("UPDATE digests SET day = 5")
    _ = try place.sql("DELETE FROM counters")
    let again = try place.open()
    raw.st_ino = 2
    again.rememberDigest(digest("2"), of: FileStatus(raw: raw))
    again.close()
    #expect(try place.sql("SELECT inode FROM digests") == "2")
  }
}

@Suite struct SettingsTests {
  @Test(arguments: [
    ("0", 0), ("1000", 1000), ("10G", 10 << 30), ("500M", 500 << 20), ("4GiB", 4 << 30), ("1.5k", 1536),
    ("2TB", 2 << 40),
    ("7b", 7),
  ])
  func `sizes are read as people write them`(text: String, bytes: Int64) {
    #expect(Quantity.bytes(text) == bytes)
  }

  @Test(arguments: ["", "G", "-1", "10X", "1e30", "99999999P", "nan", "1 G", "0x10", "1.2.3"])
  func `what is no size is refused`(text: String) {
    #expect(Quantity.bytes(text) == nil)
  }

  @Test func `the directory comes from the environment`() {
    func directory(_ environment: [String: FilePath]) -> FilePath? {
      Store.defaultDirectory { environment[$0] }
    }
    #expect(directory(["CASHER_CACHE_DIR": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"]) == "/c")
    #expect(directory(["CASHER_CACHE_DIR": "", "XDG_CACHE_HOME": "/x", "HOME": "/h"]) == "/x/casher")
    #expect(directory(["XDG_CACHE_HOME": "relative", "HOME": "/h"]) == "/h/.cache/casher")
    #expect(directory([:]) == nil)
  }

  @Test func `digests are those of the standard`() throws {
    #expect(
      SHA256.digest(of: Array("abc".utf8)).hexadecimal
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      SHA256.digest(of: []).hexadecimal == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    let place = try TemporaryStore()
    let content = noise(700_000)
    let file = try place.make("file", content)
    defer { file.close() }
    let part = try SHA256.digest(of: file, at: 1000, length: 600_000)
    #expect(part.digest == SHA256.digest(of: Array(content[1000..<601_000])))
    #expect(part.count == 600_000)
    #expect(try SHA256.digest(of: file, at: 690_000).count == 10_000)
    #expect(try SHA256.digest(of: file, at: 800_000).count == 0)
  }
}
