import Synchronization

/// Numbers that are given once: from 2^51 on, which filesystems do not reach with inodes, and below 2^53, up to which
/// programs that count in floating point tell numbers apart; beginning at one of 2^27 places.
final class NumberSource: Sendable {
  private let last: Atomic<UInt64>

  init() { last = Atomic((UInt64(1) << 51) | UInt64.random(in: 0..<(1 << 27)) << 23) }

  func next() -> UInt64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
