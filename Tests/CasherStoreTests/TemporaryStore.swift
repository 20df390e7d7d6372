import CasherStore
import CasherSystem
import Foundation
import Testing

/// A store in a directory of its own, removed at the end of the test.
final class TemporaryStore {
  let base: String
  var path: FilePath { FilePath(base + "/cache") }
  var options = StoreOptions()

  /// In memory where there is a directory for it and the test is not about a disk's filesystem: syncing costs nothing
  /// there.
  init(inMemory: Bool = false) throws {
    let memory = inMemory && FileManager.default.isWritableFile(atPath: "/dev/shm")
    let parent = memory ? "/dev/shm" : FileManager.default.temporaryDirectory.path
    base = parent + "/casher-store-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: base, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: base) }

  func open() throws -> Store { try Store.open(at: path, options: options) }

  func file(_ name: String) -> FilePath { FilePath(base + "/" + name) }

  /// Creates a file and gives it open for reading and writing.
  func make(_ name: String, _ bytes: [UInt8] = []) throws -> FileDescriptor {
    let file = try FileDescriptor.open(file(name), O_RDWR | O_CREAT | O_TRUNC, mode: 0o600)
    try file.writeAll(bytes)
    return file
  }

  /// Where the store keeps the blob's file.
  func blobPath(_ digest: Digest, compressed: Bool = false) -> String {
    let name = digest.hexadecimal
    return "\(base)/cache/blobs/\(name.prefix(2))/\(name.dropFirst(2))\(compressed ? ".zst" : "")"
  }

  /// Runs SQL on the database from outside, as another program would.
  func sql(_ text: String) throws -> String {
    let database = try Database3(base + "/cache/casher.sqlite")
    return try database.run(text)
  }

  /// The processor time of a walk through all the runs.
  func timeOfWalk() throws -> Int64 {
    try processorTime { () throws in
      for _ in 0..<10 { _ = try sql("SELECT count(*) FROM runs NOT INDEXED WHERE instr(command, 'none')") }
    } / 10
  }
}

/// How long the calling thread computes in `body`, in nanoseconds: what else the machine does makes no difference.
func processorTime(_ body: () throws -> Void) throws -> Int64 {
  func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
  }
  let begin = now()
  try body()
  return now() - begin
}

/// Bytes that do not compress, the same for the same seed.
func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
  var result: [UInt8] = []
  result.reserveCapacity(count + 8)
  while result.count < count {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    withUnsafeBytes(of: state) { result.append(contentsOf: $0) }
  }
  return Array(result.prefix(count))
}

/// Bytes that compress well.
func text(_ count: Int, seed: Int = 1) -> [UInt8] {
  Array(
    Array(repeating: "line of a text that repeats itself \(seed)\n", count: count / 32 + 1).joined().utf8.prefix(count))
}

func digest(_ name: String) -> Digest { SHA256.digest(of: Array(name.utf8)) }

/// A run that is told apart from others by its name.
func makeRun(
  _ name: String, weak: String = "weak", pathSet: String = "paths", strong: String? = nil, condition: String = "",
  blobs: [Digest] = [], used: Int64 = 1_000_000, created: Int64 = 1_000_000, tags: [CasherStore.Tag] = [],
  status: UInt8 = 0,
  body: [UInt8]? = nil
) -> StoredRun {
  StoredRun(
    id: digest("run " + name), weakKey: digest(weak), pathSet: digest(pathSet), strongKey: digest(strong ?? name),
    conditionKey: digest(condition), created: created, lastUsed: used, duration: 5, exitStatus: status,
    command: Array("make \(name)".utf8), directory: "src", mount: "/mnt/work", parent: nil, outputBytes: 10,
    inputCount: 3, outputCount: 2, tags: tags, body: body ?? Array("body of \(name)".utf8), blobs: blobs)
}

extension FileDescriptor {
  /// Everything from the present position, and closes.
  func contents() throws -> [UInt8] {
    defer { close() }
    return try readAll()
  }
}
