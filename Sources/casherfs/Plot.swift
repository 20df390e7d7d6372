import CasherStore
import CasherSystem
import Glibc

/// Plots of what happened over time, as SVG in a page.
struct Plot {
  private static let (width, height) = (920.0, 220.0)
  private static let (left, right, top, bottom) = (64.0, 8.0, 12.0, 34.0)
  private static let timeLabels: Int64 = 8
  private static let fewestSlots: Int64 = 24
  private static let legend = [("hit", "hits"), ("miss", "misses"), ("not", "not cacheable")]

  private let buckets: [ActivityBucket]
  private let span: ActivityBucket.Span
  /// The first bucket's begin, and how many spans are drawn; seconds since 1970.
  private let begin: Int64
  private let slots: Int64

  /// `buckets` in order of time, not empty; `until` in seconds since 1970.
  init(_ buckets: [ActivityBucket], span: ActivityBucket.Span, until: Int64) {
    self.buckets = buckets
    self.span = span
    let first = buckets.first?.start ?? until
    let last = max(until - until % span.rawValue, buckets.last?.start ?? until)
    let wanted = max(Plot.fewestSlots, (last - first) / span.rawValue + 1)
    slots = wanted
    begin = last - (wanted - 1) * span.rawValue
  }

  private var slotWidth: Double { (Plot.width - Plot.left - Plot.right) / Double(slots) }

  private func x(_ start: Int64) -> Double {
    Plot.left + Double((start - begin) / span.rawValue) * slotWidth
  }

  private func y(_ value: Double, _ most: Double) -> Double {
    Plot.height - Plot.bottom - (Plot.height - Plot.top - Plot.bottom) * (most > 0 ? value / most : 0)
  }

  // MARK: calls

  /// Hits, misses and what could not be cached, above each other.
  var calls: String {
    // A run that could not be cached was a miss as well.
    let values = buckets.map { bucket in
      (bucket, [bucket.hits, max(0, bucket.misses - bucket.uncacheable), bucket.uncacheable])
    }
    let scale = Plot.scale(Double(values.map { $0.1.reduce(0, +) }.max() ?? 0), isSize: false)
    var shapes = ""
    for (bucket, counts) in values {
      var sum = 0.0
      shapes +=
        "<g><title>\(when(bucket.start)): \(bucket.hits) hits, \(bucket.misses) misses, "
        + "\(bucket.uncacheable) of them not cacheable, \(Quantity.duration(bucket.saved)) saved</title>"
      for (count, style) in zip(counts, Plot.legend.map(\.0)) where count > 0 {
        let (low, high) = (y(sum, scale.most), y(sum + Double(count), scale.most))
        shapes += Plot.rectangle(x(bucket.start), high, max(1, slotWidth - 1), low - high, style)
        sum += Double(count)
      }
      shapes += "</g>\n"
    }
    var key = ""
    for (index, (style, words)) in Plot.legend.enumerated() {
      let place = Plot.left + 8 + Double(index) * 90
      key += Plot.rectangle(place, 2, 9, 9, style) + Plot.text(place + 13, 10, words, "start")
    }
    return frame(scale, shapes + key) { Quantity.decimal($0, places: 1, trimmed: true) }
  }

  // MARK: size

  /// What was stored, and the limit where it is near.
  func size(limit: Int64) -> String {
    let most = Double(buckets.map(\.storedBytes).max() ?? 0)
    let isLimitNear = most * 2 > Double(limit)
    let scale = Plot.scale(isLimitNear ? max(most, Double(limit)) : most, isSize: true)
    let points = buckets.map { (x($0.start) + slotWidth / 2, y(Double($0.storedBytes), scale.most), $0) }
    let line = points.map { "\(Markup.number($0.0)),\(Markup.number($0.1))" }.joined(separator: " ")
    var shapes = "<polyline class=\"size\" points=\"\(line)\"></polyline>\n"
    for (x, y, bucket) in points {
      shapes +=
        "<circle class=\"point\" cx=\"\(Markup.number(x))\" cy=\"\(Markup.number(y))\" r=\"3\">"
        + "<title>\(when(bucket.start)): \(Quantity.size(bucket.storedBytes))</title></circle>\n"
    }
    if isLimitNear { shapes += Plot.line(Plot.left, y(Double(limit), scale.most), Plot.width - Plot.right, "limit") }
    return frame(scale, shapes) { Quantity.size(Int64($0)) }
  }

  // MARK: axes

  private struct Scale {
    var most: Double
    var step: Double
  }

  /// At most five round steps that reach the value; powers of two for sizes, else of ten.
  private static func scale(_ value: Double, isSize: Bool) -> Scale {
    var step = 1.0
    let factors = isSize ? [2.0, 2.0] : [2.0, 2.5, 2.0]
    var index = 0
    while step * 5 < value {
      step *= factors[index % factors.count]
      index += 1
    }
    return Scale(most: max(step, (value / step).rounded(.up) * step), step: step)
  }

  private func frame(_ scale: Scale, _ shapes: String, _ label: (Double) -> String) -> String {
    var axes = ""
    var value = 0.0
    while value <= scale.most {
      let place = y(value, scale.most)
      axes += Plot.line(Plot.left, place, Plot.width - Plot.right, "axis")
      axes += Plot.text(Plot.left - 6, place + 4, label(value), "end")
      value += scale.step
    }
    for index in 0..<Plot.timeLabels {
      let start = begin + slots * index / Plot.timeLabels * span.rawValue
      axes += Plot.text(x(start), Plot.height - 14, when(start), "start")
    }
    return "<svg viewBox=\"0 0 \(Markup.number(Plot.width)) \(Markup.number(Plot.height))\" role=\"img\">\n"
      + "\(axes)\n\(shapes)</svg>"
  }

  /// `11-20`, with hours `11-20 14:00`; in local time.
  private func when(_ start: Int64) -> String {
    let text = Quantity.time(start &* 1_000_000_000)
    let date = text.dropFirst(5).prefix(5)
    return span == .day ? String(date) : "\(date) \(text.dropFirst(11).prefix(5))"
  }

  private static func rectangle(_ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: String) -> String
  {
    let values = [x, y, width, height].map { Markup.number($0) }
    return
      "<rect class=\"\(style)\" x=\"\(values[0])\" y=\"\(values[1])\" width=\"\(values[2])\" height=\"\(values[3])\">"
      + "</rect>"
  }

  private static func line(_ x: Double, _ y: Double, _ end: Double, _ style: String) -> String {
    let values = [x, y, end].map { Markup.number($0) }
    return
      "<line class=\"\(style)\" x1=\"\(values[0])\" y1=\"\(values[1])\" x2=\"\(values[2])\" y2=\"\(values[1])\"></line>"
  }

  private static func text(_ x: Double, _ y: Double, _ text: String, _ anchor: String) -> String {
    "<text x=\"\(Markup.number(x))\" y=\"\(Markup.number(y))\" text-anchor=\"\(anchor)\">\(Markup.escaped(text))</text>"
  }
}
