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
  static let uncacheablePrefix = "uncacheable:"
  fileprivate static let missPrefix = "miss:"
  private static let zeroPrefix = "zero:"

  /// Counts an event, of a call of `command` where it is known; written soon, and with the next flush at the latest.
  public func count(_ event: Event, command: [UInt8]? = nil) {
    if options.isReadOnly { return }
    pending.withLock { pending in
      var counts = CommandCounts()
      switch event {
      case .hit(let saved):
        pending.counters["hits", default: 0] &+= 1
        pending.counters["saved", default: 0] &+= max(0, saved)
        counts.hits = 1
        counts.saved = max(0, saved)
      case .miss(let reason):
        pending.counters["misses", default: 0] &+= 1
        if let reason { pending.counters[Store.missPrefix + reason, default: 0] &+= 1 }
        counts.misses = 1
      case .uncacheable(let code):
        pending.counters[Store.uncacheablePrefix + code, default: 0] &+= 1
        counts.uncacheable = 1
      case .error: pending.counters["errors", default: 0] &+= 1
      }
      guard let command, event != .error else { return }
      counts.used = Clock.now()
      pending.commands[Array(command.prefix(Store.commandLimit)), default: CommandCounts()] &+= counts
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
      result.blobBytes = totals.blobBytes
      result.inflatedBytes = totals.inflatedBytes
      return try connection.all("SELECT name, value FROM counters") { ($0.text(0), $0.integer(1)) }
    }
    var since = EventCounts()
    for (name, value) in counters + pending.withLock({ Array($0.counters) }).map({ ($0.key, $0.value) }) {
      guard name.hasPrefix(Store.zeroPrefix) else {
        result.counts.add(value, to: name)
        since.add(value, to: name)
        continue
      }
      let counter = String(name.dropFirst(Store.zeroPrefix.count))
      if counter == "time" { result.zeroed = value } else { since.add(0 &- value, to: counter) }
    }
    if result.zeroed != nil {
      since.missesByReason = since.missesByReason.filter { $0.value != 0 }
      since.uncacheableByCode = since.uncacheableByCode.filter { $0.value != 0 }
      result.sinceZero = since
    }
    return result
  }
}

extension EventCounts {
  /// Adds to the count that a row of `counters` names; other rows are none of these.
  fileprivate mutating func add(_ value: Int64, to name: String) {
    switch name {
    case "hits": hits &+= value
    case "misses": misses &+= value
    case "errors": errors &+= value
    case "saved": saved &+= value
    default:
      if name.hasPrefix(Store.uncacheablePrefix) {
        uncacheableByCode[String(name.dropFirst(Store.uncacheablePrefix.count)), default: 0] &+= value
      } else if name.hasPrefix(Store.missPrefix) {
        missesByReason[String(name.dropFirst(Store.missPrefix.count)), default: 0] &+= value
      }
    }
  }
}
