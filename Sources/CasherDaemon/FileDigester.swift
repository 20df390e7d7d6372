import CasherOverlay
import CasherStore
import CasherSystem

/// Digests of files, remembered while the files stay as they are.
final class FileDigester: Sendable {
  private let store: Store
  private let placements: Placements
  /// Whether anyone holds the inode open for writing through the mount: then its content may change and its times stay.
  let isBeingWritten: @Sendable (InodeKey) -> Bool

  /// A file changed less than this many nanoseconds ago may change again with the same time: kernels without
  /// fine-grained timestamps move a file's times once a tick, which is at most 10 ms.
  static let granularity: Int64 = 20_000_000

  init(store: Store, placements: Placements, isBeingWritten: @escaping @Sendable (InodeKey) -> Bool) {
    self.store = store
    self.placements = placements
    self.isBeingWritten = isBeingWritten
  }

  /// The digest of the regular file behind `open`, which is called only when nothing is remembered, and its status
  /// while it was digested. EBUSY when the file kept changing meanwhile.
  func digest(
    _ status: FileStatus, open: () throws(Errno) -> FileDescriptor
  ) throws(Errno) -> (Digest, FileStatus) {
    if status.key.isPlaced, let file = placements.file(status.key.inode) { return (file.blob, file.status) }
    if !isBeingWritten(status.key), let known = remembered(status) { return (known, status) }
    let descriptor = try open()
    defer { descriptor.close() }
    for _ in 0..<3 {
      let began = Clock.now()
      let before = try placements.identifiedStatus(of: descriptor)
      let digest = try SHA256.digest(of: descriptor).digest
      let after = try placements.identifiedStatus(of: descriptor)
      if !after.isSameGeneration(as: before) { continue }
      remember(digest, for: after, asOf: began)
      return (digest, after)
    }
    throw Errno(rawValue: 16)  // EBUSY
  }

  /// What is remembered of a file in exactly this state.
  func remembered(_ status: FileStatus) -> Digest? {
    if status.key.isPlaced, let file = placements.file(status.key.inode) { return file.blob }
    return store.cachedDigest(status)
  }

  /// Remembers the digest of a file that was in this state before and after it was taken. `time`, nanoseconds since 1970:
  /// from before both, unless nobody else can have changed the file meanwhile.
  func remember(_ digest: Digest, for status: FileStatus, asOf time: Int64 = Clock.now()) {
    guard !isBeingWritten(status.key) else { return }
    guard time - max(status.modified, status.changed) > FileDigester.granularity else { return }
    store.rememberDigest(digest, of: status)
  }

  /// Remembers the digest of a file that this process has just written itself and no one else has open for writing.
  func keep(_ digest: Digest, for status: FileStatus) {
    guard !isBeingWritten(status.key) else { return }
    store.rememberDigest(digest, of: status)
  }
}
