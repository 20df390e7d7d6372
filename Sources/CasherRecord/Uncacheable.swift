import CasherSystem

/// Why a run's result was not stored.
public enum Uncacheable: Error, Hashable, Sendable {
  case inputChanged(FilePath)
  case signalled(Int32)
  case failed(UInt8)
  case network(String)
  case backgroundProcess
  case specialFile(FilePath)
  case outsideWriteRefused(FilePath)
  /// A file outside the mount was changed where its former content mattered and could not be had.
  case outsideUpdate(FilePath)
  case tracerUnavailable(String)
  /// The tracer saw something that it cannot follow (io_uring, a set-uid program).
  case outsideUnobserved(String)
  case tooLarge(bytes: Int64)
  case inputUnreadable(FilePath, Int32)
  case storeFailed(String)
  case standardInput
  /// The command was still writing to the mount when it ended.
  case stillWriting(FilePath)
  /// A nested run could not be followed.
  case nested(String)
  case notAsked
  /// A file that the command's stdout or stderr is was not only written from where it stood to its end.
  case outputNotSequential
  /// The command changed or moved a file that has further names, and no name that the record could speak of is left.
  case linkedElsewhere(FilePath)
  /// A descriptor that the command was given besides its standard streams was used, or nobody can tell.
  case inheritedDescriptor(Int32)
  /// The command took longer than `--timeout` allows, in nanoseconds, and was ended.
  case timedOut(Int64)

  /// A short stable word for statistics and JSON.
  public var code: String {
    switch self {
    case .inputChanged: "input-changed"
    case .signalled: "signalled"
    case .failed: "failed"
    case .network: "network"
    case .backgroundProcess: "background-process"
    case .specialFile: "special-file"
    case .outsideWriteRefused: "outside-write"
    case .outsideUpdate: "outside-update"
    case .tracerUnavailable: "tracer-unavailable"
    case .outsideUnobserved: "outside-unobserved"
    case .tooLarge: "too-large"
    case .inputUnreadable: "input-unreadable"
    case .storeFailed: "store-failed"
    case .standardInput: "standard-input"
    case .stillWriting: "still-writing"
    case .nested: "nested"
    case .notAsked: "no-store"
    case .outputNotSequential: "output-not-sequential"
    case .linkedElsewhere: "linked-elsewhere"
    case .timedOut: "timed-out"
    case .inheritedDescriptor: "inherited-descriptor"
    }
  }

  /// One sentence for people.
  public var sentence: String {
    switch self {
    case .inputChanged(let path): "\(path) was changed by another process while the command ran"
    case .signalled(let signal): "the command was ended by signal \(signal)"
    case .failed(let status): "the command exited with status \(status) (--cache-failures would store it)"
    case .network(let address): "the command connected to \(address) (--allow-network lifts this)"
    case .backgroundProcess: "the command left a process running in the background"
    case .specialFile(let path): "the command created \(path), which is a device or a socket"
    case .outsideWriteRefused(let path):
      "the command wrote \(path), outside the mount, and --outside-writes=refuse was given"
    case .outsideUpdate(let path): "the command updated \(path), outside the mount, in place"
    case .tracerUnavailable(let reason):
      "what the command reads outside the mount cannot be seen: \(reason) (--outside=trust takes it for unchanging)"
    case .outsideUnobserved(let reason): "not everything outside the mount could be seen: \(reason)"
    case .tooLarge(let bytes): "the result's \(bytes) bytes are more than the cache may hold"
    case .inputUnreadable(let path, let error): "\(path) could not be read: \(Errno(rawValue: error))"
    case .storeFailed(let reason): "the result could not be stored: \(reason)"
    case .standardInput: "the command's standard input could not be observed"
    case .stillWriting(let path): "\(path) was still open for writing when the command ended"
    case .nested(let reason): "a nested call could not be followed: \(reason)"
    case .notAsked: "--no-store was given"
    case .outputNotSequential:
      "the file that takes the command's output was also used in another way than writing on at its end"
    case .linkedElsewhere(let path):
      "\(path) is a hard link, and the command's change of it shows under a name that it did not use"
    case .inheritedDescriptor(let number):
      "what the command reads from or writes to descriptor \(number), which it was given open, cannot be observed"
    case .timedOut(let limit): "the command was ended after \(Quantity.duration(limit)), as --timeout says"
    }
  }
}

extension Uncacheable: ByteCodable {
  public func encode(to encoder: inout ByteEncoder) {
    switch self {
    case .inputChanged(let path): encoder.put(1 as UInt8); encoder.put(path)
    case .signalled(let signal): encoder.put(2 as UInt8); encoder.put(signal)
    case .failed(let status): encoder.put(3 as UInt8); encoder.put(status)
    case .network(let address): encoder.put(4 as UInt8); encoder.put(address)
    case .backgroundProcess: encoder.put(5 as UInt8)
    case .specialFile(let path): encoder.put(6 as UInt8); encoder.put(path)
    case .outsideWriteRefused(let path): encoder.put(7 as UInt8); encoder.put(path)
    case .outsideUpdate(let path): encoder.put(8 as UInt8); encoder.put(path)
    case .tracerUnavailable(let reason): encoder.put(9 as UInt8); encoder.put(reason)
    case .outsideUnobserved(let reason): encoder.put(10 as UInt8); encoder.put(reason)
    case .tooLarge(let bytes): encoder.put(11 as UInt8); encoder.put(bytes)
    case .inputUnreadable(let path, let error): encoder.put(12 as UInt8); encoder.put(path); encoder.put(error)
    case .storeFailed(let reason): encoder.put(13 as UInt8); encoder.put(reason)
    case .standardInput: encoder.put(14 as UInt8)
    case .stillWriting(let path): encoder.put(15 as UInt8); encoder.put(path)
    case .nested(let reason): encoder.put(16 as UInt8); encoder.put(reason)
    case .notAsked: encoder.put(17 as UInt8)
    case .outputNotSequential: encoder.put(18 as UInt8)
    case .linkedElsewhere(let path): encoder.put(20 as UInt8); encoder.put(path)
    case .timedOut(let limit): encoder.put(19 as UInt8); encoder.put(limit)
    case .inheritedDescriptor(let number): encoder.put(21 as UInt8); encoder.put(number)
    }
  }

  public init(from decoder: inout ByteDecoder) throws(DecodingFailure) {
    switch try decoder.byte() {
    case 1: self = .inputChanged(try decoder.path())
    case 2: self = .signalled(try decoder.int32())
    case 3: self = .failed(try decoder.byte())
    case 4: self = .network(try decoder.string())
    case 5: self = .backgroundProcess
    case 6: self = .specialFile(try decoder.path())
    case 7: self = .outsideWriteRefused(try decoder.path())
    case 8: self = .outsideUpdate(try decoder.path())
    case 9: self = .tracerUnavailable(try decoder.string())
    case 10: self = .outsideUnobserved(try decoder.string())
    case 11: self = .tooLarge(bytes: try decoder.int64())
    case 12: self = .inputUnreadable(try decoder.path(), try decoder.int32())
    case 13: self = .storeFailed(try decoder.string())
    case 14: self = .standardInput
    case 15: self = .stillWriting(try decoder.path())
    case 16: self = .nested(try decoder.string())
    case 17: self = .notAsked
    case 18: self = .outputNotSequential
    case 20: self = .linkedElsewhere(try decoder.path())
    case 19: self = .timedOut(try decoder.int64())
    case 21: self = .inheritedDescriptor(try decoder.int32())
    default: throw DecodingFailure("unknown reason")
    }
  }
}
