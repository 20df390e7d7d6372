/// A POSIX lock on a range of bytes (fcntl(2)).
struct PosixLock: Sendable, Hashable {
  /// Process or open file description, as the kernel numbers them.
  var owner: UInt64
  /// Process id, for F_GETLK.
  var process: Int32
  var isExclusive: Bool
  /// First and last byte; `Int64.max` stands for the end of any file.
  var first: Int64
  var last: Int64

  func overlaps(_ other: PosixLock) -> Bool { first <= other.last && other.first <= last }
}

/// The POSIX locks on one file. An owner's locks do not overlap, and equal ones do not touch.
struct PosixLocks: Sendable {
  private(set) var locks: [PosixLock] = []

  var isEmpty: Bool { locks.isEmpty }

  /// Other owners' locks that stand in the way, by their first byte.
  func conflicts(with lock: PosixLock) -> [PosixLock] {
    locks.filter { $0.owner != lock.owner && $0.overlaps(lock) && ($0.isExclusive || lock.isExclusive) }
      .sorted { $0.first < $1.first }
  }

  /// Gives the owner this lock in place of what it had in the range.
  mutating func set(_ lock: PosixLock) {
    remove(lock)
    var merged = lock
    locks.removeAll { other in
      guard other.owner == lock.owner, other.isExclusive == lock.isExclusive else { return false }
      let touches =
        other.overlaps(merged) || (other.last < .max && other.last + 1 == merged.first)
        || (merged.last < .max && merged.last + 1 == other.first)
      guard touches else { return false }
      merged.first = min(merged.first, other.first)
      merged.last = max(merged.last, other.last)
      return true
    }
    locks.append(merged)
  }

  /// Takes the range from the owner's locks; what lies around it stays.
  mutating func remove(_ range: PosixLock) {
    var rest: [PosixLock] = []
    for lock in locks {
      guard lock.owner == range.owner, lock.overlaps(range) else {
        rest.append(lock)
        continue
      }
      if lock.first < range.first {
        var before = lock
        before.last = range.first - 1
        rest.append(before)
      }
      if lock.last > range.last {
        var after = lock
        after.first = range.last + 1
        rest.append(after)
      }
    }
    locks = rest
  }

  mutating func removeAll(of owner: UInt64) { locks.removeAll { $0.owner == owner } }
}
