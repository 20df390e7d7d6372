import CasherOverlay
import CasherSystem

/// What the process that serves a mount tells the one that started it, once, through a pipe.
enum MountReport {
  /// With what the user is to be told besides.
  case ready([String])
  case failed(Failure)

  var encoded: [UInt8] {
    switch self {
    case .ready(let lines): Array((["ready"] + lines).map { $0 + "\n" }.joined().utf8)
    case .failed(let failure): Array("\(failure.code.rawValue)\n\(failure.message)".utf8)
    }
  }

  /// Nil when the other process ended without a report.
  init?(encoded: [UInt8]) {
    let text = String(decoding: encoded, as: UTF8.self)
    let lines = text.split(separator: "\n").map(String.init)
    if lines.first == "ready" {
      self = .ready(Array(lines.dropFirst()))
      return
    }
    let parts = text.split(separator: "\n", maxSplits: 1)
    guard parts.count == 2, let number = Int32(parts[0]), let code = ExitCode(rawValue: number) else { return nil }
    self = .failed(Failure(code, String(parts[1])))
  }

  /// What was found of a mount that did not end as it should: one line when all of it could be had.
  static func lines(_ recovery: Recovery) -> [String] {
    var lines: [String] = []
    if recovery.files > 0 {
      let files = "\(recovery.files) file\(recovery.files == 1 ? "" : "s")"
      lines.append("recovered \(files), \(Quantity.size(recovery.bytes)), that the last daemon had not written yet")
    }
    if recovery.wasTorn { lines.append(Recovery.tornReason) }
    for file in recovery.suspected { lines.append("\(file.path) may be missing: \(file.reason)") }
    for lost in recovery.lost { lines.append("\(lost.path) cannot be had: \(lost.reason)") }
    return lines
  }
}
