// A process that works on a store, for tests of several processes, of kills and of failing system calls.
//
//   StoreTestHelper work DIRECTORY SEED ROUNDS     puts, stores, looks up, reads and evicts
//   StoreTestHelper same DIRECTORY ROUNDS          puts and removes the same content over and over
//   StoreTestHelper open DIRECTORY                 opens and prints what went wrong
//
// Exits 0; 3 when the store gave wrong bytes, which nothing may ever cause. Failures of the store are printed by code.

import CasherStore
import CasherSystem
import Glibc

Faults.armFromEnvironment()

func noise(_ count: Int, seed: UInt64) -> [UInt8] {
  var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
  var result: [UInt8] = []
  while result.count < count {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    withUnsafeBytes(of: state) { result.append(contentsOf: $0) }
  }
  return Array(result.prefix(count))
}

func repeating(_ count: Int, seed: UInt64) -> [UInt8] {
  Array(Array(repeating: "a line that repeats \(seed)\n", count: count / 20).joined().utf8)
}

func report(_ error: StoreError) {
  print("\(error.code): \(error)")
}

func expect(_ bytes: [UInt8], _ expected: [UInt8]) {
  if bytes != expected {
    print("wrong bytes")
    exit(3)
  }
}

func makeRun(_ name: String, _ blobs: [Digest]) -> StoredRun {
  func digest(_ text: String) -> Digest { SHA256.digest(of: Array(text.utf8)) }
  return StoredRun(
    id: digest("run \(name)"), weakKey: digest("weak"), pathSet: digest("paths"), strongKey: digest(name),
    conditionKey: digest(""), created: Clock.now(), lastUsed: Clock.now(), duration: 1, exitStatus: 0,
    command: Array(name.utf8), directory: "", mount: "/m", outputBytes: 0, inputCount: 0, outputCount: 0,
    body: Array(repeating: 7, count: 2000), blobs: blobs)
}

func work(_ store: Store, seed: UInt64, rounds: UInt64) {
  for round in 0..<rounds {
    let number = seed &* 1000 &+ round
    let contents = [
      noise(100, seed: number), noise(20_000, seed: number), repeating(30_000, seed: number),
      noise(8_000, seed: round % 3),
    ]
    do throws(StoreError) {
      var blobs: [Digest] = []
      for content in contents { blobs.append(try store.putBlob(content)) }
      let run = makeRun("\(number)", blobs)
      try store.insert(run, pathSetBody: [1, 2, 3])
      try store.pin(run: run.id, for: "helper \(seed)")
      guard try store.unusableBlobs(of: run.id).isEmpty else { continue }
      for (blob, content) in zip(blobs, contents) {
        let file = try store.openBlob(blob)
        defer { file.close() }
        guard let bytes = try? file.readAll() else { continue }
        expect(bytes, content)
      }
      store.touch(run.id)
      store.count(.hit(saved: 1))
      try store.flush()
      try store.unpin(run: run.id, for: "helper \(seed)")
      if round % 2 == 1 { _ = try store.evict(maxBytes: 60_000) }
    } catch {
      report(error)
    }
  }
}

func same(_ store: Store, rounds: UInt64) {
  let content = noise(9_000, seed: 5)
  for _ in 0..<rounds {
    do throws(StoreError) {
      let blob = try store.putBlob(content)
      let run = makeRun("same \(getpid())", [blob])
      try store.insert(run, pathSetBody: [])
      let file = try store.openBlob(blob)
      defer { file.close() }
      if let bytes = try? file.readAll() { expect(bytes, content) }
      try store.remove(run: run.id)
    } catch {
      report(error)
    }
  }
}

let arguments = CommandLine.arguments
guard arguments.count >= 3 else { exit(2) }
do throws(StoreError) {
  var options = StoreOptions()
  if arguments[1] == "open" { options.busyTimeout = 100 }
  let store = try Store.open(at: FilePath(arguments[2]), options: options)
  switch arguments[1] {
  case "work": work(store, seed: UInt64(arguments[3]) ?? 1, rounds: UInt64(arguments[4]) ?? 1)
  case "same": same(store, rounds: UInt64(arguments[3]) ?? 1)
  default: break
  }
  store.close()
} catch {
  report(error)
}
