import Glibc

/// How a traced call ended.
enum CallResult: Equatable {
  case success(Int64)
  /// The error's name, as in the trace: a slice of the line.
  case failure(Failure)
  /// The kernel will make the call again, or it had no effect.
  case restarted
  /// The process ended in the call: it may have taken effect.
  case unknown

  enum Failure: Equatable {
    case missing  // ENOENT
    case notDirectory  // ENOTDIR
    case noExecutable  // ENOEXEC
    case refused  // ECONNREFUSED
    case alreadyThere  // EEXIST, ENOTEMPTY, EISDIR
    /// The kernel did not come to look at the path: EFAULT, EBADF, ENAMETOOLONG, ENOSYS, EINTR, ...
    case beforeLookup
    case other
  }

  var succeeded: Bool { if case .success = self { true } else { false } }
}

/// A directory or file descriptor argument as `strace -y` prints it.
enum DescriptorArgument {
  /// AT_FDCWD; the path is in the buffer when there was one.
  case workingDirectory(hasPath: Bool)
  /// The path is in the buffer.
  case path(isDeleted: Bool)
  /// A socket, a pipe, a number without a path.
  case other
}

/// Reads the arguments of one call in the order in which strace printed them.
///
/// Every method leaves the scanner at the beginning of the next argument. `isBroken` says that the line is not what
/// strace writes; then nothing that was read counts.
struct LineScanner {
  let base: UnsafePointer<UInt8>
  let end: Int
  var at: Int
  var isBroken = false

  init(_ line: UnsafeBufferPointer<UInt8>, from offset: Int) {
    base = line.baseAddress ?? ("" as StaticString).utf8Start
    end = line.baseAddress == nil ? 0 : line.count
    at = offset
  }

  @inline(__always) private var byte: UInt8 { at < end ? base[at] : 0 }

  func starts(with text: StaticString) -> Bool {
    end &- at >= text.utf8CodeUnitCount && memcmp(base + at, text.utf8Start, text.utf8CodeUnitCount) == 0
  }

  private mutating func skip(_ text: StaticString) -> Bool {
    guard starts(with: text) else { return false }
    at &+= text.utf8CodeUnitCount
    return true
  }

  /// To the next argument, or onto the closing parenthesis.
  @inline(__always)
  private mutating func endArgument() {
    if byte == UInt8(ascii: ",") {
      at &+= 1
      if byte == UInt8(ascii: " ") { at &+= 1 }
    } else if byte != UInt8(ascii: ")") {
      isBroken = true
    }
  }

  // MARK: arguments

  /// `"…"` with C escapes, into `buffer`; false for NULL, an unreadable address, or a string that strace cut short.
  mutating func path(into buffer: ByteBuffer) -> Bool {
    buffer.removeAll()
    guard byte == UInt8(ascii: "\"") else {
      skipArgument()
      return false
    }
    at &+= 1
    unescape(into: buffer, until: UInt8(ascii: "\""))
    let isWhole = !skip("...")
    endArgument()
    return isWhole
  }

  /// The text of a descriptor argument that has not been decoded, to compare with the one before; empty otherwise.
  func workingDirectoryText() -> UnsafeBufferPointer<UInt8> {
    guard starts(with: "AT_FDCWD<") else { return UnsafeBufferPointer(start: nil, count: 0) }
    let start = at &+ 9
    guard let close = memchr(base + start, Int32(UInt8(ascii: ">")), end &- start) else {
      return UnsafeBufferPointer(start: nil, count: 0)
    }
    let length = UnsafeRawPointer(base + start).distance(to: UnsafeRawPointer(close))
    return UnsafeBufferPointer(start: base + start, count: length)
  }

  /// `3</path>`, `3</path>(deleted)`, `AT_FDCWD</path>`, `5<pipe:[1]>`, `-1`.
  mutating func descriptor(into buffer: ByteBuffer) -> DescriptorArgument {
    buffer.removeAll()
    let isWorkingDirectory = skip("AT_FDCWD")
    if !isWorkingDirectory {
      if byte == UInt8(ascii: "-") { at &+= 1 }
      while byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { at &+= 1 }
    }
    var isDeleted = false
    if byte == UInt8(ascii: "<") {
      at &+= 1
      unescape(into: buffer, until: UInt8(ascii: ">"))
      isDeleted = skip("(deleted)")
    }
    if byte == UInt8(ascii: ",") || byte == UInt8(ascii: ")") { endArgument() } else { skipArgument() }
    let hasPath = buffer.count > 0 && buffer.base[0] == UInt8(ascii: "/")
    if isWorkingDirectory { return .workingDirectory(hasPath: hasPath) }
    return hasPath ? .path(isDeleted: isDeleted) : .other
  }

  /// The argument's text, not decoded.
  mutating func text() -> UnsafeBufferPointer<UInt8> {
    let start = at
    passArgument()
    let length = at &- start
    endArgument()
    return UnsafeBufferPointer(start: base + start, count: length)
  }

  mutating func skipArgument() {
    passArgument()
    endArgument()
  }

  /// Runs over one argument: nested brackets, quoted strings, comments and descriptors' paths belong to it.
  private mutating func passArgument() {
    var depth = 0
    while at < end {
      switch base[at] {
      case UInt8(ascii: "\""):
        at &+= 1
        unescape(into: nil, until: UInt8(ascii: "\""))
        continue
      case UInt8(ascii: "<"):
        let previous = at > 0 ? base[at &- 1] : 0
        let next = at &+ 1 < end ? base[at &+ 1] : 0
        let isPath =
          (previous >= UInt8(ascii: "0") && previous <= UInt8(ascii: "9") || previous == UInt8(ascii: "D"))
          && next != UInt8(ascii: "<")
        at &+= 1
        if isPath { unescape(into: nil, until: UInt8(ascii: ">")) } else if next == UInt8(ascii: "<") { at &+= 1 }
        continue
      case UInt8(ascii: "/") where at &+ 1 < end && base[at &+ 1] == UInt8(ascii: "*"):
        at &+= 2
        while at < end, !(base[at] == UInt8(ascii: "/") && base[at &- 1] == UInt8(ascii: "*")) { at &+= 1 }
      case UInt8(ascii: "("), UInt8(ascii: "["), UInt8(ascii: "{"): depth &+= 1
      case UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: "}"):
        if depth == 0 { return }
        depth &-= 1
      case UInt8(ascii: ","): if depth == 0 { return }
      default: break
      }
      at &+= 1
    }
    isBroken = true
  }

  // MARK: results

  /// Leaves what follows the number, a returned descriptor's path, to `returnedPath`.
  mutating func result() -> CallResult {
    while !isBroken, byte != UInt8(ascii: ")") { skipArgument() }
    at &+= 1
    while byte == UInt8(ascii: " ") { at &+= 1 }
    guard !isBroken, skip("= ") else {
      isBroken = true
      return .unknown
    }
    if skip("?") { return skip(" ERESTART") ? .restarted : .unknown }
    if skip("-1 ") { return .failure(failure()) }
    if skip("0x") { return .success(0) }
    var value: Int64 = 0
    guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else {
      // A negative number that is not -1: no call here returns one.
      if byte != UInt8(ascii: "-") { isBroken = true }
      return .failure(.other)
    }
    while byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
      value = value &* 10 &+ Int64(byte &- UInt8(ascii: "0"))
      at &+= 1
    }
    return .success(value)
  }

  private func failure() -> CallResult.Failure {
    if starts(with: "ENOENT ") { return .missing }
    if starts(with: "ENOTDIR ") { return .notDirectory }
    if starts(with: "ENOEXEC ") { return .noExecutable }
    if starts(with: "ECONNREFUSED ") { return .refused }
    if starts(with: "EEXIST ") || starts(with: "ENOTEMPTY ") || starts(with: "EISDIR ") { return .alreadyThere }
    for name in LineScanner.beforeLookup where starts(with: name) { return .beforeLookup }
    return .other
  }

  private static let beforeLookup: [StaticString] = [
    "EFAULT ", "EBADF ", "ENAMETOOLONG ", "ENOSYS ", "EINTR ", "EMFILE ", "ENFILE ", "ENOMEM ", "E2BIG ", "EAGAIN ",
  ]

  /// After `result`: the path of the descriptor that the call returned; false when it has none (any more).
  mutating func returnedPath(into buffer: ByteBuffer) -> Bool {
    buffer.removeAll()
    guard byte == UInt8(ascii: "<") else { return false }
    at &+= 1
    unescape(into: buffer, until: UInt8(ascii: ">"))
    return !isBroken && byte != UInt8(ascii: "(") && buffer.count > 0 && buffer.base[0] == UInt8(ascii: "/")
  }

  /// After `result`: the process id in strace's own namespace, when it differs from the one returned.
  mutating func translatedProcess() -> Int64? {
    guard skip(" /* ") else { return nil }
    var value: Int64 = 0
    while byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
      value = value &* 10 &+ Int64(byte &- UInt8(ascii: "0"))
      at &+= 1
    }
    return starts(with: " in strace's PID NS") ? value : nil
  }

  // MARK: escapes

  /// Decodes up to the unescaped byte `terminator` and passes it. strace's escapes are C's: `\n`, `\"`, `\\`, octal
  /// with one to three digits, `\x` with two.
  private mutating func unescape(into buffer: ByteBuffer?, until terminator: UInt8) {
    while at < end {
      let start = at
      while at < end, base[at] != terminator, base[at] != UInt8(ascii: "\\") { at &+= 1 }
      if let buffer { buffer.append(base + start, count: at &- start) }
      guard at < end else { break }
      let isEnd = base[at] == terminator
      at &+= 1
      if isEnd { return }
      guard at < end else { break }
      let value = escape()
      if let buffer { buffer.append(value) }
    }
    isBroken = true
  }

  private mutating func escape() -> UInt8 {
    let letter = base[at]
    at &+= 1
    switch letter {
    case UInt8(ascii: "n"): return 10
    case UInt8(ascii: "t"): return 9
    case UInt8(ascii: "r"): return 13
    case UInt8(ascii: "v"): return 11
    case UInt8(ascii: "f"): return 12
    case UInt8(ascii: "a"): return 7
    case UInt8(ascii: "b"): return 8
    case UInt8(ascii: "x"):
      var value: UInt8 = 0
      for _ in 0..<2 {
        guard let digit = LineScanner.hexadecimal(byte) else {
          isBroken = true
          return value
        }
        value = value << 4 | digit
        at &+= 1
      }
      return value
    case UInt8(ascii: "0")...UInt8(ascii: "7"):
      var value = letter &- UInt8(ascii: "0")
      var digits = 1
      while digits < 3, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "7") {
        value = value << 3 | (byte &- UInt8(ascii: "0"))
        at &+= 1
        digits &+= 1
      }
      return value
    default: return letter
    }
  }

  private static func hexadecimal(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte &- UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte &- UInt8(ascii: "a") &+ 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte &- UInt8(ascii: "A") &+ 10
    default: nil
    }
  }
}

extension UnsafeBufferPointer<UInt8> {
  /// Whether one of the names between the `|` of a flags argument is `flag`.
  func hasFlag(_ flag: StaticString) -> Bool {
    guard let base = baseAddress else { return false }
    var start = 0
    while start < count {
      var stop = start
      while stop < count, base[stop] != UInt8(ascii: "|") { stop &+= 1 }
      if stop &- start == flag.utf8CodeUnitCount, memcmp(base + start, flag.utf8Start, stop &- start) == 0 {
        return true
      }
      start = stop &+ 1
    }
    return false
  }

  /// Where `text` first is.
  func offset(of text: StaticString, from start: Int = 0) -> Int? {
    guard let base = baseAddress, start >= 0, start <= count else { return nil }
    let length = text.utf8CodeUnitCount
    var at = start
    while count - at >= length, length > 0 {
      guard let found = memchr(base + at, Int32(text.utf8Start[0]), count - at - length + 1) else { return nil }
      at = UnsafeRawPointer(base).distance(to: UnsafeRawPointer(found))
      if memcmp(base + at, text.utf8Start, length) == 0 { return at }
      at += 1
    }
    return nil
  }

  func starts(with text: StaticString) -> Bool {
    guard let base = baseAddress else { return false }
    return count >= text.utf8CodeUnitCount && memcmp(base, text.utf8Start, text.utf8CodeUnitCount) == 0
  }
}
