import CasherSystem
import Glibc

/// How a blob's content lies in the store.
enum BlobForm: Int64 {
  /// In the database.
  case inline = 0
  /// A file as it is.
  case plain = 1
  /// A file that holds one zstd frame.
  case zstd = 2
}

/// A blob that has been read and written, and whose row is not there yet.
struct NewBlob: Sendable {
  var digest: Digest
  var size: Int64
  var stored: Int64
  var form: BlobForm
  /// The content of an inline one.
  var data: [UInt8] = []
  /// The file in `tmp` of any other.
  var temporary = FilePath([])
}

/// Turns content into a blob: reads it once, digests it, and writes it to `tmp` as it shall lie in the store.
struct BlobIngest {
  let layout: StoreLayout
  let options: StoreOptions

  /// Bytes of content up to which a blob lies in the database.
  static let inlineLimit: Int64 = 4096
  /// A compressed blob must give back at least one block and a fifth of its size.
  private static let leastGain: Int64 = 4096

  /// What there is to do about content: nothing when the store has it.
  struct Outcome {
    var digest: Digest
    var size: Int64
    /// Nil when the store has it already.
    var blob: NewBlob?
  }

  func ingest(
    _ bytes: UnsafeRawBufferPointer, isKnown: (Digest) throws(StoreError) -> Bool
  ) throws(StoreError) -> Outcome {
    let digest = SHA256.digest(of: bytes)
    let size = Int64(bytes.count)
    if try isKnown(digest) { return Outcome(digest: digest, size: size, blob: nil) }
    if size <= BlobIngest.inlineLimit {
      let blob = NewBlob(digest: digest, size: size, stored: size, form: .inline, data: Array(bytes))
      return Outcome(digest: digest, size: size, blob: blob)
    }
    let frame = Zstandard.borrow { compressed(bytes, $0) }
    let blob = try writing { file, path throws(StoreError) in
      try attempt(path) { () throws(Errno) in
        if let frame { return try file.writeAll(frame) }
        var writer = SparseWriter(file)
        try writer.write(bytes)
        try writer.finish()
      }
      return NewBlob(
        digest: digest, size: size, stored: frame.map { Int64($0.count) } ?? size, form: frame == nil ? .plain : .zstd)
    }
    return Outcome(digest: digest, size: size, blob: blob)
  }

  func ingest(
    _ source: FileDescriptor, isKnown: (Digest) throws(StoreError) -> Bool
  ) throws(StoreError) -> Outcome {
    let status = try readSource { () throws(Errno) in try source.status() }
    if status.size > Int64(Zstandard.inputSize) {
      let blob = try stream(source, status)
      if try isKnown(blob.digest) {
        layout.discard(blob.temporary)
        return Outcome(digest: blob.digest, size: blob.size, blob: nil)
      }
      return Outcome(digest: blob.digest, size: blob.size, blob: blob)
    }
    return try Zstandard.borrow { zstandard throws(StoreError) in
      var filled = 0
      let size = Int(status.size)
      while filled < size {
        let part = UnsafeMutableRawBufferPointer(rebasing: zstandard.input[filled..<size])
        let count = try readSource { () throws(Errno) in try source.read(into: part, at: Int64(filled)) }
        guard count > 0 else { throw BlobIngest.changed }
        filled += count
      }
      return try ingest(UnsafeRawBufferPointer(rebasing: zstandard.input[..<size]), isKnown: isKnown)
    }
  }

  private static let changed = StoreError(.sourceChanged, "the source file", detail: "it became shorter")

  /// A source that cannot be read says nothing about the store.
  private func readSource<Result>(_ body: () throws(Errno) -> Result) throws(StoreError) -> Result {
    do throws(Errno) { return try body() } catch {
      throw StoreError(.inputOutput, "the source file", cause: error)
    }
  }

  /// One frame, when that gains enough.
  private func compressed(_ bytes: UnsafeRawBufferPointer, _ zstandard: Zstandard) -> [UInt8]? {
    guard let level = options.compressionLevel, let frame = try? zstandard.compress(bytes, level: level),
      BlobIngest.gains(Int64(frame.count), of: Int64(bytes.count))
    else { return nil }
    return frame
  }

  private static func gains(_ stored: Int64, of size: Int64) -> Bool {
    size - stored >= leastGain && stored <= size / 5 * 4
  }

  private func stream(_ source: FileDescriptor, _ status: FileStatus) throws(StoreError) -> NewBlob {
    try writing { file, path throws(StoreError) in
      if let blob = try cloned(source, to: file, path) { return blob }
      return try Zstandard.borrow { zstandard throws(StoreError) in
        guard let level = try worthwhileLevel(source, status, zstandard) else {
          return try copy(source, status, to: file, path, zstandard)
        }
        return try compress(source, status, to: file, path, zstandard, level)
      }
    }
  }

  /// Shares the source's extents; what is digested then is the clone, which nobody changes. Nil where that cannot be.
  private func cloned(
    _ source: FileDescriptor, to file: FileDescriptor, _ path: FilePath
  ) throws(StoreError) -> NewBlob? {
    do throws(Errno) { try file.clone(from: source) } catch {
      if error == .noSpace || error == .quotaExceeded { throw StoreError(error, path) }
      return nil
    }
    let (digest, count) = try attempt(path) { () throws(Errno) in try SHA256.digest(of: file) }
    return NewBlob(digest: digest, size: count, stored: count, form: .plain)
  }

  /// Tries samples from three places; nil when compressing would not gain, or when the file is mostly holes.
  private func worthwhileLevel(
    _ source: FileDescriptor, _ status: FileStatus, _ zstandard: Zstandard
  ) throws(StoreError) -> Int32? {
    guard let level = options.compressionLevel, Int64(status.raw.st_blocks) * 512 > status.size / 2 else { return nil }
    let length = 32 << 10
    var filled = 0
    for place in [0, status.size / 2, status.size - Int64(length)] {
      let part = UnsafeMutableRawBufferPointer(rebasing: zstandard.input[filled..<(filled + length)])
      filled += try readSource { () throws(Errno) in try source.read(into: part, at: place) }
    }
    let sample = UnsafeRawBufferPointer(rebasing: zstandard.input[..<filled])
    guard let frame = try? zstandard.compress(sample, level: level) else { return nil }
    return BlobIngest.gains(Int64(frame.count), of: Int64(filled)) ? level : nil
  }

  private func copy(
    _ source: FileDescriptor, _ status: FileStatus, to file: FileDescriptor, _ path: FilePath, _ zstandard: Zstandard
  ) throws(StoreError) -> NewBlob {
    var hash = SHA256()
    var reader = SparseReader(source, status, to: status.size)
    var writer = SparseWriter(file)
    while let piece = try read(&reader, zstandard) {
      switch piece {
      case .data(let count):
        let bytes = UnsafeRawBufferPointer(rebasing: zstandard.input[..<count])
        hash.update(bytes)
        try attempt(path) { () throws(Errno) in try writer.write(bytes) }
      case .zeros(let count):
        hash.update(zeros: count)
        writer.skip(count)
      }
    }
    guard reader.isComplete else { throw BlobIngest.changed }
    try attempt(path) { () throws(Errno) in try writer.finish() }
    return NewBlob(digest: hash.finalize(), size: status.size, stored: status.size, form: .plain)
  }

  private func compress(
    _ source: FileDescriptor, _ status: FileStatus, to file: FileDescriptor, _ path: FilePath,
    _ zstandard: Zstandard, _ level: Int32
  ) throws(StoreError) -> NewBlob {
    var hash = SHA256()
    var reader = SparseReader(source, status, to: status.size)
    var stored: Int64 = 0
    let write = { (bytes: UnsafeRawBufferPointer) throws(StoreError) in
      stored += Int64(bytes.count)
      try attempt(path) { () throws(Errno) in try file.writeAll(bytes) }
    }
    zstandard.begin(size: status.size, level: level)
    while let piece = try read(&reader, zstandard) {
      switch piece {
      case .data(let count):
        let bytes = UnsafeRawBufferPointer(rebasing: zstandard.input[..<count])
        hash.update(bytes)
        try zstandard.compress(bytes, isLast: false, write: write)
      case .zeros(let count):
        hash.update(zeros: count)
        var rest = count
        while rest > 0 {
          let step = min(rest, Int64(Zeros.count))
          try zstandard.compress(
            UnsafeRawBufferPointer(rebasing: Zeros.buffer[..<Int(step)]), isLast: false, write: write)
          rest -= step
        }
      }
    }
    guard reader.isComplete else { throw BlobIngest.changed }
    try zstandard.compress(UnsafeRawBufferPointer(start: nil, count: 0), isLast: true, write: write)
    return NewBlob(digest: hash.finalize(), size: status.size, stored: stored, form: .zstd)
  }

  private func read(
    _ reader: inout SparseReader, _ zstandard: Zstandard
  ) throws(StoreError) -> SparseReader.Piece? {
    do throws(Errno) { return try reader.next(into: zstandard.input) } catch {
      throw StoreError(.inputOutput, "the source file", cause: error)
    }
  }

  /// A new file in `tmp`, given to `body`, removed again when that throws.
  private func writing(
    _ body: (FileDescriptor, FilePath) throws(StoreError) -> NewBlob
  ) throws(StoreError) -> NewBlob {
    let name = layout.scratchName()
    let path = layout.directory.appending(name)
    // Nobody is to change a blob, by mistake or otherwise.
    let file = try attempt(path) { () throws(Errno) in
      try layout.root.open(name, O_RDWR | O_CREAT | O_EXCL, mode: 0o400)
    }
    defer { file.close() }
    do throws(StoreError) {
      var blob = try body(file, path)
      if options.durability == .full {
        try attempt(path) { () throws(Errno) in try file.synchronize(dataOnly: true) }
      }
      blob.temporary = name
      return blob
    } catch {
      layout.discard(name)
      throw error
    }
  }
}
