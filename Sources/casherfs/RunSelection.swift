import CasherStore
import CasherSystem

/// The options by which several commands choose runs.
enum RunSelection {
  static let command = Option("--command", value: "GLOB", "only commands that match as a whole, as in 'gcc *'")
  static let tag = Option("--tag", value: "NAME=VALUE", "only runs that were given this tag")
  static let status = Option(
    "--status", value: "ok|failed", "only commands that exited with 0, or with another status")
  static let since = Option("--since", value: "DURATION", "only runs stored in the last 30m, 2h, 7d, ...")

  static func limit(_ standard: Int, _ what: String = "runs") -> Option {
    Option("--limit", short: "-n", value: "N", "at most N \(what); \(standard) by default, 0 for all")
  }

  /// What these options say; without a limit.
  static func filter(_ arguments: Arguments) throws(Failure) -> RunFilter {
    var filter = RunFilter()
    filter.command = arguments.text(command.name)
    filter.tag = try tag(arguments)
    filter.succeeded = try arguments.value(status.name, "'ok' or 'failed'") { ["ok": true, "failed": false][$0] }
    filter.since = try arguments.value(since.name, "a duration such as 2h or 7d") { Quantity.nanoseconds($0) }
      .map { Clock.now() &- $0 }
    return filter
  }

  static func tag(_ arguments: Arguments) throws(Failure) -> Tag? {
    try arguments.value(tag.name, "a tag such as stage=test") { text in
      let name = text.prefix { $0 != "=" }
      guard !name.isEmpty, name.count < text.count else { return nil }
      return Tag(name: String(name), value: String(text.dropFirst(name.count + 1)))
    }
  }

  /// What `--limit` says, else the standard; nil for no limit.
  static func limit(_ arguments: Arguments, _ standard: Int) throws(Failure) -> Int? {
    let limit = try arguments.value("--limit", "a number of runs") { Int($0).flatMap { $0 < 0 ? nil : $0 } } ?? standard
    return limit == 0 ? nil : limit
  }
}
