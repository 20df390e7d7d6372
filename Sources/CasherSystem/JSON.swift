/// A value of a JSON document (RFC 8259). Members keep the order in which they are written here.
public enum JSON: Sendable {
  case null
  case bool(Bool)
  case integer(Int64)
  /// Written with six decimals at most; not a number and infinity become null.
  case number(Double)
  case string(String)
  /// Bytes that need not be UTF-8, such as a path.
  case bytes([UInt8])
  case array([JSON])
  case object([(String, JSON)])

  public static func path(_ path: FilePath) -> JSON { .bytes(path.bytes) }
  public static func digest(_ digest: Digest) -> JSON { .string(digest.hexadecimal) }

  /// The document with two spaces for each level, and a newline at its end.
  public var text: String {
    var encoder = JSONEncoder()
    encoder.put(self, depth: 0)
    return encoder.text + "\n"
  }

  /// The document in one line, with a newline at its end.
  public var line: String {
    var encoder = JSONEncoder(isCompact: true)
    encoder.put(self, depth: 0)
    return encoder.text + "\n"
  }
}

/// The text of an array whose elements come one after the other; all of it together is `JSON.array(…).text`.
public struct JSONList: Sendable {
  private var taken = ""
  private var isEmpty = true

  public init() { taken = "[" }

  public mutating func add(_ element: JSON) {
    var encoder = JSONEncoder()
    encoder.put(element, depth: 1)
    taken += (isEmpty ? "\n  " : ",\n  ") + encoder.text
    isEmpty = false
  }

  public mutating func end() { taken += isEmpty ? "]\n" : "\n]\n" }

  /// The text since the last time.
  public mutating func take() -> String {
    defer { taken = "" }
    return taken
  }
}

/// Writes JSON text.
private struct JSONEncoder {
  var text = ""
  var isCompact = false

  mutating func put(_ value: JSON, depth: Int) {
    switch value {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .integer(let value): text += String(value)
    case .number(let value): text += value.isFinite ? Quantity.decimal(value, places: 6, trimmed: true) : "null"
    case .string(let value): put(string: Array(value.utf8))
    case .bytes(let value): put(string: value)
    case .array(let elements):
      put(elements, between: ("[", "]"), depth: depth) { encoder, element in encoder.put(element, depth: depth + 1) }
    case .object(let members):
      put(members, between: ("{", "}"), depth: depth) { encoder, member in
        encoder.put(string: Array(member.0.utf8))
        encoder.text += ": "
        encoder.put(member.1, depth: depth + 1)
      }
    }
  }

  private mutating func put<Element>(
    _ elements: [Element], between brackets: (String, String), depth: Int,
    _ write: (inout JSONEncoder, Element) -> Void
  ) {
    text += brackets.0
    for (index, element) in elements.enumerated() {
      if isCompact {
        text += index == 0 ? "" : ", "
      } else {
        text += index == 0 ? "\n" : ",\n"
        text += String(repeating: "  ", count: depth + 1)
      }
      write(&self, element)
    }
    if !elements.isEmpty, !isCompact { text += "\n" + String(repeating: "  ", count: depth) }
    text += brackets.1
  }

  /// Text is written as UTF-8. A byte 0xNN that is no part of valid UTF-8 becomes the lone surrogate `\udcNN`, so that
  /// nothing is lost: Python's `os.fsencode(json.loads(…))` gives the bytes back (PEP 383).
  private mutating func put(string bytes: [UInt8]) {
    text += "\""
    // Nearly all text is like this.
    if bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }) {
      text += String(decoding: bytes, as: UTF8.self)
      text += "\""
      return
    }
    var rest = bytes[...]
    while let first = rest.first {
      let length = validLength(rest)
      if length == 0 {
        text += "\\udc" + hexadecimal(first)
        rest = rest.dropFirst()
      } else if length == 1 {
        put(ascii: first)
        rest = rest.dropFirst()
      } else {
        text += String(decoding: rest.prefix(length), as: UTF8.self)
        rest = rest.dropFirst(length)
      }
    }
    text += "\""
  }

  private mutating func put(ascii byte: UInt8) {
    switch byte {
    case UInt8(ascii: "\""): text += "\\\""
    case UInt8(ascii: "\\"): text += "\\\\"
    case 0x0A: text += "\\n"
    case 0x0D: text += "\\r"
    case 0x09: text += "\\t"
    case 0..<0x20, 0x7F: text += "\\u00" + hexadecimal(byte)
    default: text.unicodeScalars.append(Unicode.Scalar(byte))
    }
  }

  /// How many bytes the character at the beginning takes; 0 when it is not valid UTF-8 (Unicode, table 3-7).
  private func validLength(_ bytes: ArraySlice<UInt8>) -> Int {
    guard let first = bytes.first else { return 0 }
    let length =
      switch first {
      case 0..<0x80: 1
      case 0xC2...0xDF: 2
      case 0xE0...0xEF: 3
      case 0xF0...0xF4: 4
      default: 0
      }
    guard length > 0, bytes.count >= length else { return 0 }
    return String(validating: bytes.prefix(length), as: UTF8.self) == nil ? 0 : length
  }

  private func hexadecimal(_ byte: UInt8) -> String {
    String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
  }
}
