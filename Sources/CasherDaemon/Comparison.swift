import CasherRecord
import CasherStore
import CasherSystem

/// What `--check` finds: whether a command that was run again did what was recorded.
struct Comparison {
  /// The run that the call would have been answered with.
  let name: String
  let recorded: RunRecord

  /// Exit statuses of `acache --check`.
  static let same: UInt8 = 0
  static let different: UInt8 = 1
  static let nothingRecorded: UInt8 = 2

  /// One line for each difference; none when there is none.
  func differences(_ outputs: [Output], transcript: Digest?, segments: [StreamSegment], exitStatus: UInt8) -> [String] {
    var lines: [String] = []
    if exitStatus != recorded.exitStatus {
      lines.append("the exit status was \(recorded.exitStatus), is \(exitStatus)")
    }
    for (stream, name) in [(UInt8(1), "stdout"), (2, "stderr")] {
      let (was, now) = (Comparison.length(recorded.transcript.segments, stream), Comparison.length(segments, stream))
      if was != now { lines.append("\(name) was \(was) bytes, is \(now) bytes") }
    }
    if transcript != recorded.transcript.blob, lines.isEmpty { lines.append("stdout or stderr has other bytes") }
    let before = Dictionary(recorded.outputs.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
    let after = Dictionary(outputs.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
    for path in Set(before.keys).union(after.keys).sorted() {
      switch (before[path], after[path]) {
      case (let was?, nil):
        if case .removed = was.content { continue }
        lines.append("\(path) was written, now is not")
      case (nil, let now?):
        if case .removed = now.content { continue }
        lines.append("\(path) was not written, now is")
      case (let was?, let now?):
        if !Comparison.isSame(was.content, now.content) {
          lines.append("\(path) has other content")
        } else if was.permissions != now.permissions {
          lines.append(
            "\(path) had mode \(String(was.permissions, radix: 8)), has \(String(now.permissions, radix: 8))")
        }
      case (nil, nil): break
      }
    }
    return lines
  }

  private static func isSame(_ left: Output.Content, _ right: Output.Content) -> Bool {
    if case .file(let was, _, _) = left, case .file(let now, _, _) = right { return was == now }
    return left == right
  }

  private static func length(_ segments: [StreamSegment], _ stream: UInt8) -> UInt64 {
    segments.reduce(into: 0) { if $1.stream == stream { $0 &+= $1.length } }
  }
}
