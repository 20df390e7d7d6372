import CasherSystem

extension Store {
  /// The sums and counts that triggers keep, against what the tables say.
  func verifyCounts(_ report: inout VerificationReport, repair: Bool) throws(StoreError) {
    let checks: [(what: String, find: StaticString, mend: StaticString)] = [
      (
        "the number of names of a blob",
        """
        SELECT EXISTS(SELECT 1 FROM blobs b
          LEFT JOIN (SELECT blob, count(*) AS names FROM run_blobs GROUP BY blob) n ON n.blob = b.id
          LEFT JOIN (SELECT blob, count(*) AS pins FROM blob_pins GROUP BY blob) p ON p.blob = b.id
          WHERE b.refs <> coalesce(n.names, 0) + coalesce(p.pins, 0))
        """,
        """
        UPDATE blobs SET refs = coalesce(n.names, 0) + coalesce(n.pins, 0) FROM (SELECT b.id,
          (SELECT names FROM (SELECT blob, count(*) AS names FROM run_blobs GROUP BY blob) WHERE blob = b.id) AS names,
          (SELECT pins FROM (SELECT blob, count(*) AS pins FROM blob_pins GROUP BY blob) WHERE blob = b.id) AS pins
          FROM blobs b) AS n WHERE n.id = blobs.id
        """
      ),
      (
        "the number of runs of a path set",
        """
        SELECT EXISTS(SELECT 1 FROM path_sets p
          LEFT JOIN (SELECT path_set, count(*) AS runs FROM runs GROUP BY path_set) r ON r.path_set = p.id
          WHERE p.refs <> coalesce(r.runs, 0))
        """,
        """
        UPDATE path_sets SET refs = coalesce(n.runs, 0) FROM (SELECT p.id,
          (SELECT n FROM (SELECT path_set, count(*) AS n FROM runs GROUP BY path_set) WHERE path_set = p.id) AS runs
          FROM path_sets p) AS n WHERE n.id = path_sets.id
        """
      ),
      (
        "the sum of what is stored",
        """
        SELECT (runs, blobs, blob_bytes, logical_bytes, inflated_bytes, record_bytes) IS NOT (
          (SELECT count(*) FROM runs), (SELECT count(*) FROM blobs), (SELECT total(stored) FROM blobs),
          (SELECT total(size) FROM blobs), (SELECT total(size) FROM inflated),
          (SELECT total(stored) FROM runs) + (SELECT total(stored) FROM path_sets)) FROM totals
        """,
        """
        UPDATE totals SET runs = (SELECT count(*) FROM runs), blobs = (SELECT count(*) FROM blobs),
          blob_bytes = (SELECT coalesce(sum(stored), 0) FROM blobs),
          logical_bytes = (SELECT coalesce(sum(size), 0) FROM blobs),
          inflated_bytes = (SELECT coalesce(sum(size), 0) FROM inflated),
          record_bytes = (SELECT coalesce(sum(stored), 0) FROM runs) + (SELECT coalesce(sum(stored), 0) FROM path_sets)
        """
      ),
    ]
    for check in checks {
      let isWrong = try database.read { connection throws(StoreError) in
        try connection.first(check.find) { $0.integer(0) != 0 } ?? false
      }
      guard isWrong else { continue }
      report.problems.append(.miscount(check.what))
      if repair {
        try database.write { connection throws(StoreError) in try connection.run(check.mend) }
        report.repaired += 1
      }
    }
  }
}
