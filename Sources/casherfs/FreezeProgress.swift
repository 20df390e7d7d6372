import CasherSystem
import Glibc

/// A line on the terminal that tells how far a freeze has come: a bar, files, bytes, and how long it may still take.
struct FreezeProgress {
  /// What is left to be written.
  struct Left: Sendable {
    var files: Int64
    var bytes: Int64
  }

  private let left: @Sendable () -> Left?
  private static let step: Int64 = 200_000_000
  private static let width = 24

  /// `left` is asked again and again, by a thread of its own.
  init(_ left: @escaping @Sendable () -> Left?) { self.left = left }

  /// Of the freeze that the daemon at this socket is asked for.
  init(of socket: FilePath) {
    self.init {
      guard let pairs = try? DaemonConnection.ask("status", at: socket).pairs else { return nil }
      func value(_ name: String) -> Int64? { pairs.first { $0.key == name }.flatMap { Int64($0.value) } }
      guard let files = value("placed.files"), let bytes = value("placed.bytes") else { return nil }
      return Left(files: files, bytes: bytes)
    }
  }

  func during<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    guard isatty(STDERR_FILENO) == 1, Style.canMove, let whole = left(), whole.files > 0 else { return try body() }
    let isDone = Monitor(false)
    let begin = Clock.monotonic()
    show(whole, of: whole, after: 0)
    let follow: @Sendable () -> Void = {
      while isDone.wait(timeout: FreezeProgress.step, { $0 ? true : nil }) == nil {
        if let now = left() { isDone.withLock { if !$0 { show(now, of: whole, after: Clock.monotonic() - begin) } } }
      }
    }
    try? SystemThread.start(follow)
    defer {
      isDone.update { isDone in
        isDone = true
        write("\r\u{1b}[K")
      }
    }
    return try body()
  }

  private func show(_ now: Left, of whole: Left, after time: Int64) {
    let bytes = max(0, whole.bytes - now.bytes)
    let files = max(0, whole.files - now.files)
    // Files of no bytes take their time too.
    let share =
      whole.bytes > 0 ? Double(bytes) / Double(whole.bytes) : Double(files) / Double(max(1, whole.files))
    let filled = Int((share * Double(FreezeProgress.width)).rounded(.down))
    var line = "\r\u{1b}[K[" + String(repeating: "#", count: filled)
    line += String(repeating: "-", count: max(0, FreezeProgress.width - filled)) + "] "
    line += "\(files) of \(whole.files) files, \(Quantity.size(bytes)) of \(Quantity.size(whole.bytes))"
    if share > 0 { line += ", \(Int((Double(time) * (1 - share) / share / 1e9).rounded(.up))) s left" }
    write(line)
  }

  private func write(_ text: String) { try? FileDescriptor.standardError.writeAll(Array(text.utf8)) }
}
