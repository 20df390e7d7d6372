import CasherSystem

/// The sums that triggers keep up to date, so that nobody has to walk the tables for them.
struct Totals {
  var runs: Int64 = 0
  var blobs: Int64 = 0
  var blobBytes: Int64 = 0
  var logicalBytes: Int64 = 0
  var inflatedBytes: Int64 = 0
  var recordBytes: Int64 = 0

  /// What counts toward the limit.
  var stored: Int64 { blobBytes &+ inflatedBytes &+ recordBytes }

  init(_ connection: Connection) throws(StoreError) {
    try connection.query(
      "SELECT runs, blobs, blob_bytes, logical_bytes, inflated_bytes, record_bytes FROM totals", []
    ) { row in
      runs = row.integer(0)
      blobs = row.integer(1)
      blobBytes = row.integer(2)
      logicalBytes = row.integer(3)
      inflatedBytes = row.integer(4)
      recordBytes = row.integer(5)
      return false
    }
  }
}

extension Store {
  private static let uncacheable = "uncacheable:"

  /// Counts an event; written soon, and with the next flush at the latest.
  public func count(_ event: Event) {
    if options.isReadOnly { return }
    pending.withLock { pending in
      switch event {
      case .hit(let saved):
        pending.counters["hits", default: 0] &+= 1
        pending.counters["saved", default: 0] &+= max(0, saved)
      case .miss: pending.counters["misses", default: 0] &+= 1
      case .uncacheable(let code): pending.counters[Store.uncacheable + code, default: 0] &+= 1
      case .error: pending.counters["errors", default: 0] &+= 1
      }
    }
    wakeWorker()
  }

  /// What all processes counted, as far as they have flushed it, and this one's latest.
  public func statistics() throws(StoreError) -> Statistics {
    var result = Statistics()
    result.limitBytes = options.limit
    // Between two flushes nothing is counted twice or not at all, for a flush takes and writes under the writer's lock.
    let counters = try database.readTransaction { connection throws(StoreError) in
      let totals = try Totals(connection)
      result.entries = totals.runs
      result.blobs = totals.blobs
      result.storedBytes = totals.stored
      result.logicalBytes = totals.logicalBytes
      result.inflatedBytes = totals.inflatedBytes
      return try connection.all("SELECT name, value FROM counters") { ($0.text(0), $0.integer(1)) }
    }
    for (name, value) in counters + pending.withLock({ Array($0.counters) }).map({ ($0.key, $0.value) }) {
      switch name {
      case "hits": result.hits &+= value
      case "misses": result.misses &+= value
      case "errors": result.errors &+= value
      case "saved": result.saved &+= value
      default:
        guard name.hasPrefix(Store.uncacheable) else { continue }
        result.uncacheableByCode[String(name.dropFirst(Store.uncacheable.count)), default: 0] &+= value
      }
    }
    return result
  }
}
