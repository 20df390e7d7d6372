import CasherSystem

/// Words as a shell's command line has them: parted by blanks; `'…'` keeps everything, `"…"` all but backslashes, and a
/// backslash the byte behind it. Nothing is expanded.
enum ShellWords {
  static func split(_ text: [UInt8]) throws(UsageError) -> [[UInt8]] {
    var words: [[UInt8]] = []
    var word: [UInt8]?
    var quote: UInt8?
    var rest = text[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), quote != UInt8(ascii: "'") {
        guard let next = rest.popFirst() else { throw UsageError("it ends in a backslash") }
        word = (word ?? []) + [next]
      } else if let open = quote {
        if byte == open { quote = nil } else { word?.append(byte) }
      } else if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
        quote = byte
        word = word ?? []
      } else if byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\n") {
        if let ended = word { words.append(ended) }
        word = nil
      } else {
        word = (word ?? []) + [byte]
      }
    }
    if quote != nil { throw UsageError("a quote in it is not closed") }
    if let word { words.append(word) }
    return words
  }
}
