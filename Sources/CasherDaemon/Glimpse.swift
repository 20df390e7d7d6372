import CasherSystem

/// What stat(2) told of a path when the value there was known. While it tells the same, and nobody holds the file open
/// for writing, the value is the same: every change of content, names or attributes moves the time of the last change.
struct Glimpse: Equatable, Sendable {
  let device: UInt64
  let inode: UInt64
  let size: Int64
  let modified: Int64
  let changed: Int64
  let mode: UInt32
  let user: UInt32
  let group: UInt32
  let links: UInt64

  init(_ status: FileStatus) {
    device = status.key.device
    inode = status.key.inode
    size = status.size
    modified = status.modified
    changed = status.changed
    mode = status.raw.st_mode
    user = status.owner
    group = status.group
    links = status.links
  }

  /// Whether it may be relied on, when it was taken at `time` or later (nanoseconds since 1970). A change within the
  /// clock's granularity of the last one need not move the times.
  func isSettled(at time: Int64) -> Bool { time - max(modified, changed) > FileDigester.granularity }
}
