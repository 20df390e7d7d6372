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
    let run = StoredRun(
      id: id, weakKey: weakKey, pathSet: digest, strongKey: strongKey, conditionKey: record.conditionKey,
      created: created, lastUsed: created, duration: record.duration, exitStatus: record.exitStatus,
      command: Array(CommandText.make(record.arguments).utf8), directory: record.directory, mount: record.mount,
      parent: record.parent, outputBytes: record.outputBytes, inputCount: Int64(record.observations.count),
      outputCount: Int64(record.outputs.count), tags: tags, body: record.encoded, blobs: Array(record.blobs))
    return (run, body)
  }
}
