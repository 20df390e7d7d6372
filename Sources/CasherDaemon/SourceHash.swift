/// The hash by which Python tells whether a bytecode cache fits its source (PEP 552): SipHash, keyed by the number that
/// the cache begins with.
///
/// The numbers of rounds are those of the Python that wrote it: 1 and 3 since 3.11, 2 and 4 before.
enum SourceHash {
  /// Whether either kind of Python would have written `hash` for `source`.
  static func isThat(of source: [UInt8], magic: UInt32, _ hash: UInt64) -> Bool {
    [(1, 3), (2, 4)].contains { sipHash(source, key: UInt64(magic), rounds: $0.0, last: $0.1) == hash }
  }

  /// SipHash of `bytes` with `key` as the first half of the key and zero as the second (Aumasson and Bernstein, "SipHash:
  /// a fast short-input PRF").
  private static func sipHash(_ bytes: [UInt8], key: UInt64, rounds: Int, last: Int) -> UInt64 {
    var state = State(
      a: key ^ 0x736f_6d65_7073_6575, b: 0x646f_7261_6e64_6f6d, c: key ^ 0x6c79_6765_6e65_7261, d: 0x7465_6462_7974_6573
    )
    var word: UInt64 = 0
    for (index, byte) in bytes.enumerated() {
      word |= UInt64(byte) << UInt64(index % 8 * 8)
      if index % 8 == 7 {
        state.take(word, rounds)
        word = 0
      }
    }
    state.take(word | UInt64(bytes.count & 0xff) << 56, rounds)
    state.c ^= 0xff
    for _ in 0..<last { state.mix() }
    return state.a ^ state.b ^ state.c ^ state.d
  }

  private struct State {
    var a, b, c, d: UInt64

    mutating func take(_ word: UInt64, _ rounds: Int) {
      d ^= word
      for _ in 0..<rounds { mix() }
      a ^= word
    }

    mutating func mix() {
      a &+= b
      b = State.rotated(b, 13) ^ a
      a = State.rotated(a, 32)
      c &+= d
      d = State.rotated(d, 16) ^ c
      a &+= d
      d = State.rotated(d, 21) ^ a
      c &+= b
      b = State.rotated(b, 17) ^ c
      c = State.rotated(c, 32)
    }

    private static func rotated(_ word: UInt64, _ bits: UInt64) -> UInt64 { word << bits | word >> (64 - bits) }
  }
}
