import CasherSystem

extension MountAnswer: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(ProtocolVersion.current)
    encoder.put(socket)
    encoder.put(mount)
    encoder.put(directory)
    encoder.put(view)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    guard try decoder.uint32() == ProtocolVersion.current else {
      throw DecodingFailure("the mount is served by another version of casherfs")
    }
    self.init(
      socket: try decoder.path(), mount: try decoder.path(), directory: try decoder.path(), view: try decoder.path())
  }
}

extension StandardInput: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    switch self {
    case .none: encoder.put(0 as UInt8)
    case .file(let offset):
      encoder.put(1 as UInt8)
      encoder.put(offset)
    case .pipe: encoder.put(2 as UInt8)
    }
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    switch try decoder.byte() {
    case 0: self = .none
    case 1: self = .file(offset: try decoder.int64())
    case 2: self = .pipe
    default: throw DecodingFailure("unknown kind of standard input")
    }
  }
}

extension CallOptions: ByteCodable {
  private static let flags: [WritableKeyPath<CallOptions, Bool> & Sendable] = [
    \.force, \.noStore, \.explain, \.strict, \.verbose, \.cacheFailures, \.allowNetwork, \.relocatable, \.check,
    \.observeTimes, \.dryRun, \.synchronous, \.noCache, \.readOnly,
  ]

  public func encode(to encoder: inout ByteEncoder) {
    for flag in CallOptions.flags { encoder.put(self[keyPath: flag]) }
    encoder.put(outsideWrites.rawValue)
    encoder.put(outside.rawValue)
    encoder.put(environmentAdded)
    encoder.put(environmentIgnored)
    encoder.put(environmentOnly != nil)
    encoder.put(environmentOnly ?? [])
    encoder.put(ignored)
    encoder.put(extras)
    encoder.put(tags)
    encoder.put(timeToLive != nil)
    encoder.put(timeToLive ?? 0)
    encoder.put(restore.rawValue)
    encoder.put(inputs)
    encoder.put(inputPattern != nil)
    encoder.put(inputPattern ?? [])
    encoder.put(outputRoots)
    encoder.put(each: ignoredArguments) { $0.put($1) }
    encoder.put(timeLimit != nil)
    encoder.put(timeLimit ?? 0)
    encoder.put(retries)
    encoder.put(given)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init()
    for flag in CallOptions.flags { self[keyPath: flag] = try decoder.bool() }
    guard let writes = OutsideWrites(rawValue: try decoder.byte()),
      let policy = OutsidePolicy(rawValue: try decoder.byte())
    else { throw DecodingFailure("unknown policy for paths outside the mount") }
    outsideWrites = writes
    outside = policy
    environmentAdded = try decoder.paths()
    environmentIgnored = try decoder.paths()
    let only = try decoder.bool()
    let names = try decoder.paths()
    environmentOnly = only ? names : nil
    ignored = try decoder.paths()
    extras = try decoder.byteStrings()
    tags = try decoder.byteStrings()
    let expires = try decoder.bool()
    let time = try decoder.int64()
    timeToLive = expires ? time : nil
    guard let restore = Restore(rawValue: try decoder.byte()) else {
      throw DecodingFailure("unknown policy for the files of a hit")
    }
    self.restore = restore
    inputs = try decoder.paths()
    let isFiltered = try decoder.bool()
    let pattern = try decoder.byteString()
    inputPattern = isFiltered ? pattern : nil
    outputRoots = try decoder.paths()
    ignoredArguments = try decoder.list { decoder throws(DecodingFailure) in try decoder.uint32() }
    let isLimited = try decoder.bool()
    let limit = try decoder.int64()
    timeLimit = isLimited ? limit : nil
    retries = try decoder.uint32()
    given = try decoder.paths()
  }
}

extension CallRequest: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(version)
    encoder.put(arguments)
    encoder.put(directory)
    encoder.put(mount)
    encoder.put(parentView)
    encoder.put(environment)
    encoder.put(umask)
    encoder.put(input)
    encoder.put(isTraced)
    encoder.put(options)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    guard try decoder.uint32() == ProtocolVersion.current else {
      throw DecodingFailure("acache and casherfs are of different versions")
    }
    self.init(
      arguments: try decoder.byteStrings(), directory: try decoder.path(), mount: try decoder.path(),
      parentView: try decoder.path(), environment: try decoder.byteStrings(), umask: try decoder.uint32(),
      input: try decoder.value(), isTraced: try decoder.bool(), options: try decoder.value())
  }
}

extension HitReply: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(run)
    encoder.put(exitStatus)
    encoder.put(segments)
    encoder.put(inlineTranscript != nil)
    encoder.put(inlineTranscript ?? [])
    encoder.put(consume)
    encoder.put(duration)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    let run = try decoder.digest()
    let status = try decoder.byte()
    let segments: [StreamSegment] = try decoder.list()
    let isInline = try decoder.bool()
    let bytes = try decoder.byteString()
    self.init(
      run: run, exitStatus: status, segments: segments, inlineTranscript: isInline ? bytes : nil,
      consume: try decoder.uint64(), duration: try decoder.int64())
  }
}

extension RunReply: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(view)
    encoder.put(run)
    encoder.put(outside.rawValue)
    encoder.put(outsideIgnored)
    encoder.put(each: messages) { $0.put($1) }
    encoder.put(environmentOnly != nil)
    encoder.put(environmentOnly ?? [])
    encoder.put(timeLimit != nil)
    encoder.put(timeLimit ?? 0)
    encoder.put(retries)
    encoder.put(reason)
    encoder.put(hasRoot)
    encoder.put(isWatcher)
    encoder.put(keptPaths)
    encoder.put(rootObstacle)
    encoder.put(isWithinRun)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    let view = try decoder.path()
    let run = try decoder.digest()
    guard let outside = CallOptions.OutsidePolicy(rawValue: try decoder.byte()) else {
      throw DecodingFailure("unknown policy for paths outside the mount")
    }
    self.init(
      view: view, run: run, outside: outside, outsideIgnored: try decoder.paths(),
      messages: try decoder.list { decoder throws(DecodingFailure) in try decoder.string() })
    let isFiltered = try decoder.bool()
    let names = try decoder.paths()
    environmentOnly = isFiltered ? names : nil
    let isLimited = try decoder.bool()
    let limit = try decoder.int64()
    timeLimit = isLimited ? limit : nil
    retries = try decoder.uint32()
    reason = try decoder.string()
    hasRoot = try decoder.bool()
    isWatcher = try decoder.bool()
    keptPaths = try decoder.paths()
    rootObstacle = try decoder.string()
    isWithinRun = try decoder.bool()
  }
}

extension FinishReport: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    encoder.put(waitStatus)
    encoder.put(segments)
    encoder.put(duration)
    encoder.put(accesses)
    encoder.put(obstacles)
    encoder.put(leftProcesses)
    encoder.put(consumed)
    encoder.put(reachedInputEnd)
    encoder.put(hadRoot)
    encoder.put(outputFiles)
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    self.init(
      waitStatus: try decoder.int32(), segments: try decoder.list(), duration: try decoder.int64(),
      accesses: try decoder.list(), obstacles: try decoder.list(), leftProcesses: try decoder.bool(),
      consumed: try decoder.uint64(), reachedInputEnd: try decoder.bool())
    hadRoot = try decoder.bool()
    outputFiles = try decoder.paths()
  }
}

extension CallerMessage: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    switch self {
    case .call(let request):
      encoder.put(1 as UInt8)
      encoder.put(request)
    case .input(let bytes, let isEnd):
      encoder.put(2 as UInt8)
      encoder.put(bytes)
      encoder.put(isEnd)
    case .started(let process):
      encoder.put(3 as UInt8)
      encoder.put(process)
    case .traced(let process, let accesses, let obstacles):
      encoder.put(4 as UInt8)
      encoder.put(process)
      encoder.put(accesses)
      encoder.put(obstacles)
    case .finished(let report):
      encoder.put(5 as UInt8)
      encoder.put(report)
    case .control(let request):
      encoder.put(6 as UInt8)
      encoder.put(request)
    case .withoutView(let reason):
      encoder.put(7 as UInt8)
      encoder.put(reason)
    }
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    switch try decoder.byte() {
    case 1: self = .call(try decoder.value())
    case 2: self = .input(try decoder.byteString(), isEnd: try decoder.bool())
    case 3: self = .started(process: try decoder.int32())
    case 4: self = .traced(process: try decoder.int32(), accesses: try decoder.list(), obstacles: try decoder.list())
    case 5: self = .finished(try decoder.value())
    case 6: self = .control(try decoder.string())
    case 7: self = .withoutView(reason: try decoder.string())
    default: throw DecodingFailure("unknown message")
    }
  }
}

extension DaemonMessage: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    switch self {
    case .hit(let reply):
      encoder.put(1 as UInt8)
      encoder.put(reply)
    case .run(let reply):
      encoder.put(2 as UInt8)
      encoder.put(reply)
    case .plain(let reason):
      encoder.put(3 as UInt8)
      encoder.put(reason)
    case .wantInput(let count):
      encoder.put(4 as UInt8)
      encoder.put(count)
    case .traceWanted(let process):
      encoder.put(5 as UInt8)
      encoder.put(process)
    case .recorded(let reason, let lines):
      encoder.put(6 as UInt8)
      encoder.put(reason)
      encoder.put(each: lines) { $0.put($1) }
    case .answer(let lines, let status):
      encoder.put(7 as UInt8)
      encoder.put(each: lines) { $0.put($1) }
      encoder.put(status)
    case .proceed: encoder.put(8 as UInt8)
    case .phase(let word):
      encoder.put(9 as UInt8)
      encoder.put(word)
    }
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    switch try decoder.byte() {
    case 8: self = .proceed
    case 9: self = .phase(try decoder.string())
    case 1: self = .hit(try decoder.value())
    case 2: self = .run(try decoder.value())
    case 3: self = .plain(try decoder.string())
    case 4: self = .wantInput(count: try decoder.uint64())
    case 5: self = .traceWanted(process: try decoder.int32())
    case 6:
      self = .recorded(
        uncacheable: try decoder.optional(),
        lines: try decoder.list { decoder throws(DecodingFailure) in try decoder.string() })
    case 7:
      self = .answer(
        lines: try decoder.list { decoder throws(DecodingFailure) in try decoder.string() }, status: try decoder.byte())
    default: throw DecodingFailure("unknown message")
    }
  }
}
