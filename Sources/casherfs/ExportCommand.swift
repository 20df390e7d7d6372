import CasherRecord
import CasherStore
import CasherSystem
import Glibc

extension Command {
  static let export = Command(
    name: "export", operands: "FILE.tar.zst [RUN...]", operandCount: 1...Int.max,
    summary: "write stored runs to a file that 'casherfs import' reads",
    details: """
      Writes the runs with everything that replaying them takes to a tar archive compressed with zstd: those named, or \
      all that fit the options. FILE may be - for stdout. Runs of which something is missing are left out and named; \
      the exit code is then 1.
      """,
    options: [RunSelection.command, RunSelection.tag, RunSelection.since, Option.json, Option.cacheDirectory],
    run: exportRuns)
}

private struct ExportReport {
  var runs: [Digest] = []
  var blobs = 0
  /// Bytes of contents.
  var bytes: Int64 = 0
  var skipped: [(id: Digest, reason: String)] = []
}

private func exportRuns(_ arguments: Arguments) throws(Failure) -> ExitCode {
  let path = arguments.operands[0]
  let isStream = path == "-"
  guard !isStream || !arguments.has("--json") else {
    throw Arguments.misused(.export, "--json and an archive cannot both go to stdout")
  }
  let store = try RunReference.openStore(arguments)
  defer { store.close() }
  var ids: [Digest] = []
  for reference in arguments.operands.dropFirst() { ids.append(try RunReference.find(reference, in: store).id) }
  if arguments.operands.count == 1 {
    let filter = try RunSelection.filter(arguments)
    try StoreAccess.reading { () throws(StoreError) in
      try store.visitRuns(matching: filter) { run in
        ids.append(run.id)
        return true
      }
    }
    // The oldest first, as they were stored.
    ids.reverse()
  }
  let file = isStream ? nil : try OutputFile(path, mode: 0o600)
  let report: ExportReport
  do throws(Failure) {
    report = try write(ids, store, to: file?.descriptor ?? .standardOutput, path)
  } catch {
    file?.discard()
    throw error
  }
  try file?.finish()
  for (id, reason) in report.skipped { Console.complain("run \(RunText.short(id)) was left out: \(reason).") }
  if arguments.has("--json") {
    Console.print(
      .object([
        ("runs", .array(report.runs.map { .digest($0) })), ("blobs", .integer(Int64(report.blobs))),
        ("content_bytes", .integer(report.bytes)),
        (
          "skipped",
          .array(report.skipped.map { .object([("id", .digest($0.id)), ("reason", .string($0.reason))]) })
        ),
      ]))
  } else if !isStream {
    Console.print(
      "exported \(RunText.count(report.runs.count, "run")) with \(RunText.count(report.blobs, "content")), "
        + "\(Quantity.size(report.bytes))")
  }
  return report.skipped.isEmpty ? .success : .failure
}

private func write(
  _ ids: [Digest], _ store: Store, to target: FileDescriptor, _ path: FilePath
) throws(Failure) -> ExportReport {
  var report = ExportReport()
  var written: Set<Digest> = []
  let archive = TarWriter(to: target)
  let progress = Progress("exporting", of: ids.count)
  do throws(ZstandardFailure) {
    try archive.add(ExportedRun.formatName, modified: Clock.now() / 1_000_000_000, Array(ExportedRun.format.utf8))
    for (index, id) in ids.enumerated() {
      progress.show(index)
      let run: StoredRun
      let record: RunRecord
      var opened: [(Digest, Int64, FileDescriptor)] = []
      defer { for (_, _, file) in opened { file.close() } }
      do throws(Failure) {
        guard let found = try StoreAccess.reading({ () throws(StoreError) in try store.run(id) }) else { continue }
        run = found
        record = try RunReference.record(of: found)
        for blob in record.blobs.sorted(by: { $0.hexadecimal < $1.hexadecimal }) where !written.contains(blob) {
          try StoreAccess.reading { () throws(StoreError) in
            opened.append((blob, try store.blobSize(blob) ?? 0, try store.openBlob(blob)))
          }
        }
      } catch {
        report.skipped.append((id, String(error.message.dropLast())))
        continue
      }
      for (blob, size, file) in opened {
        guard try archive.add("blobs/\(blob.hexadecimal)", modified: 0, size: size, from: file) else {
          throw .damaged
        }
        written.insert(blob)
        report.bytes += size
      }
      try archive.add(
        "runs/\(id.hexadecimal)", modified: run.created / 1_000_000_000, ExportedRun(run, record).encoded)
      report.runs.append(id)
    }
    try archive.finish()
  } catch {
    progress.end()
    switch error {
    case .system(let cause): throw Failure(.failure, "\(path) cannot be written: \(cause).")
    case .damaged:
      throw Failure(.storeUnusable, "a content of the cache became shorter while it was read; run 'casherfs verify'.")
    }
  }
  progress.end()
  report.blobs = written.count
  return report
}
