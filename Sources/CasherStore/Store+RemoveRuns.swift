import CasherSystem

extension Store {
  /// Runs that one transaction removes.
  private static let removalBatch = 32

  /// Removes runs, pinned ones too, and the blobs that only they named; what owners have pinned of those stays as
  /// blobs. Ids that are not there are passed over. A call that is looked up afterwards, in whichever process, does not
  /// find them.
  public func remove(runs ids: [Digest]) throws(StoreError) -> EvictionReport {
    var rest = ids[...]
    return try removeInBatches { connection throws(StoreError) in
      var rows: [(Int64, Digest)] = []
      for id in rest.prefix(Store.removalBatch) {
        let row = try connection.first("SELECT seq FROM runs WHERE id = ?", .digest(id)) { $0.integer(0) }
        if let row { rows.append((row, id)) }
      }
      return (rows, !rest.isEmpty)
    } done: {
      rest = rest.dropFirst(Store.removalBatch)
    }
  }

  /// Removes every run, and everything that is not pinned.
  public func removeAllRuns() throws(StoreError) -> EvictionReport {
    var report = try removeInBatches { connection throws(StoreError) in
      let rows = try connection.all(
        "SELECT seq, id FROM runs LIMIT ?", .integer(Int64(Store.removalBatch))
      ) { row in row.digest(1).map { (row.integer(0), $0) } }
      return (rows, !rows.isEmpty)
    }
    let rest = try evict(maxBytes: 0)
    report.blobs += rest.blobs
    report.freedBytes += rest.freedBytes
    report.storedBytes = rest.storedBytes
    return report
  }

  /// `next` gives the rows to remove and whether to go on; it is called again when a transaction was undone.
  private func removeInBatches(
    _ next: (Connection) throws(StoreError) -> (rows: [(row: Int64, id: Digest)], goesOn: Bool),
    done: () -> Void = {}
  ) throws(StoreError) -> EvictionReport {
    if options.isReadOnly { throw StoreError(.readOnly, directory) }
    try? writePending()
    var report = EvictionReport()
    let before = try database.read { connection throws(StoreError) in try Totals(connection).stored }
    try shrinking { () throws(StoreError) in
      while true {
        let (ids, blobs, goesOn) = try database.write { connection throws(StoreError) in
          let (rows, goesOn) = try next(connection)
          var blobs: Int64 = 0
          for row in rows { blobs += try removeUnnamed(try removeRun(row.row, connection), connection) }
          return (rows.map(\.id), blobs, goesOn)
        }
        if !goesOn { break }
        done()
        report.runs += ids
        report.blobs += blobs
        try processRemovals()
      }
    }
    report.storedBytes = try database.read { connection throws(StoreError) in try Totals(connection).stored }
    report.freedBytes = max(0, before - report.storedBytes)
    return report
  }
}
