import CasherSystem

/// The cache's directory: blobs by content, runs in SQLite. Used by many threads, and by many processes at once.
///
/// A store does not survive fork(2): open it in the process that uses it.
public final class Store: Sendable {
  public let directory: FilePath
  public let options: StoreOptions

  /// Opens the store at `path`, an absolute path, and makes it first where there is none: the directory and its parents,
  /// mode 0700.
  public static func open(at path: FilePath, options: StoreOptions = StoreOptions()) throws(StoreError) -> Store {
    fatalError()
  }
  init(directory: FilePath, options: StoreOptions) { self.directory = directory; self.options = options }

  /// Where one mount keeps its socket, journal and log; made when it is not there.
  public func mountsDirectory(_ id: String) throws(StoreError) -> FilePath { fatalError() }

  /// Writes what is only remembered so far (hits, counters, digests, blobs' rows) and waits until it is done, an automatic
  /// eviction included.
  public func flush() throws(StoreError) { fatalError() }

  /// As `flush`, then has the operating system write everything to the disk.
  public func synchronize() throws(StoreError) { fatalError() }

  /// Flushes and lets go of everything. No other call may be made afterwards.
  public func close() { fatalError() }
}

// MARK: blobs
extension Store {
  /// Stores bytes. They are there for every process once `flush()` or `insert` has been called.
  public func putBlob(_ bytes: [UInt8]) throws(StoreError) -> Digest { fatalError() }
  /// Stores a file's whole content, read once from its begin whatever the descriptor's position; shares the extents where
  /// the filesystem can. Throws `.sourceChanged` when the file shrinks meanwhile.
  public func putBlob(from file: FileDescriptor) throws(StoreError) -> (digest: Digest, size: Int64) { fatalError() }
  /// Whether the blob is there as far as looking at its file tells (size and times, not content).
  public func hasBlob(_ digest: Digest) throws(StoreError) -> Bool { fatalError() }
  /// The size of the content in bytes; nil when there is no such blob.
  public func blobSize(_ digest: Digest) throws(StoreError) -> Int64? { fatalError() }
  /// A descriptor to read the blob's plain content from, at position 0. The caller closes it. It stays readable when the
  /// blob is evicted.
  public func openBlob(_ digest: Digest) throws(StoreError) -> FileDescriptor { fatalError() }
  /// The whole content; throws `.tooLarge` for more than `limit` bytes.
  public func blobBytes(_ digest: Digest, limit: Int64 = 1 << 30) throws(StoreError) -> [UInt8] { fatalError() }
  /// The run's blobs that are missing or have not the size they should have: looks at each file, opens none. A hit may be
  /// given only when this is empty.
  public func unusableBlobs(of run: Digest) throws(StoreError) -> [Digest] { fatalError() }
}

// MARK: pins
extension Store {
  /// Keeps a stored run's blobs from eviction, by any process, until `unpin(run:for:)`; survives crashes. One row, whatever
  /// the number of blobs. Throws `.missingBlob` when the run is no longer stored.
  public func pin(run: Digest, for owner: String) throws(StoreError) { fatalError() }
  public func unpin(run: Digest, for owner: String) throws(StoreError) { fatalError() }
  /// Keeps blobs, each counted, until `unpin(blobs:for:)` was called as often. Throws `.missingBlob` for one that is not there.
  public func pin(blobs: [Digest], for owner: String) throws(StoreError) { fatalError() }
  public func unpin(blobs: [Digest], for owner: String) throws(StoreError) { fatalError() }
  public func unpinAll(for owner: String) throws(StoreError) { fatalError() }
  /// Everyone who holds pins.
  public func pinOwners() throws(StoreError) -> [String] { fatalError() }
}

// MARK: runs
extension Store {
  /// Stores a run, its path set and the rows of the blobs it names in one transaction, in place of a run with the same
  /// strong key and condition key. Throws `.missingBlob` when a blob is not there.
  public func insert(_ run: StoredRun, pathSetBody: [UInt8]) throws(StoreError) { fatalError() }
  /// The path sets known under a weak key, most recently used first.
  public func pathSets(weakKey: Digest, limit: Int = .max) throws(StoreError) -> [(digest: Digest, body: [UInt8])] {
    fatalError()
  }
  /// As `pathSets`, without the bodies: for callers that keep decoded path sets.
  public func pathSetDigests(weakKey: Digest, limit: Int = .max) throws(StoreError) -> [Digest] { fatalError() }
  public func pathSetBody(_ digest: Digest) throws(StoreError) -> [UInt8]? { fatalError() }
  /// The runs of a strong key with their bodies and blobs, most recently used first.
  public func runs(strongKey: Digest, limit: Int = .max) throws(StoreError) -> [StoredRun] { fatalError() }
  /// The runs of a weak key with their bodies and blobs, most recently used first.
  public func runs(weakKey: Digest, limit: Int = 16) throws(StoreError) -> [StoredRun] { fatalError() }
  /// Records a hit on a run: its place in the order of eviction, and its count. Cheap; written with the next flush.
  public func touch(_ run: Digest) { fatalError() }
  public func run(_ id: Digest) throws(StoreError) -> StoredRun? { fatalError() }
  /// Newest first, without blobs; with bodies when asked for.
  public func runs(matching filter: RunFilter, withBodies: Bool = false) throws(StoreError) -> [StoredRun] {
    fatalError()
  }
  /// The ids that begin with these hexadecimal digits, newest first, at most `limit`.
  public func runs(idPrefix: String, limit: Int = 2) throws(StoreError) -> [Digest] { fatalError() }
  /// Removes a run and the blobs that only it named; false when there is none.
  @discardableResult public func remove(run: Digest) throws(StoreError) -> Bool { fatalError() }
}

// MARK: digests of files
extension Store {
  /// The digest that was remembered for this file in this state; nil when unknown.
  public func cachedDigest(_ status: FileStatus) -> Digest? { fatalError() }
  /// Remembers a file's digest. The caller makes sure that the file was not changed within the clock's granularity of being
  /// digested: that `status` was the same before and after, and its `changed` lies safely before the reading began.
  public func rememberDigest(_ digest: Digest, of status: FileStatus) { fatalError() }
}

// MARK: counters and eviction
extension Store {
  public func count(_ event: Event) { fatalError() }
  public func statistics() throws(StoreError) -> Statistics { fatalError() }
  /// Removes least recently used runs until at most `maxBytes` are stored, and those not used since `olderThan` (nanoseconds
  /// since 1970); then what nothing names any more.
  public func evict(
    maxBytes: Int64? = nil, olderThan: Int64? = nil, dryRun: Bool = false
  ) throws(StoreError) -> EvictionReport { fatalError() }
  /// Reads everything and compares it with what it should be; with `repair` drops what cannot be trusted.
  public func verify(
    repair: Bool = false, progress: ((_ done: Int64, _ total: Int64) -> Void)? = nil
  ) throws(StoreError) -> VerificationReport { fatalError() }
  /// `open` and `verify`, for a store whose database may be damaged so that it cannot be opened: with `repair` the
  /// damaged one is moved aside and a new one begun that adopts every blob that is still right.
  public static func verify(
    at path: FilePath, options: StoreOptions = StoreOptions(), repair: Bool,
    progress: ((_ done: Int64, _ total: Int64) -> Void)? = nil
  ) throws(StoreError) -> VerificationReport { fatalError() }
}

public struct EvictionReport: Hashable, Sendable {
  /// Runs removed, or that would be removed.
  public var runs: [Digest] = []
  public var blobs: Int64 = 0
  /// Bytes of `Statistics.storedBytes` given back.
  public var freedBytes: Int64 = 0
  /// What is stored afterwards.
  public var storedBytes: Int64 = 0
  /// Runs that would have gone but are pinned.
  public var pinnedRuns: Int64 = 0
  public var isDryRun: Bool = false
  public init() {}
}

public struct VerificationReport: Hashable, Sendable {
  public enum Problem: Hashable, Sendable {
    case missingBlob(Digest)
    case truncatedBlob(Digest)
    case corruptBlob(Digest)
    /// A file in the store that nothing knows.
    case orphan(FilePath)
    /// A run that names blobs that cannot be had, or that cannot be decoded.
    case brokenRun(Digest)
    case damagedPathSet(Digest)
    /// The database itself; SQLite's words.
    case database(String)
    /// A count or a sum that is not what it should be.
    case miscount(String)
  }
  public var problems: [Problem] = []
  public var checkedBlobs: Int64 = 0
  public var checkedRuns: Int64 = 0
  public var checkedBytes: Int64 = 0
  /// What was dropped or mended.
  public var repaired: Int64 = 0
  public init() {}
  public var isSound: Bool { problems.isEmpty }
}
