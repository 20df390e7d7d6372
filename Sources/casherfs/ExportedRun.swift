import CasherDaemon
import CasherRecord
import CasherStore
import CasherSystem
import Glibc

/// A run as it lies in an archive. What follows from its record is not in it, so that nothing can contradict it.
///
/// The archive holds `casher-export` with the format's name first; the contents of a run as `blobs/SHA256` before the run;
/// then the run as `runs/ID`.
struct ExportedRun: ByteCodable {
  static let formatName = "casher-export"
  static let format = "casher export 1\n"
  /// Longest entry of a run, in bytes.
  static let limit: Int64 = 1 << 28

  var id: Digest
  var weakKey: Digest
  /// Nanoseconds since 1970.
  var created: Int64
  var hits: Int64
  var tags: [Tag]
  var record: RunRecord

  init(_ run: StoredRun, _ record: RunRecord) {
    (id, weakKey, created, hits, tags) = (run.id, run.weakKey, run.created, run.hits, run.tags)
    self.record = record
  }

  func encode(to encoder: inout ByteEncoder) {
    encoder.put(id)
    encoder.put(weakKey)
    encoder.put(created)
    encoder.put(hits)
    encoder.put(each: tags) { encoder, tag in
      encoder.put(tag.name)
      encoder.put(tag.value)
    }
    encoder.put(record)
  }

  init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    id = try decoder.digest()
    weakKey = try decoder.digest()
    created = try decoder.int64()
    hits = try decoder.int64()
    tags = try decoder.list { decoder throws(DecodingFailure) in
      Tag(name: try decoder.string(), value: try decoder.string())
    }
    record = try decoder.value()
  }

  /// What is wrong with a run from outside, in words; nil when it may be stored. `size` gives a blob's size, nil for one
  /// that is not there. Unless `isTrusted`, a run may only put ordinary files into the mount.
  func objection(isTrusted: Bool, size: (Digest) throws(StoreError) -> Int64?) throws(StoreError) -> String? {
    guard created >= 0, hits >= 0, record.duration >= 0 else { return "a number in it is negative" }
    guard !record.arguments.isEmpty, record.mount.isAbsolute else { return "it has no command or no mount" }
    guard record.observations.count == record.values.count else { return "its inputs and their values do not fit" }
    for output in record.outputs {
      guard ExportedRun.isClean(output.path) else { return "\(output.path) is no path to write to" }
      if case .hardLink(let other) = output.content, !ExportedRun.isClean(other) {
        return "\(other) is no path to link to"
      }
      if case .file(let digest, let wanted, _) = output.content {
        guard let present = try size(digest) else { return "the content of \(output.path) is missing" }
        guard present == wanted else { return "the content of \(output.path) has another size" }
      }
      guard output.permissions <= 0o7777 else { return "\(output.path) has no possible mode" }
      if isTrusted { continue }
      if output.path.isAbsolute { return "it writes \(output.path), outside the mount" }
      if case .hardLink(let other) = output.content, other.isAbsolute {
        return "it links to \(other), outside the mount"
      }
      if output.permissions & 0o6000 != 0, output.content != .directory {
        return "\(output.path) runs with its owner's or group's rights"
      }
      if geteuid() == 0, let owner = output.owner, owner != Owner(user: geteuid(), group: getegid()) {
        return "it gives \(output.path) to another user or group"
      }
      if output.attributes.contains(where: { !$0.name.bytes.starts(with: "user.".utf8) }) {
        return "\(output.path) has attributes of the system"
      }
    }
    let links = Set(record.outputs.filter { if case .symlink = $0.content { true } else { false } }.map(\.path))
    for output in record.outputs {
      var parent = output.path.parent
      while parent.bytes.count > 1 {
        if links.contains(parent) { return "it writes \(output.path) through a symlink" }
        parent = parent.parent
      }
    }
    return try transcriptObjection(size)
  }

  private func transcriptObjection(_ size: (Digest) throws(StoreError) -> Int64?) throws(StoreError) -> String? {
    var length: UInt64 = 0
    for segment in record.transcript.segments {
      let sum = length.addingReportingOverflow(segment.length)
      guard !sum.overflow, segment.stream == 1 || segment.stream == 2 else { return "its streams cannot be" }
      length = sum.partialValue
    }
    guard let blob = record.transcript.blob else { return length == 0 ? nil : "what it printed is missing" }
    guard let present = try size(blob) else { return "what it printed is missing" }
    return UInt64(bitPattern: present) == length ? nil : "what it printed has another size"
  }

  /// Nothing that climbs, nothing that is no name.
  private static func isClean(_ path: FilePath) -> Bool {
    guard !path.isEmpty, path.bytes.last != UInt8(ascii: "/"), !path.bytes.contains(0) else { return false }
    return path.components.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." && $0.bytes.count <= 255 }
  }
}
