import CasherSystem

extension StreamSegment: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(stream)
    encoder.put(length)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init(stream: try decoder.byte(), length: try decoder.uint64())
  }
}

extension Digest: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) { encoder.put(self) }
  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) { self = try decoder.digest() }
}

extension FilePath: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) { encoder.put(self) }
  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) { self = try decoder.path() }
}

extension Transcript: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(blob)
    encoder.put(segments)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init(blob: try decoder.optional(), segments: try decoder.list())
  }
}

extension Owner: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(user)
    encoder.put(group)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init(user: try decoder.uint32(), group: try decoder.uint32())
  }
}

extension ExtendedAttribute: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(name)
    encoder.put(value)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init(name: try decoder.path(), value: try decoder.byteString())
  }
}

extension ConsumedInput: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(count)
    encoder.put(digest)
    encoder.put(reachedEnd)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init(count: try decoder.uint64(), digest: try decoder.digest(), reachedEnd: try decoder.bool())
  }
}

extension Output: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(path)
    switch content {
    case .file(let digest, let size, let inPlace):
      encoder.put(1 as UInt8)
      encoder.put(digest)
      encoder.put(size)
      encoder.put(inPlace)
    case .directory: encoder.put(2 as UInt8)
    case .symlink(let target):
      encoder.put(3 as UInt8)
      encoder.put(target)
    case .hardLink(let other):
      encoder.put(4 as UInt8)
      encoder.put(other)
    case .fifo: encoder.put(5 as UInt8)
    case .removed(let wasDirectory):
      encoder.put(6 as UInt8)
      encoder.put(wasDirectory)
    }
    encoder.put(permissions)
    encoder.put(owner)
    encoder.put(modified != nil)
    encoder.put(modified ?? 0)
    encoder.put(attributes)
    encoder.put(keepsAttributes)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    let path = try decoder.path()
    let content: Content
    switch try decoder.byte() {
    case 1: content = .file(try decoder.digest(), size: try decoder.int64(), inPlace: try decoder.bool())
    case 2: content = .directory
    case 3: content = .symlink(target: try decoder.path())
    case 4: content = .hardLink(of: try decoder.path())
    case 5: content = .fifo
    case 6: content = .removed(wasDirectory: try decoder.bool())
    default: throw DecodingFailure("unknown kind of output")
    }
    let permissions = try decoder.uint32()
    let owner: Owner? = try decoder.optional()
    let hasTime = try decoder.bool()
    let time = try decoder.int64()
    self.init(
      path: path, content: content, permissions: permissions, owner: owner, modified: hasTime ? time : nil,
      attributes: try decoder.list())
    keepsAttributes = try decoder.bool()
  }
}

extension RunRecord: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(arguments)
    encoder.put(directory)
    encoder.put(mount)
    encoder.put(environmentNames)
    encoder.put(each: environmentDigests) { $0.put($1) }
    encoder.put(observations)
    encoder.put(values)
    encoder.put(conditions)
    encoder.put(input)
    encoder.put(outputs)
    encoder.put(transcript)
    encoder.put(exitStatus)
    encoder.put(duration)
    encoder.put(parent)
    encoder.put(expires != nil)
    encoder.put(expires ?? 0)
    encoder.put(isHistoryOnly)
    encoder.put(innerRuns)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init(
      arguments: try decoder.byteStrings(), directory: try decoder.path(), mount: try decoder.path(),
      environmentNames: try decoder.paths(), environmentDigests: try decoder.list(), observations: try decoder.list(),
      values: try decoder.list(), conditions: try decoder.list(), input: try decoder.optional(),
      outputs: try decoder.list(), transcript: try decoder.value(), exitStatus: try decoder.byte(),
      duration: try decoder.int64(), parent: try decoder.optional())
    // Records of before there was more end here.
    if decoder.isAtEnd { return }
    let expires = try decoder.bool()
    let time = try decoder.int64()
    self.expires = expires ? time : nil
    isHistoryOnly = try decoder.bool()
    if decoder.isAtEnd { return }
    innerRuns = try decoder.list()
  }
}
