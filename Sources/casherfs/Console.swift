import CasherSystem

/// The terminal, pipe or file that the user reads.
enum Console {
  /// Writes to stdout. A reader that has gone away is no error: `casherfs log | head` is a way to use it.
  static func print(_ text: String) { print(bytes: Array((text + "\n").utf8)) }

  /// Writes to stdout; false when nobody reads it any more.
  @discardableResult
  static func write(_ text: String) -> Bool {
    (try? FileDescriptor.standardOutput.writeAll(Array(text.utf8))) != nil
  }

  static func print(bytes: [UInt8]) { try? FileDescriptor.standardOutput.writeAll(bytes) }

  /// Writes a message to stderr, under the program's name.
  static func complain(_ message: String) {
    try? FileDescriptor.standardError.writeAll(Array("casherfs: \(message)\n".utf8))
  }
}
