import CasherSystem

/// Makes what changes the names of one directory exclusive of each other, whatever view it comes through. Directories
/// share locks, so that there are only so many.
final class NameLocks: Sendable {
  private static let count = 256
  private let locks = (0..<NameLocks.count).map { _ in Lock() }

  private func index(_ directory: DirectoryKey) -> Int {
    let mixed = (directory.key.inode &+ directory.key.device &<< 40) &* 0x9E37_79B9_7F4A_7C15
    return Int(truncatingIfNeeded: mixed >> 40) & (NameLocks.count - 1)
  }

  func with<Result, Failure: Error>(
    _ directory: DirectoryKey, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let lock = locks[index(directory)]
    lock.lock()
    defer { lock.unlock() }
    return try body()
  }

  /// As `with(_:_:)` for several directories, always in the same order.
  func with<Result, Failure: Error>(
    all directories: [DirectoryKey], _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let indices = Set(directories.map(index)).sorted()
    for index in indices { locks[index].lock() }
    defer { for index in indices { locks[index].unlock() } }
    return try body()
  }

  /// While no names are changed anywhere.
  func withEverything<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    for lock in locks { lock.lock() }
    defer { for lock in locks { lock.unlock() } }
    return try body()
  }
}
