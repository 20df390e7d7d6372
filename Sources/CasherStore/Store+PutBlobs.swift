import CasherSystem

extension Store {
  /// Stores bytes. They are there for this process at once, for others once `flush()` or `insert` has been called.
  public func putBlob(_ bytes: [UInt8]) throws(StoreError) -> Digest {
    let ingest = try writableIngest()
    let outcome = bytes.withUnsafeBytes { bytes -> Result<BlobIngest.Outcome, StoreError> in
      do throws(StoreError) { return .success(try ingest.ingest(bytes, isKnown: isPresent)) } catch {
        return .failure(error)
      }
    }
    return try admit(try outcome.get()).digest
  }

  /// Stores a file's whole content, read once from its begin whatever the descriptor's position; shares the extents
  /// where the filesystem can. Throws `.sourceChanged` when the file becomes shorter meanwhile; that it is not written
  /// to is for the caller to know. Where its digest is known already, `hasBlob` first spares the reading.
  public func putBlob(from file: FileDescriptor) throws(StoreError) -> (digest: Digest, size: Int64) {
    try admit(try writableIngest().ingest(file, isKnown: isPresent))
  }

  /// Keeps a blob that is there for the run that is about to name it, as putting it again would. Throws `.missingBlob`
  /// when it is not there, or not as it was put.
  public func keepBlob(_ digest: Digest) throws(StoreError) {
    guard try hasBlob(digest), let size = try blobSize(digest) else { throw missing(digest) }
    _ = try admit(BlobIngest.Outcome(digest: digest, size: size, blob: nil))
  }

  private func writableIngest() throws(StoreError) -> BlobIngest {
    if options.isReadOnly { throw StoreError(.readOnly, directory) }
    return BlobIngest(layout: layout, options: options)
  }

  private func isPresent(_ digest: Digest) throws(StoreError) -> Bool { try hasBlob(digest) }

  private func admit(_ outcome: BlobIngest.Outcome) throws(StoreError) -> (digest: Digest, size: Int64) {
    let superfluous = pending.withLock { pending -> NewBlob? in
      guard let blob = outcome.blob else {
        if pending.blobs[outcome.digest] == nil { pending.reserved.insert(outcome.digest) }
        return nil
      }
      if pending.blobs[outcome.digest] != nil { return blob }
      pending.add(blob)
      return nil
    }
    if let superfluous, superfluous.form != .inline { layout.discard(superfluous.temporary) }
    if pending.withLock({ $0.isFull }) { try writePending() } else { wakeWorker() }
    return (outcome.digest, outcome.size)
  }
}
