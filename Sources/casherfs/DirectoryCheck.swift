import CasherRecord
import CasherStore
import CasherSystem
import Glibc

/// A directory as it is now against what a freeze of it has on record.
struct DirectoryCheck {
  let freeze: StoredFreeze
  private(set) var checked = 0
  private(set) var same = 0
  /// Bytes that were read.
  private(set) var bytes: Int64 = 0
  /// Paths relative to the frozen directory.
  private(set) var changed: [FilePath] = []
  private(set) var missing: [FilePath] = []
  private(set) var modes: [(path: FilePath, was: UInt32, now: UInt32)] = []
  private(set) var unreadable: [(path: FilePath, reason: Errno)] = []

  var isSame: Bool { same == checked }

  /// Reads every result of the freeze at or below `directory`, an absolute path at or below the one that was frozen.
  init(_ directory: FilePath, _ freeze: StoredFreeze) throws(Failure) {
    self.freeze = freeze
    let part = directory.relative(to: freeze.mount) ?? FilePath([])
    let results = try Freezes.record(of: freeze).results.filter { $0.path.isWithin(part) }
    let progress = Progress("checked", of: results.count)
    defer { progress.end() }
    for result in results {
      progress.show(checked)
      check(result)
    }
  }

  private mutating func check(_ result: FreezeRecord.Result) {
    checked += 1
    let path = freeze.mount.appending(result.path)
    do throws(Errno) {
      guard let status = try FileDescriptor.workingDirectory.statusIfPresent(of: path) else {
        missing.append(result.path)
        return
      }
      guard try hasContent(result, path, status) else {
        changed.append(result.path)
        return
      }
      if status.type != .symlink, status.permissions != result.permissions {
        modes.append((result.path, result.permissions, status.permissions))
        return
      }
      same += 1
    } catch { unreadable.append((result.path, error)) }
  }

  private mutating func hasContent(
    _ result: FreezeRecord.Result, _ path: FilePath, _ status: FileStatus
  ) throws(Errno) -> Bool {
    switch result.content {
    case .symlink(let target):
      return status.type == .symlink ? try FileDescriptor.workingDirectory.readLink(path) == target : false
    case .file(let digest, let size):
      guard status.type == .regular, status.size == size else { return false }
      let file = try FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
      defer { file.close() }
      bytes &+= size
      return try SHA256.digest(of: file).digest == digest
    }
  }

  /// A line for each difference, and one for the whole.
  var text: String {
    var lines = changed.map { "changed     \($0)" } + missing.map { "missing     \($0)" }
    lines += modes.map { "mode        \($0.path) (was \(octal($0.was)), is \(octal($0.now)))" }
    lines += unreadable.map { "unreadable  \($0.path) (\($0.reason))" }
    var counts = ["\(same) same"]
    if !changed.isEmpty { counts.append("\(changed.count) changed") }
    if !missing.isEmpty { counts.append("\(missing.count) missing") }
    if !modes.isEmpty { counts.append("\(modes.count) with another mode") }
    if !unreadable.isEmpty { counts.append("\(unreadable.count) unreadable") }
    lines.append(
      "\(RunText.count(checked, "result")) of freeze \(freeze.id) (\(Quantity.time(freeze.created))), "
        + "\(Quantity.size(bytes)) read: \(counts.joined(separator: ", "))")
    return lines.joined(separator: "\n")
  }

  var json: JSON {
    .object([
      ("directory", .path(freeze.mount)), ("freeze", .integer(freeze.id)),
      ("created", .number(Double(freeze.created) / 1e9)), ("checked", .integer(Int64(checked))),
      ("checked_bytes", .integer(bytes)), ("same", .integer(Int64(same))),
      ("changed", .array(changed.map { .path($0) })), ("missing", .array(missing.map { .path($0) })),
      (
        "mode_changed",
        .array(
          modes.map {
            .object([("path", .path($0.path)), ("was", .string(octal($0.was))), ("is", .string(octal($0.now)))])
          }
        )
      ), ("unreadable", .array(unreadable.map { .path($0.path) })),
    ])
  }

  private func octal(_ mode: UInt32) -> String { String(mode, radix: 8) }
}
