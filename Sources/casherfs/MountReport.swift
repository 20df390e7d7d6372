/// What the process that serves a mount tells the one that started it, once, through a pipe.
enum MountReport {
  case ready
  case failed(Failure)

  var encoded: [UInt8] {
    switch self {
    case .ready: Array("ready\n".utf8)
    case .failed(let failure): Array("\(failure.code.rawValue)\n\(failure.message)".utf8)
    }
  }

  /// Nil when the other process ended without a report.
  init?(encoded: [UInt8]) {
    let text = String(decoding: encoded, as: UTF8.self)
    if text == "ready\n" {
      self = .ready
      return
    }
    let parts = text.split(separator: "\n", maxSplits: 1)
    guard parts.count == 2, let number = Int32(parts[0]), let code = ExitCode(rawValue: number) else { return nil }
    self = .failed(Failure(code, String(parts[1])))
  }
}
