import CasherSystem

/// What was in a directory when it was frozen, as far as runs had made it and it was as they had left it.
public struct FreezeRecord: Hashable, Sendable {
  /// The run that made a result. It may be gone from the store since.
  public struct Maker: Hashable, Sendable {
    public var run: Digest
    /// The arguments as a shell would take them.
    public var command: [UInt8]
    /// Where it ran, relative to the mount.
    public var directory: FilePath
    /// When it ran, nanoseconds since 1970.
    public var created: Int64

    public init(run: Digest, command: [UInt8], directory: FilePath, created: Int64) {
      self.run = run
      self.command = command
      self.directory = directory
      self.created = created
    }
  }

  public enum Content: Hashable, Sendable {
    /// `size` in bytes.
    case file(Digest, size: Int64)
    case symlink(target: FilePath)
  }

  /// The state of a file in which its content was known: while it and `modified` are the same, the content is.
  public struct Stamp: Hashable, Sendable {
    public var inode: UInt64
    /// Nanoseconds since 1970.
    public var changed: Int64

    public init(_ status: FileStatus) { (inode, changed) = (status.key.inode, status.changed) }

    fileprivate init(inode: UInt64, changed: Int64) { (self.inode, self.changed) = (inode, changed) }
  }

  public struct Result: Hashable, Sendable {
    /// Relative to the mount's root.
    public var path: FilePath
    public var content: Content
    /// As they were then.
    public var permissions: UInt32
    /// Nanoseconds since 1970.
    public var modified: Int64
    /// Its place in `makers`.
    public var maker: Int
    public var stamp: Stamp?

    public init(
      path: FilePath, content: Content, permissions: UInt32, modified: Int64 = 0, maker: Int, stamp: Stamp? = nil
    ) {
      self.path = path
      self.content = content
      self.permissions = permissions
      self.modified = modified
      self.maker = maker
      self.stamp = stamp
    }
  }

  public var makers: [Maker]
  /// By path.
  public var results: [Result]

  public init(makers: [Maker] = [], results: [Result] = []) {
    self.makers = makers
    self.results = results
  }

  /// Bytes of all files.
  public var bytes: Int64 {
    results.reduce(into: 0) { sum, result in if case .file(_, let size) = result.content { sum &+= size } }
  }

  public func maker(of result: Result) -> Maker { makers[result.maker] }

  /// The result at a path relative to the mount's root.
  public func result(at path: FilePath) -> Result? { results.first { $0.path == path } }
}

extension FreezeRecord: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put("casher freeze 1")
    encoder.put(makers)
    encoder.put(results)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    guard try decoder.byteString() == Array("casher freeze 1".utf8) else {
      throw DecodingFailure("a freeze of another format")
    }
    self.init(makers: try decoder.list(), results: try decoder.list())
    guard results.allSatisfy({ makers.indices.contains($0.maker) }) else {
      throw DecodingFailure("a result without a run")
    }
  }
}

extension FreezeRecord.Maker: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(run)
    encoder.put(command)
    encoder.put(directory)
    encoder.put(created)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init(
      run: try decoder.digest(), command: try decoder.byteString(), directory: try decoder.path(),
      created: try decoder.int64())
  }
}

extension FreezeRecord.Result: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(path)
    switch content {
    case .file(let digest, let size):
      encoder.put(1 as UInt8)
      encoder.put(digest)
      encoder.put(size)
    case .symlink(let target):
      encoder.put(2 as UInt8)
      encoder.put(target)
    }
    encoder.put(permissions)
    encoder.put(modified)
    encoder.put(UInt32(clamping: maker))
    encoder.put(stamp != nil)
    if let stamp {
      encoder.put(stamp.inode)
      encoder.put(stamp.changed)
    }
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    let path = try decoder.path()
    let content: FreezeRecord.Content
    switch try decoder.byte() {
    case 1: content = .file(try decoder.digest(), size: try decoder.int64())
    case 2: content = .symlink(target: try decoder.path())
    default: throw DecodingFailure("unknown kind of result")
    }
    let (permissions, modified) = (try decoder.uint32(), try decoder.int64())
    let maker = Int(try decoder.uint32())
    var stamp: FreezeRecord.Stamp?
    if try decoder.bool() { stamp = .init(inode: try decoder.uint64(), changed: try decoder.int64()) }
    self.init(
      path: path, content: content, permissions: permissions, modified: modified, maker: maker, stamp: stamp)
  }
}
