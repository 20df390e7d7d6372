import CasherRecord
import CasherStore
import CasherSystem

extension RunRecord {
  /// Digest of the state that the run found what it then made in, and of its standard input: with the strong key, what
  /// tells runs apart of which one does not take the place of the other.
  public var conditionKey: Digest {
    var encoder = ByteEncoder()
    encoder.put(each: conditions) { encoder, condition in
      encoder.put(condition.observation)
      encoder.put(condition.before)
    }
    encoder.put(input)
    return SHA256.digest(of: encoder.bytes)
  }

  /// Bytes of all files that the run left.
  public var outputBytes: Int64 {
    outputs.reduce(into: 0) { sum, output in if case .file(_, let size, _) = output.content { sum &+= size } }
  }
}

extension StoredRun {
  /// A run as the store is to keep it, with the encoding of its path set. Everything that follows from the record is
  /// taken from it.
  public static func make(
    _ record: RunRecord, id: Digest, weakKey: Digest, created: Int64, tags: [Tag]
  ) -> (run: StoredRun, pathSetBody: [UInt8]) {
    let pathSet = PathSet(record.observations)
    let body = pathSet.encoded
    let digest = SHA256.digest(of: body)
    let strongKey = SHA256.digest(
      of: RunRecord.strongKeyBytes(weakKey: weakKey, pathSet: digest, values: record.values))
    var run = StoredRun(
      id: id, weakKey: weakKey, pathSet: digest, strongKey: strongKey, conditionKey: record.conditionKey,
      created: created, lastUsed: created, duration: record.duration, exitStatus: record.exitStatus,
      command: Array(CommandText.make(record.arguments).utf8), directory: record.directory, mount: record.mount,
      parent: record.parent, outputBytes: record.outputBytes, inputCount: Int64(record.observations.count),
      outputCount: Int64(record.outputs.count), tags: tags, body: record.encoded, blobs: Array(record.blobs))
    run.outputKeys = record.outputs.map { outputKey($0.path, in: record.mount) }
    run.innerRuns = record.innerRuns
    return (run, body)
  }

  /// What `Store.runs(leaving:)` finds a path by: as in `Output`, relative to the mount's root inside, absolute outside.
  public static func outputKey(_ path: FilePath, in mount: FilePath) -> Int64 {
    let bytes = path.isAbsolute ? path.bytes : mount.bytes + [0] + path.bytes
    return Int64(bitPattern: SHA256.digest(of: bytes).words.0)
  }
}
