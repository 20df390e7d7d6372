import CasherSystem

/// How a store is opened. The defaults are those of a user who has set nothing.
public struct StoreOptions: Hashable, Sendable {
  /// How SQLite keeps its transactions atomic. Only `.wal` lets readers and a writer go on side by side; the others are
  /// for filesystems without shared memory between processes.
  public enum JournalMode: String, Sendable, CaseIterable {
    case wal, delete, truncate, persist
  }

  /// What survives a loss of power.
  public enum Durability: String, Sendable, CaseIterable {
    /// The newest entries may be lost; what was not synced before is digested once before it is believed again.
    case fast
    /// Each blob and each transaction is on the disk before the call returns.
    case full
  }

  public var journalMode: JournalMode = .wal
  public var durability: Durability = .fast
  /// zstd's level for blobs that gain by it; nil stores everything as it is.
  public var compressionLevel: Int32? = 1
  /// Bytes; automatic eviction keeps the store below. `defaultLimit` when nothing is set.
  public var limit: Int64 = StoreOptions.defaultLimit
  /// Milliseconds to wait for another process's transaction.
  public var busyTimeout: Int32 = 30_000
  /// Only for reading: nothing is created, counted or evicted.
  public var isReadOnly: Bool = false

  /// 32 GiB.
  public static let defaultLimit: Int64 = 32 << 30

  public init() {}
}

extension Store {
  /// `$CASHER_CACHE_DIR`, else `$XDG_CACHE_HOME/casher`, else `~/.cache/casher`. Values that are empty do not count,
  /// nor does an `XDG_CACHE_HOME` that is not absolute (XDG Base Directory Specification). Nil when HOME is not set
  /// either.
  public static func defaultDirectory(environment: (String) -> FilePath?) -> FilePath? {
    if let path = environment("CASHER_CACHE_DIR"), !path.isEmpty { return path }
    if let path = environment("XDG_CACHE_HOME"), path.isAbsolute { return path.appending("casher") }
    if let path = environment("HOME"), path.isAbsolute { return path.appending(".cache/casher") }
    return nil
  }
}
