import CasherSystem

/// Who called acache: for whom files are written and permissions hold.
struct Caller: Hashable, Sendable {
  let process: Int32
  let user: UInt32
  let group: UInt32
  /// Sorted.
  let groups: [UInt32]
}
