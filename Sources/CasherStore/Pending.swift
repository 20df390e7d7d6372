import CasherSystem

/// What a store remembers until the next transaction that writes.
struct Pending: Sendable {
  struct Touch: Sendable {
    var hits: Int64 = 0
    /// Nanoseconds since 1970.
    var used: Int64 = 0
  }

  /// Blobs that are written and have no row yet.
  var blobs: [Digest: NewBlob] = [:]
  /// Bytes of content among them that are held in memory.
  var inlineBytes = 0
  /// Blobs that were there already when they were put, to be kept until their run is stored.
  var reserved: Set<Digest> = []
  var touches: [Digest: Touch] = [:]
  var counters: [String: Int64] = [:]
  var commands: [[UInt8]: CommandCounts] = [:]
  /// Why calls were misses, by weak key.
  var misses: [Digest: MissNote] = [:]
  var inflatedUses: Set<Digest> = []

  var isEmpty: Bool {
    blobs.isEmpty && reserved.isEmpty && touches.isEmpty && counters.isEmpty && inflatedUses.isEmpty
      && commands.isEmpty && misses.isEmpty
  }

  /// Whether so much has gathered that it should be written now.
  var isFull: Bool { blobs.count >= 1024 || inlineBytes >= 4 << 20 }

  mutating func add(_ blob: NewBlob) {
    blobs[blob.digest] = blob
    inlineBytes += blob.data.count
  }
}
