import CasherRecord
import CasherStore
import CasherSystem

/// Contents that a stored run left: its files and its streams.
struct StoredContent {
  let store: Store

  /// The file's blob and size. For another name of a file, that file's, when the run produced it.
  static func file(_ output: Output, of record: RunRecord) -> (digest: Digest, size: Int64)? {
    switch output.content {
    case .file(let digest, let size, _): return (digest, size)
    case .hardLink(let path):
      guard let original = record.outputs.first(where: { $0.path == path }),
        case .file(let digest, let size, _) = original.content
      else { return nil }
      return (digest, size)
    case .directory, .symlink, .fifo, .removed: return nil
    }
  }

  /// A descriptor at the content's begin; the caller closes it.
  func open(_ blob: Digest) throws(Failure) -> FileDescriptor {
    try StoreAccess.reading { () throws(StoreError) in try store.openBlob(blob) }
  }

  /// The whole content, nil when it is larger than `limit` bytes.
  func bytes(_ blob: Digest, limit: Int64) throws(Failure) -> [UInt8]? {
    try StoreAccess.reading { () throws(StoreError) in
      guard let size = try store.blobSize(blob), size <= limit else { return nil }
      return try store.blobBytes(blob, limit: limit)
    }
  }

  /// Calls `write` for each piece that the run printed, in order, with the number of its stream (1 or 2).
  func printed(
    _ record: RunRecord, _ write: (UInt8, UnsafeRawBufferPointer) throws(Errno) -> Void
  ) throws(Failure) {
    guard let blob = record.transcript.blob else { return }
    let file = try open(blob)
    defer { file.close() }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
    defer { buffer.deallocate() }
    do throws(Errno) {
      for segment in record.transcript.segments {
        var rest = segment.length
        while rest > 0 {
          let wanted = Int(min(rest, UInt64(buffer.count)))
          let count = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]))
          if count == 0 { return }
          try write(segment.stream, UnsafeRawBufferPointer(rebasing: buffer[..<count]))
          rest -= UInt64(count)
        }
      }
    } catch { throw Failure(.failure, "what the run printed cannot be written: \(error).") }
  }

  /// Everything that the run wrote to one stream; nil when it is more than `limit` bytes.
  func stream(_ number: UInt8, of record: RunRecord, limit: Int) throws(Failure) -> [UInt8]? {
    let lengths = RunJSON.streamLengths(record)
    guard (number == 2 ? lengths.error : lengths.output) <= limit else { return nil }
    var result: [UInt8] = []
    try printed(record) { stream, bytes in if stream == number { result.append(contentsOf: bytes) } }
    return result
  }
}
