import CasherSystem
import Glibc

/// How far something long has come: a line that is written over, on stderr where that is a terminal, else nothing.
final class Progress {
  private let what: String
  private let total: Int?
  private let isShown = isatty(STDERR_FILENO) == 1 && Environment.value("TERM") != "dumb"
  private var next: Int64 = 0
  private static let interval: Int64 = 100_000_000

  init(_ what: String, of total: Int? = nil) {
    self.what = what
    self.total = total
  }

  func show(_ done: Int) {
    let now = Clock.monotonic()
    guard isShown, now >= next else { return }
    next = now + Progress.interval
    write("\r\u{1b}[K\(what) \(done)\(total.map { " of \($0)" } ?? "")")
  }

  /// Takes the line away.
  func end() {
    if isShown, next != 0 { write("\r\u{1b}[K") }
  }

  private func write(_ text: String) { try? FileDescriptor.standardError.writeAll(Array(text.utf8)) }
}
