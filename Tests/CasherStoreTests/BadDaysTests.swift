import CasherStore
import CasherSystem
import Foundation
import Testing

/// Whether the body fails with a store's error of this code, whose sentence is not empty.
func fails(_ code: StoreError.Code, _ body: () throws -> Void) -> Bool {
  do {
    try body()
    return false
  } catch {
    guard let error = error as? StoreError, error.code == code, !error.description.isEmpty else {
      Issue.record(error)
      return false
    }
    return true
  }
}

@Suite struct BadDaysTests {
  private let plain = noise(50_000)
  private let soft = noise(25_000).flatMap { [UInt8(97 + $0 >> 4), UInt8(97 + $0 & 15)] }

  /// A store with a blob of each form, named by the run `a`, and closed again.
  private func prepare() throws -> (TemporaryStore, plain: Digest, soft: Digest, small: Digest) {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    let blobs = [try store.putBlob(plain), try store.putBlob(soft), try store.putBlob(noise(100))]
    try store.insert(makeRun("a", blobs: blobs), pathSetBody: [1])
    return (place, blobs[0], blobs[1], blobs[2])
  }

  private func overwrite(_ path: String, _ change: (FileHandle) throws -> Void) throws {
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    let file = try #require(FileHandle(forUpdatingAtPath: path))
    try change(file)
    try file.close()
  }

  private func flip(_ file: FileHandle) throws {
    try file.seek(toOffset: 20_000)
    try file.write(contentsOf: Data([1, 2, 3, 4, 5, 6, 7, 8]))
  }

  @Test(arguments: [false, true])
  func `a blob whose bytes were changed is never given and is mended by putting it again`(isOpen: Bool) throws {
    let (place, blob, _, _) = try prepare()
    let early = isOpen ? try place.open() : nil
    defer { early?.close() }
    if let early { try early.openBlob(blob).close() }
    try overwrite(place.blobPath(blob), flip)
    let store = try early ?? place.open()
    #expect(try store.unusableBlobs(of: digest("run a")) == [blob])
    #expect(fails(.corruptBlob) { try store.openBlob(blob).close() })
    #expect(try !store.hasBlob(blob))
    #expect(try store.putBlob(plain) == blob)
    try store.flush()
    #expect(try store.openBlob(blob).contents() == plain)
    #expect(try store.unusableBlobs(of: digest("run a")) == [])
    #expect(try store.verify().problems == [])
    if early == nil { store.close() }
  }

  @Test func `a repair counts a blob once, although it stays pinned`() throws {
    let (place, blob, _, _) = try prepare()
    let store = try place.open()
    defer { store.close() }
    try store.pin(blobs: [blob], for: "mount")
    try overwrite(place.blobPath(blob), flip)
    #expect(try store.verify(repair: true).repaired > 0)
    let again = try store.verify(repair: true)
    #expect(again.problems == [.corruptBlob(blob)] && again.repaired == 0)
  }

  @Test func `a compressed blob whose bytes were changed is never given`() throws {
    let (place, _, soft, _) = try prepare()
    try overwrite(place.blobPath(soft, compressed: true)) {
      try $0.seek(toOffset: 60)
      try $0.write(contentsOf: Data([1, 2, 3, 4, 5, 6, 7, 8]))
    }
    let store = try place.open()
    defer { store.close() }
    #expect(fails(.corruptBlob) { try store.openBlob(soft).close() })
    #expect(try store.unusableBlobs(of: digest("run a")) == [soft])
    #expect(try store.putBlob(self.soft) == soft)
    #expect(try store.openBlob(soft).contents() == self.soft)
  }

  @Test func `an inflated copy whose bytes were changed is made again`() throws {
    let (place, _, soft, _) = try prepare()
    let store = try place.open()
    defer { store.close() }
    try store.openBlob(soft).close()
    let name = soft.hexadecimal
    let copy = "\(place.base)/cache/inflated/\(name.prefix(2))/\(name.dropFirst(2))"
    try overwrite(copy, flip)
    #expect(try store.openBlob(soft).contents() == self.soft)
    try FileManager.default.removeItem(atPath: copy)
    #expect(try store.openBlob(soft).contents() == self.soft)
  }

  @Test func `a blob in the database whose bytes were changed is never given`() throws {
    let (place, _, _, small) = try prepare()
    _ = try place.sql("UPDATE blobs SET data = randomblob(100) WHERE form = 0")
    let store = try place.open()
    defer { store.close() }
    #expect(fails(.corruptBlob) { try store.openBlob(small).close() })
    #expect(fails(.corruptBlob) { _ = try store.blobBytes(small) })
    #expect(try store.unusableBlobs(of: digest("run a")) == [small])
    #expect(try store.putBlob(noise(100)) == small)
    try store.flush()
    #expect(try store.blobBytes(small) == noise(100))
  }

  @Test func `a truncated and a missing blob are told as such`() throws {
    let (place, plain, soft, _) = try prepare()
    try overwrite(place.blobPath(plain)) { try $0.truncate(atOffset: 100) }
    try FileManager.default.removeItem(atPath: place.blobPath(soft, compressed: true))
    let store = try place.open()
    defer { store.close() }
    #expect(fails(.truncatedBlob) { try store.openBlob(plain).close() })
    #expect(fails(.missingBlob) { try store.openBlob(soft).close() })
    #expect(Set(try store.unusableBlobs(of: digest("run a"))) == [plain, soft])
  }

  @Test func `a blob that was only touched is digested and then used`() throws {
    let (place, plain, _, _) = try prepare()
    try FileManager.default.setAttributes([.modificationDate: Date()], ofItemAtPath: place.blobPath(plain))
    let store = try place.open()
    defer { store.close() }
    #expect(try store.unusableBlobs(of: digest("run a")) == [])
    #expect(try store.openBlob(plain).contents() == self.plain)
  }

  @Test func `what was not synced before the machine went down is digested before it is used`() throws {
    let (place, plain, _, _) = try prepare()
    _ = try place.sql("UPDATE blobs SET boot = 1 WHERE boot IS NOT NULL")
    // What a crash leaves of a file whose size was written and whose content was not: nothing in its times tells.
    let path = place.blobPath(plain)
    try overwrite(path) { try $0.write(contentsOf: Data(count: 50_000)) }
    let status = try FileDescriptor.workingDirectory.status(of: FilePath(path))
    _ = try place.sql(
      "UPDATE blobs SET modified = \(status.modified), changed = \(status.changed) WHERE form = 1")
    let store = try place.open()
    defer { store.close() }
    #expect(fails(.corruptBlob) { try store.openBlob(plain).close() })
  }

  @Test func `syncing makes blobs believed after a restart`() throws {
    let (place, _, _, _) = try prepare()
    #expect(try place.sql("SELECT count(*) FROM blobs WHERE boot IS NOT NULL") == "2")
    let store = try place.open()
    try store.synchronize()
    store.close()
    #expect(try place.sql("SELECT count(*) FROM blobs WHERE boot IS NOT NULL") == "0")
  }

  @Test func `verify finds every kind of damage and repair drops it`() throws {
    let (place, plain, soft, small) = try prepare()
    let store = try place.open()
    let other = try store.putBlob(noise(70_000))
    try store.insert(makeRun("b", pathSet: "other paths", strong: "b", blobs: [other]), pathSetBody: [2])
    let third = try store.putBlob(noise(80_000))
    try store.insert(makeRun("c", blobs: [third]), pathSetBody: [1])
    try store.insert(makeRun("d"), pathSetBody: [1])
    try store.insert(makeRun("e", weak: "e", pathSet: "e"), pathSetBody: [3])
    store.close()
    try overwrite(place.blobPath(plain), flip)
    try overwrite(place.blobPath(third)) { try $0.truncate(atOffset: 100) }
    try FileManager.default.removeItem(atPath: place.blobPath(other))
    _ = try place.sql("UPDATE blobs SET data = x'00' WHERE form = 0")
    _ = try place.sql(
      "UPDATE bodies SET body = x'01' WHERE run = (SELECT seq FROM runs WHERE strong = x'\(digest("d").hexadecimal)')")
    _ = try place.sql("UPDATE path_sets SET body = x'01' WHERE digest = x'\(digest("e").hexadecimal)'")
    _ = try place.sql("UPDATE blobs SET refs = 7 WHERE digest = x'\(soft.hexadecimal)'")
    let orphan = place.base + "/cache/blobs/aa/bb"
    try FileManager.default.createDirectory(atPath: place.base + "/cache/blobs/aa", withIntermediateDirectories: true)
    _ = FileManager.default.createFile(atPath: orphan, contents: Data())
    let again = try place.open()
    defer { again.close() }
    let found = Set(try again.verify().problems)
    #expect(
      found.isSuperset(of: [
        .corruptBlob(plain), .truncatedBlob(third), .missingBlob(other), .corruptBlob(small),
        .brokenRun(digest("run d")),
        .damagedPathSet(digest("e")), .miscount("the number of names of a blob"),
      ]), "\(found)")
    #expect(!(try again.verify(repair: true).isSound))
    #expect(try again.verify().problems == [])
    #expect(try again.statistics().entries == 0)
    #expect(FileManager.default.fileExists(atPath: orphan), "a young file may be on its way to a row")
  }

  @Test func `blobs that a lost database leaves behind are kept by repair, and wrong or second ones are not`() throws {
    let (place, plain, soft, _) = try prepare()
    for suffix in ["", "-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: place.base + "/cache/casher.sqlite" + suffix)
    }
    let wrong = digest("wrong")
    try FileManager.default.createDirectory(
      atPath: (place.blobPath(wrong) as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    for path in [place.blobPath(wrong), place.blobPath(soft)] {
      _ = FileManager.default.createFile(atPath: path, contents: Data([1]))
    }
    let store = try place.open()
    defer { store.close() }
    let report = try store.verify(repair: true, orphanAge: 0)
    #expect(report.repaired > 0 && report.repaired == Int64(report.problems.count))
    #expect(try store.openBlob(plain).contents() == self.plain)
    #expect(try store.openBlob(soft).contents() == self.soft)
    #expect(try store.verify(orphanAge: 0).problems == [])
    for path in [place.blobPath(wrong), place.blobPath(soft)] {
      #expect(!FileManager.default.fileExists(atPath: path))
    }
  }

  @Test func `an open store goes on with the database that repair has begun anew`() throws {
    let (place, plain, _, _) = try prepare()
    let store = try place.open()
    defer { store.close() }
    try overwrite(place.base + "/cache/casher.sqlite") { try $0.write(contentsOf: Data(repeating: 7, count: 50_000)) }
    for suffix in ["-wal", "-shm"] {
      try? FileManager.default.removeItem(atPath: place.base + "/cache/casher.sqlite" + suffix)
    }
    #expect(fails(.corruptDatabase) { _ = try store.openBlob(plain) })
    #expect(try Store.verify(at: place.path, repair: true).repaired > 0)
    #expect(try store.openBlob(plain).contents() == self.plain)
    let other = try store.putBlob(noise(60_000, seed: 9))
    try store.insert(makeRun("b", blobs: [other]), pathSetBody: [1])
    let another = try place.open()
    defer { another.close() }
    #expect(try another.statistics().entries == 1)
    #expect(try another.openBlob(other).contents() == noise(60_000, seed: 9))
  }

  @Test func `a newer format is refused and says so`() throws {
    let (place, _, _, _) = try prepare()
    _ = try place.sql("PRAGMA user_version=1000")
    #expect(fails(.newerFormat) { try place.open().close() })
  }

  @Test func `the database of another program is refused and left alone`() throws {
    let place = try TemporaryStore()
    try FileManager.default.createDirectory(atPath: place.base + "/cache", withIntermediateDirectories: true)
    _ = try place.sql("CREATE TABLE theirs(x)")
    #expect(fails(.foreignFile) { try place.open().close() })
    #expect(try place.sql("SELECT name FROM sqlite_schema") == "theirs")
  }

  @Test func `a damaged database is refused, and repaired by beginning anew with the blobs that are right`() throws {
    let (place, plain, soft, _) = try prepare()
    try overwrite(place.base + "/cache/casher.sqlite") { try $0.write(contentsOf: Data(repeating: 7, count: 50_000)) }
    #expect(fails(.corruptDatabase) { try place.open().close() })
    #expect(try !Store.verify(at: place.path, repair: false).isSound)
    #expect(try Store.verify(at: place.path, repair: true).repaired > 0)
    #expect(try Store.verify(at: place.path, repair: false).problems == [])
    let store = try place.open()
    defer { store.close() }
    #expect(try store.openBlob(plain).contents() == self.plain)
    #expect(try store.openBlob(soft).contents() == self.soft)
    #expect(try store.statistics().entries == 0)
  }

  @Test func `pages damaged in the middle of the database are found by verify and repaired`() throws {
    let (place, plain, _, _) = try prepare()
    let path = place.base + "/cache/casher.sqlite"
    let pages = Int(try place.sql("PRAGMA page_count")) ?? 0
    try overwrite(path) { file in
      for page in 4..<pages {
        try file.seek(toOffset: UInt64(page * 4096))
        try file.write(contentsOf: Data(repeating: 0xa5, count: 4096))
      }
    }
    #expect(try !Store.verify(at: place.path, repair: false).isSound)
    _ = try Store.verify(at: place.path, repair: true)
    let store = try place.open()
    defer { store.close() }
    #expect(try store.openBlob(plain).contents() == self.plain)
  }

  @Test func `a directory of another user is refused`() throws {
    let place = try TemporaryStore()
    try FileManager.default.createDirectory(atPath: place.base + "/cache", withIntermediateDirectories: true)
    try #require(getuid() == 0)
    #expect(chown(place.base + "/cache", 65534, 65534) == 0)
    #expect(fails(.notOwned) { try place.open().close() })
  }

  @Test func `a directory that may not be written is refused to an ordinary user`() throws {
    let place = try TemporaryStore()
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: place.base)
    let outcome = try Helper.run(["open", place.base + "/cache"], user: 65534)
    #expect(outcome.output.hasPrefix("permission: "), "\(outcome.output)")
  }

  @Test func `a read-only filesystem is refused, and its store can still be read`() throws {
    let (place, plain, soft, small) = try prepare()
    let cache = place.base + "/cache"
    func mount(_ arguments: String...) throws -> Int32 {
      let process = try Process.run(URL(fileURLWithPath: "/bin/mount"), arguments: arguments)
      process.waitUntilExit()
      return process.terminationStatus
    }
    #expect(try mount("--bind", cache, cache) == 0)
    defer { umount(cache) }
    #expect(try mount("-o", "remount,bind,ro", cache) == 0)
    #expect(fails(.readOnly) { try place.open().close() })
    place.options.isReadOnly = true
    let store = try place.open()
    defer { store.close() }
    #expect(try store.run(digest("run a")) != nil)
    #expect(try store.openBlob(plain).contents() == self.plain)
    #expect(try store.openBlob(soft).contents() == self.soft)
    #expect(try store.openBlob(small).contents() == noise(100))
    #expect(fails(.readOnly) { _ = try store.putBlob([1]) })
    store.count(.miss())
    store.touch(digest("run a"))
    try store.flush()
  }

  @Test func `a file in place of the directory, and a relative path, are refused`() throws {
    let place = try TemporaryStore()
    _ = FileManager.default.createFile(atPath: place.base + "/cache", contents: Data())
    #expect(fails(.notDirectory) { try place.open().close() })
    #expect(fails(.invalidSetting) { try Store.open(at: "cache").close() })
  }

  @Test func `the directory is closed to others, and a shared one keeps its mode`() throws {
    let place = try TemporaryStore()
    try place.open().close()
    func mode(_ name: String) throws -> UInt32 {
      try FileDescriptor.workingDirectory.status(of: place.file(name)).permissions
    }
    #expect(try mode("cache") == 0o700)
    #expect(try mode("cache/blobs") == 0o700)
    #expect(try mode("cache/casher.sqlite") == 0o600)
    let shared = place.base + "/shared"
    try FileManager.default.createDirectory(atPath: shared, withIntermediateDirectories: true)
    _ = FileManager.default.createFile(atPath: shared + "/other", contents: Data())
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: shared)
    try Store.open(at: FilePath(shared)).close()
    #expect(try mode("shared") == 0o755)
    #expect(try mode("shared/blobs") == 0o700)
  }

  @Test func `a store whose directory has gone fails with a sentence and not otherwise`() throws {
    let (place, plain, _, _) = try prepare()
    let store = try place.open()
    try FileManager.default.removeItem(atPath: place.base + "/cache")
    #expect(fails(.vanished) { _ = try store.putBlob(noise(9000, seed: 7)) })
    #expect(fails(.vanished) { try store.openBlob(plain).close() })
    store.close()
  }

  @Test func `other journal modes work`() throws {
    for mode in StoreOptions.JournalMode.allCases {
      let place = try TemporaryStore()
      place.options.journalMode = mode
      place.options.durability = .full
      let store = try place.open()
      let blob = try store.putBlob(plain)
      try store.insert(makeRun("a", blobs: [blob]), pathSetBody: [])
      #expect(try store.openBlob(blob).contents() == plain)
      store.close()
      #expect(try place.sql("PRAGMA journal_mode") == (mode == .wal ? "wal" : "delete"))
      try expectSound(place, mode.rawValue)
    }
  }
}
