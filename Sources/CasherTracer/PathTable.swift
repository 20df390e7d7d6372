import CasherSystem
import Glibc

/// Gives each path a small number, so that an access is twelve bytes however often a path is used.
struct PathTable: ~Copyable {
  typealias ID = UInt32

  private let arena = ByteBuffer(capacity: 1 << 16)
  private var ends: [Int] = []
  private var hashes: [UInt32] = []
  /// Open addressing; a slot holds an ID plus one, 0 when empty.
  private var slots = [UInt32](repeating: 0, count: 1024)

  var count: Int { ends.count }

  /// The path's number; a new one when it has not been seen before.
  mutating func number(of path: UnsafeBufferPointer<UInt8>) -> ID {
    let hash = PathTable.hash(path)
    var slot = Int(hash) & (slots.count - 1)
    while slots[slot] != 0 {
      let id = slots[slot] - 1
      if hashes[Int(id)] == hash, isEqual(id, path) { return id }
      slot = (slot + 1) & (slots.count - 1)
    }
    let id = ID(truncatingIfNeeded: ends.count)
    if let start = path.baseAddress { arena.append(start, count: path.count) }
    ends.append(arena.count)
    hashes.append(hash)
    slots[slot] = id + 1
    if ends.count * 2 > slots.count { rehash() }
    return id
  }

  func path(_ id: ID) -> FilePath { FilePath(Array(bytes(id))) }

  /// Valid until the next new path.
  func bytes(_ id: ID) -> UnsafeBufferPointer<UInt8> {
    let start = id == 0 ? 0 : ends[Int(id) - 1]
    return UnsafeBufferPointer(start: arena.base + start, count: ends[Int(id)] - start)
  }

  private func isEqual(_ id: ID, _ path: UnsafeBufferPointer<UInt8>) -> Bool {
    let known = bytes(id)
    guard known.count == path.count, let left = known.baseAddress, let right = path.baseAddress else {
      return known.count == path.count
    }
    return memcmp(left, right, path.count) == 0
  }

  private mutating func rehash() {
    slots = [UInt32](repeating: 0, count: slots.count * 2)
    for (index, hash) in hashes.enumerated() {
      var slot = Int(hash) & (slots.count - 1)
      while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
      slots[slot] = UInt32(truncatingIfNeeded: index + 1)
    }
  }

  /// Eight bytes at a time, multiplied and folded.
  private static func hash(_ path: UnsafeBufferPointer<UInt8>) -> UInt32 {
    let raw = UnsafeRawBufferPointer(path)
    var state: UInt64 = 0x9e37_79b9_7f4a_7c15 ^ UInt64(path.count)
    var offset = 0
    while offset &+ 8 <= raw.count {
      let product = (state ^ raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        .multipliedFullWidth(by: 0xd6e8_feb8_6659_fd93)
      state = product.high ^ product.low
      offset &+= 8
    }
    var rest: UInt64 = 0
    while offset < raw.count {
      rest = rest << 8 | UInt64(raw[offset])
      offset &+= 1
    }
    let product = (state ^ rest).multipliedFullWidth(by: 0xa076_1d64_78bd_642f)
    return UInt32(truncatingIfNeeded: product.high ^ product.low)
  }
}
