import CasherRecord
import CasherSystem
import Glibc

/// Who called acache: for whom files are written and permissions hold.
struct Caller: Hashable, Sendable {
  let process: Int32
  let user: UInt32
  let group: UInt32
  /// Sorted.
  let groups: [UInt32]
}

extension Caller {
  /// The owner that the output is to be given when it has `now`'s; nil when that is right, or not the caller's to change:
  /// only root gives files away, and others among their own groups (chown(2)).
  func owner(of output: Output, now: FileStatus) -> Owner? {
    guard let owner = output.owner, now.owner != owner.user || now.group != owner.group else { return nil }
    if user == 0, geteuid() == 0 { return owner }
    return now.owner == user && owner.user == user && isMember(of: owner.group) ? owner : nil
  }

  /// Whether files may be given to the group.
  func isMember(of group: UInt32) -> Bool { self.group == group || groups.contains(group) }
}
