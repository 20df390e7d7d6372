import CasherStore
import CasherSystem
import Foundation
import Testing

@Suite struct BlobTests {
  @Test(arguments: [0, 1, 4095, 4096, 4097, 65536, 262_144, 262_145, 10_000_000])
  func `content of every size comes back as it was put`(size: Int) throws {
    let place = try TemporaryStore()
    let contents = [noise(size), text(size), [UInt8](repeating: 0, count: size)]
    var digests: [Digest] = []
    do {
      let store = try place.open()
      for (index, content) in contents.enumerated() {
        let file = try place.make("source", content)
        defer { file.close() }
        let (fromFile, count) = try store.putBlob(from: file)
        let fromMemory = try store.putBlob(content)
        #expect(fromFile == fromMemory)
        #expect(fromFile == SHA256.digest(of: content))
        #expect(count == Int64(size))
        if index % 2 == 0 { #expect(try store.openBlob(fromFile).contents() == content) }
        #expect(try store.blobBytes(fromFile) == content)
        digests.append(fromFile)
      }
      store.close()
    }
    let store = try place.open()
    defer { store.close() }
    for (digest, content) in zip(digests, contents) {
      #expect(try store.hasBlob(digest))
      #expect(try store.blobSize(digest) == Int64(size))
      #expect(try store.openBlob(digest).contents() == content)
      #expect(try store.openBlob(digest).contents() == content)
      #expect(try store.blobBytes(digest) == content)
    }
    #expect(try store.verify().problems == [])
  }

  @Test func `a file of a gigabyte of nothing takes no space and comes back`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    let source = try place.make("sparse")
    defer { source.close() }
    try source.seek(to: 500 << 20)
    try source.writeAll(noise(5000))
    try source.truncate(to: 1 << 30)
    let (digest, size) = try store.putBlob(from: source)
    #expect(size == 1 << 30)
    try store.flush()
    let file = try store.openBlob(digest)
    defer { file.close() }
    let status = try file.status()
    #expect(status.size == 1 << 30)
    #expect(status.raw.st_blocks < 1000)
    #expect(try SHA256.digest(of: file).digest == digest)
  }

  @Test func `what compresses is kept compressed and what does not is kept as it is`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    let soft = try store.putBlob(text(1_000_000))
    let hard = try store.putBlob(noise(1_000_000))
    try store.flush()
    #expect(FileManager.default.fileExists(atPath: place.blobPath(soft, compressed: true)))
    #expect(FileManager.default.fileExists(atPath: place.blobPath(hard)))
    let statistics = try store.statistics()
    #expect(statistics.logicalBytes == 2_000_000)
    #expect(statistics.storedBytes < 1_100_000)
    try store.openBlob(soft).close()
    #expect(try store.statistics().inflatedBytes == 1_000_000)
  }

  @Test func `the same content is kept once`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    for _ in 0..<3 {
      _ = try store.putBlob(noise(100_000))
      try store.flush()
    }
    #expect(try store.statistics().blobs == 1)
    #expect(try FileManager.default.subpathsOfDirectory(atPath: place.base + "/cache/tmp").count == 1)
  }

  @Test func `the position of the source is neither used nor moved`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    let content = noise(300_000)
    let source = try place.make("source", content)
    defer { source.close() }
    try source.seek(to: 17)
    #expect(try store.putBlob(from: source).digest == SHA256.digest(of: content))
    #expect(try source.seek(to: 0, from: SEEK_CUR) == 17)
  }

  @Test func `a blob stays readable for who has it open when it is evicted`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    let content = noise(100_000)
    let blob = try store.putBlob(content)
    try store.insert(makeRun("a", blobs: [blob]), pathSetBody: [])
    let file = try store.openBlob(blob)
    #expect(try store.evict(maxBytes: 0).runs.count == 1)
    #expect(try !store.hasBlob(blob))
    #expect(try file.contents() == content)
  }

  @Test func `more than the limit is refused`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    let blob = try store.putBlob(noise(100_000))
    try store.flush()
    #expect { try store.blobBytes(blob, limit: 99_999) } throws: { ($0 as? StoreError)?.code == .tooLarge }
  }

  @Test func `an unknown digest is a missing blob`() throws {
    let place = try TemporaryStore()
    let store = try place.open()
    defer { store.close() }
    #expect(try !store.hasBlob(digest("nothing")))
    #expect { try store.openBlob(digest("nothing")) } throws: { ($0 as? StoreError)?.code == .missingBlob }
  }
}
