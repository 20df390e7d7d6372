import CasherSystem
import Synchronization

/// Which directories of the main view the kernel may list again from its own cache (FOPEN_CACHE_DIR, FOPEN_KEEP_CACHE of
/// `fuse_file_info`), without asking for what it was told a moment ago.
///
/// The kernel has one cache for the directory, cannot tell a part that was read before a change through another view from
/// one read after it, and ends a handle's listing early where another handle has filled the cache anew meanwhile without
/// the name that the first had come to. So one handle at a time has leave to cache, and what it has cached is given again
/// only when it has read all of it and no name has changed since it was opened; whatever else is cached goes when the
/// directory is opened next.
final class DirectoryListings: Sendable {
  /// What a directory is opened with.
  struct Permission {
    /// Whether the kernel may cache what it reads, and read what is cached.
    let caches: Bool
    /// Whether what it has cached is as it would be read now.
    let keeps: Bool

    static let none = Permission(caches: false, keeps: false)
  }

  /// One reading of a directory.
  struct Reading {
    /// `Inode.nameChanges` when the directory was opened.
    let changes: UInt32
    /// When its first entries were given, in nanoseconds of the monotonic clock; nil before. The kernel keeps the attributes
    /// that came with them from then on.
    var began: Int64?
    /// Whether every entry so far came with its attributes, one after the other from the first.
    var isWhole = true
  }

  private struct Directory {
    /// Whether a handle with leave to cache is open.
    var isOpen = false
    var listed: (changes: UInt32, at: Int64)?
  }

  private let directories = Mutex<[DirectoryKey: Directory]>([:])
  /// How long a listing is given again, in nanoseconds.
  private let lifetime: Int64
  /// Most directories remembered while they are not open.
  private static let limit = 4096

  /// The attributes that came with a listing are kept for `timeout` seconds. A listing is kept for half of that: one that
  /// outlives its attributes saves one request and costs one for each name.
  init(timeout: Double) { lifetime = Int64(min(max(timeout, 0), 1e6) * 5e8) }

  func open(_ key: DirectoryKey, changes: UInt32) -> Permission {
    guard lifetime > 0 else { return .none }
    return directories.withLock { directories in
      if directories.count >= DirectoryListings.limit, directories[key] == nil {
        directories = directories.filter(\.value.isOpen)
      }
      var directory = directories[key] ?? Directory()
      if directory.isOpen { return .none }
      directory.isOpen = true
      if let listed = directory.listed, listed.changes != changes || Clock.monotonic() - listed.at >= lifetime {
        directory.listed = nil
      }
      directories[key] = directory
      return Permission(caches: true, keeps: directory.listed != nil)
    }
  }

  /// How many handles with leave to cache are open.
  var openHandles: Int { directories.withLock { $0.values.count { $0.isOpen } } }

  /// A handle that was opened with leave to cache has read the directory to its end.
  func didRead(_ key: DirectoryKey, _ reading: Reading, changes: UInt32) {
    guard reading.isWhole, let began = reading.began, reading.changes == changes else { return }
    directories.withLock { directories in
      directories[key]?.listed = (changes, began)
    }
  }

  /// A handle that was opened with leave to cache has been closed.
  func close(_ key: DirectoryKey) {
    directories.withLock { directories in
      guard var directory = directories[key] else { return }
      directory.isOpen = false
      directories[key] = directory.listed == nil ? nil : directory
    }
  }
}
