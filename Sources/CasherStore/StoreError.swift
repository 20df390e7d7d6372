import CasherSystem

/// What went wrong in the store, where, and what to do about it.
public struct StoreError: Error, Hashable, Sendable {
  /// What kind of failure it is; a caller decides by this alone.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    private enum Value: String {
      case noSpace, readOnly, permission, notOwned, notDirectory, newerFormat, olderFormat, foreignFile,
        corruptDatabase, noLocks
      case busy, vanished, missingBlob, truncatedBlob, corruptBlob, tooLarge, sourceChanged, damagedRecord,
        invalidSetting
      case inputOutput
    }
    private let value: Value

    /// The disk, the quota or the filesystem is full.
    public static let noSpace = Code(value: .noSpace)
    /// The store was opened for reading, or its filesystem is read-only.
    public static let readOnly = Code(value: .readOnly)
    public static let permission = Code(value: .permission)
    /// The store's directory belongs to another user.
    public static let notOwned = Code(value: .notOwned)
    public static let notDirectory = Code(value: .notDirectory)
    /// A newer Casher wrote the store.
    public static let newerFormat = Code(value: .newerFormat)
    /// An older Casher wrote the store, and it was opened for reading only, so that it cannot be brought up to date.
    public static let olderFormat = Code(value: .olderFormat)
    /// The database is not one of Casher's.
    public static let foreignFile = Code(value: .foreignFile)
    public static let corruptDatabase = Code(value: .corruptDatabase)
    /// The filesystem does not lock files as the database needs it.
    public static let noLocks = Code(value: .noLocks)
    /// Another process held the database's lock for too long.
    public static let busy = Code(value: .busy)
    /// The store's directory is no longer there.
    public static let vanished = Code(value: .vanished)
    /// The store does not have the blob, or its file is gone.
    public static let missingBlob = Code(value: .missingBlob)
    /// The blob's file has not the size that it should have.
    public static let truncatedBlob = Code(value: .truncatedBlob)
    /// The blob's content has not its digest.
    public static let corruptBlob = Code(value: .corruptBlob)
    /// More than the caller's limit, or more than the store may hold.
    public static let tooLarge = Code(value: .tooLarge)
    /// A file changed while it was being stored.
    public static let sourceChanged = Code(value: .sourceChanged)
    /// A row of the database cannot be decoded.
    public static let damagedRecord = Code(value: .damagedRecord)
    /// A size, a level or a mode that cannot be understood.
    public static let invalidSetting = Code(value: .invalidSetting)
    /// Any other failure of reading or writing.
    public static let inputOutput = Code(value: .inputOutput)

    public var description: String { value.rawValue }
  }

  public var code: Code
  /// The file or directory concerned; the store's directory when it is the database.
  public var path: FilePath
  /// The system's reason, where there is one.
  public var cause: Errno?
  /// SQLite's reason, or what was found instead of what was expected.
  public var detail: String?

  public init(_ code: Code, _ path: FilePath, cause: Errno? = nil, detail: String? = nil) {
    self.code = code
    self.path = path
    self.cause = cause
    self.detail = detail
  }

  /// Whether it is the blob that cannot be had, and not the store that cannot be used: a miss.
  public var isAboutOneBlob: Bool {
    code == .missingBlob || code == .truncatedBlob || code == .corruptBlob
  }
}

extension StoreError: CustomStringConvertible {
  /// One sentence: what is wrong, and what to do where something can be done.
  public var description: String {
    switch code {
    case .noSpace:
      "no space is left for the cache in \(path)\(reason); free some, or run casherfs evict --max-size SIZE"
    case .readOnly: "the cache in \(path) cannot be written\(reason); set CASHER_CACHE_DIR to a directory that can"
    case .permission: "the cache in \(path) may not be used\(reason); set CASHER_CACHE_DIR to a directory of your own"
    case .notOwned:
      "the cache directory \(path) belongs to \(detail ?? "another user"); "
        + "set CASHER_CACHE_DIR to a directory of your own"
    case .notDirectory: "the cache directory \(path) is not a directory; remove it or set CASHER_CACHE_DIR"
    case .newerFormat:
      "the cache in \(path) was written by a newer Casher\(reason); "
        + "use that one, or set CASHER_CACHE_DIR to another directory"
    case .olderFormat:
      "the cache in \(path) was written by an older Casher\(reason); open it once where it can be written"
    case .foreignFile: "\(path) is not a database of Casher\(reason); move it away or set CASHER_CACHE_DIR"
    case .corruptDatabase: "the cache in \(path) is damaged\(reason); run casherfs verify --store --repair"
    case .noLocks:
      "the filesystem of \(path) does not lock files as the cache needs it\(reason); "
        + "set CASHER_CACHE_DIR to a local directory, or CASHER_JOURNAL_MODE=delete where one machine alone uses it"
    case .busy: "the cache in \(path) was locked by another process for too long\(reason); try again"
    case .vanished: "the cache directory \(path) is gone\(reason); mount again to start a new one"
    case .missingBlob: "\(path) is missing from the cache\(reason)"
    case .truncatedBlob: "\(path) in the cache has the wrong size\(reason); run casherfs verify --store --repair"
    case .corruptBlob: "\(path) in the cache is damaged\(reason); run casherfs verify --store --repair"
    case .tooLarge: "\(path) is larger than allowed\(reason)"
    case .sourceChanged: "\(path) changed while it was being stored\(reason)"
    case .damagedRecord: "a record of the cache in \(path) is damaged\(reason); run casherfs verify --store --repair"
    case .invalidSetting: "\(detail ?? "a setting of the cache cannot be understood")"
    default: "the cache in \(path) could not be read or written\(reason)"
    }
  }

  private var reason: String {
    let words = [detail, cause?.description].compactMap { $0 }
    return words.isEmpty ? "" : " (\(words.joined(separator: ": ")))"
  }
}
