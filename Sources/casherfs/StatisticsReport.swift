import CasherRecord
import CasherStore
import CasherSystem

/// The page of `stats --report`.
struct StatisticsReport {
  let directory: FilePath
  var statistics = Statistics()
  var commands: [CommandStatistics] = []
  var hours: [ActivityBucket] = []
  var days: [ActivityBucket] = []

  init(directory: FilePath) { self.directory = directory }

  var page: String {
    let now = Clock.now()
    return Markup.page(
      title: "casherfs stats: \(directory)", style: style,
      body: """
        <h1>What the cache in \(Markup.escaped("\(directory)")) did</h1>
        <p>\(Markup.escaped(Quantity.time(now)))</p>
        \(tiles)
        \(plots(now / 1_000_000_000))
        \(reasons("Misses", statistics.counts.missesByReason) { MissReason(rawValue: $0)?.sentence ?? "" })
        \(reasons("Not cacheable", statistics.counts.uncacheableByCode) { _ in "" })
        \(commandTable)
        """)
  }

  private var tiles: String {
    let calls = statistics.hits + statistics.misses
    let share = calls > 0 ? Quantity.decimal(100 * Double(statistics.hits) / Double(calls), places: 0) + " %" : "–"
    let values = [
      ("of calls were hits", share), ("hits", "\(statistics.hits)"), ("misses", "\(statistics.misses)"),
      ("time saved", Quantity.duration(statistics.saved)), ("stored runs", "\(statistics.entries)"),
      ("stored", Quantity.size(statistics.storedBytes)), ("may be stored", Quantity.size(statistics.limitBytes)),
    ]
    return "<dl>" + values.map { "<div><dd>\(Markup.escaped($0.1))</dd><dt>\($0.0)</dt></div>" }.joined() + "</dl>"
  }

  private func plots(_ now: Int64) -> String {
    var result = ""
    for (span, buckets, title) in [
      (ActivityBucket.Span.hour, hours, "by hour, the last two weeks"), (.day, days, "by day"),
    ] where !buckets.isEmpty {
      // One day says the same as its hours.
      if span == .day, buckets.count < 2 { continue }
      let plot = Plot(buckets, span: span, until: now)
      result += """
        <h2>Calls \(title)</h2>
        \(plot.calls)
        <h2>Size \(title)</h2>
        \(plot.size(limit: statistics.limitBytes))

        """
    }
    return result.isEmpty ? "<p>Nothing has happened yet.</p>" : result
  }

  private func reasons(_ title: String, _ counts: [String: Int64], _ words: (String) -> String) -> String {
    if counts.isEmpty { return "" }
    let rows = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map {
      "<tr><td>\($0.value)</td><td>\(Markup.escaped($0.key))</td><td>\(Markup.escaped(words($0.key)))</td></tr>"
    }
    return "<h2>\(title)</h2>\n<table>\n\(rows.joined(separator: "\n"))\n</table>"
  }

  private var commandTable: String {
    if commands.isEmpty { return "" }
    let rows = commands.map {
      "<tr><td>\(Quantity.duration($0.saved))</td><td>\($0.hits)</td><td>\($0.misses)</td><td>\($0.uncacheable)</td>"
        + "<td><code>\(Markup.escaped(LineageGraph.short("\(FilePath($0.command))", 200)))</code></td></tr>"
    }
    return """
      <h2>Commands</h2>
      <table>
      <tr><th>saved</th><th>hits</th><th>misses</th><th>not cacheable</th><th>command</th></tr>
      \(rows.joined(separator: "\n"))
      </table>
      """
  }

  private var style: String {
    """
    :root { color-scheme: light dark; --line: light-dark(#bbc, #556); --hit: light-dark(#2a9d5c, #3fbf77);
      --miss: light-dark(#d9822b, #d9822b); --not: light-dark(#999, #777); --size: light-dark(#3b6fb6, #6fa3e8);
      --text: light-dark(#123, #dde); }
    body { font: 15px sans-serif; max-width: 960px; margin: 2em auto; padding: 0 1em; color: var(--text); }
    dl { display: flex; flex-wrap: wrap; gap: 1.6em; } dd { margin: 0; font-size: 1.6em; } dt { opacity: .7; }
    table { border-collapse: collapse; } td, th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top; }
    code { overflow-wrap: anywhere; }
    svg { width: 100%; height: auto; } svg text { font: 11px sans-serif; fill: var(--text); }
    .axis { stroke: var(--line); } .hit { fill: var(--hit); } .miss { fill: var(--miss); } .not { fill: var(--not); }
    .size { fill: none; stroke: var(--size); stroke-width: 2; } .limit { stroke: var(--miss); stroke-dasharray: 5 4; }
    .point { fill: var(--size); }
    """
  }
}
