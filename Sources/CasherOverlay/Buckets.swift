import CasherSystem

/// A hash table of inodes, chained through the inodes themselves: a word and a half for each.
struct Buckets {
  private var heads: [Unmanaged<Inode>?] = Array(repeating: nil, count: 16)
  private var count = 0

  private func index(of key: InodeKey) -> Int {
    // The low bits chose the shard.
    let mixed = (key.inode &+ key.device &<< 40) &* 0x9E37_79B9_7F4A_7C15
    return Int(truncatingIfNeeded: mixed >> 32) & (heads.count - 1)
  }

  func find(_ key: InodeKey) -> Inode? {
    var next = heads[index(of: key)]
    while let inode = next?.takeUnretainedValue() {
      if inode.key == key { return inode }
      next = inode.next
    }
    return nil
  }

  mutating func insert(_ inode: Inode) {
    if count >= heads.count { grow() }
    let index = index(of: inode.key)
    inode.next = heads[index]
    heads[index] = Unmanaged.passUnretained(inode)
    inode.isListed = true
    count += 1
  }

  mutating func remove(_ inode: Inode) {
    guard inode.isListed else { return }
    inode.isListed = false
    let index = index(of: inode.key)
    var previous: Inode?
    var next = heads[index]
    while let candidate = next?.takeUnretainedValue() {
      if candidate === inode {
        if let previous { previous.next = inode.next } else { heads[index] = inode.next }
        inode.next = nil
        count -= 1
        return
      }
      previous = candidate
      next = candidate.next
    }
  }

  func forEach(_ body: (Inode) -> Void) {
    for head in heads {
      var next = head
      while let inode = next?.takeUnretainedValue() {
        body(inode)
        next = inode.next
      }
    }
  }

  private mutating func grow() {
    let old = heads
    heads = Array(repeating: nil, count: old.count * 2)
    for head in old {
      var next = head
      while let inode = next?.takeUnretainedValue() {
        next = inode.next
        let index = index(of: inode.key)
        inode.next = heads[index]
        heads[index] = Unmanaged.passUnretained(inode)
      }
    }
  }
}
