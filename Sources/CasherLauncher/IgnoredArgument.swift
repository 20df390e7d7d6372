import CasherSystem

/// What `--ignore-arg` leaves out of the key: one argument by its number, or all that fit an expression as a whole.
struct IgnoredArgument: Sendable {
  private enum Kind {
    /// The command itself is number 0, and always counts.
    case number(Int)
    case expression(RegularExpression)
  }

  private let kind: Kind
  /// As it was given.
  let text: [UInt8]

  init(_ text: [UInt8]) throws(UsageError) {
    self.text = text
    if text.isEmpty { throw UsageError("neither an argument's number nor an expression: it is empty") }
    guard text.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else {
      kind = .expression(try Option.expression(text))
      return
    }
    guard let number = Int(String(decoding: text, as: UTF8.self)), number > 0 else {
      throw UsageError("no argument's number: they are counted from 1, and the command itself always counts")
    }
    kind = .number(number)
  }

  /// Whether it leaves out the argument of this number, which is not 0.
  func covers(_ number: Int, _ argument: [UInt8]) -> Bool {
    switch kind {
    case .number(let one): one == number
    case .expression(let expression): expression.fits(argument)
    }
  }
}
