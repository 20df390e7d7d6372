import Glibc

/// A POSIX extended regular expression (regex(7)), applied to bytes without NUL.
public final class RegularExpression: @unchecked Sendable {  // regexec(3) only reads what regcomp(3) has made
  private var compiled = regex_t()

  /// What is wrong with an expression, in the C library's words.
  public struct Invalid: Error, Hashable, Sendable {
    public let reason: String
  }

  /// The corresponding C function is `regcomp` with REG_EXTENDED.
  public init(_ pattern: [UInt8]) throws(Invalid) {
    let code = FilePath(pattern).withCString { regcomp(&compiled, $0, REG_EXTENDED) }
    guard code == 0 else {
      var text = [CChar](repeating: 0, count: 256)
      _ = regerror(code, &compiled, &text, text.count)
      throw Invalid(reason: text.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" })
    }
  }

  deinit { regfree(&compiled) }

  /// Whether some part of the text fits.
  public func isFound(in text: [UInt8]) -> Bool { match(text) != nil }

  /// Whether the whole text fits.
  public func fits(_ text: [UInt8]) -> Bool {
    guard let match = match(text) else { return false }
    return match.rm_so == 0 && Int(match.rm_eo) == text.count
  }

  /// The leftmost match, of these the longest. The corresponding C function is `regexec`.
  private func match(_ text: [UInt8]) -> regmatch_t? {
    var match = regmatch_t()
    let code = FilePath(text).withCString { regexec(&compiled, $0, 1, &match, 0) }
    return code == 0 ? match : nil
  }
}
