/// A command's arguments as one line for people, quoted as a shell would take them.
enum CommandText {
  private static let plain = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-".utf8)

  static func make(_ arguments: [[UInt8]]) -> String {
    arguments.map { argument in
      if !argument.isEmpty, argument.allSatisfy({ plain.contains($0) }) {
        return String(decoding: argument, as: UTF8.self)
      }
      let text = String(decoding: argument, as: UTF8.self)
      return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }.joined(separator: " ")
  }
}
