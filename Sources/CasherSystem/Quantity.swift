import Glibc

/// Durations, sizes and points in time, as people write and read them.
public enum Quantity {
  // MARK: reading

  /// `500ms`, `30s`, `5m`, `2h`, `7d`, `1w`, or a number of seconds: in nanoseconds. Nil for anything else.
  public static func nanoseconds(_ text: String) -> Int64? {
    guard let (number, unit) = split(text) else { return nil }
    let factor: Double? =
      switch unit {
      case "ms": 1e6
      case "", "s", "sec": 1e9
      case "m", "min": 60e9
      case "h": 3600e9
      case "d": 86400e9
      case "w": 7 * 86400e9
      default: nil
      }
    return factor.flatMap { Int64(exactly: (number * $0).rounded()) }
  }

  /// `4096`, `10M`, `4GiB`, `1.5G`, with 1024 to the step whichever way the unit is written: in bytes. Nil for anything
  /// else, and for more than an Int64 holds.
  public static func bytes(_ text: String) -> Int64? {
    guard let (number, unit) = split(text) else { return nil }
    let shifts: [String: Int64] = ["": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50]
    var name = unit
    if name.hasSuffix("ib") { name.removeLast(2) } else if name.count == 2, name.hasSuffix("b") { name.removeLast() }
    guard let shift = shifts[name] else { return nil }
    // A number without a fraction must not lose digits by way of floating point.
    if let whole = Int64(text.prefix { $0.isASCII && $0.isNumber }), Double(whole) == number {
      let (product, overflow) = whole.multipliedReportingOverflow(by: 1 << shift)
      return overflow ? nil : product
    }
    return Int64(exactly: (number * Double(Int64(1) << shift)).rounded())
  }

  /// The number at the beginning, not negative, and the rest in lower case.
  private static func split(_ text: String) -> (Double, String)? {
    let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    guard let number = Double(digits), number.isFinite else { return nil }
    return (number, text.dropFirst(digits.count).lowercased())
  }

  // MARK: writing

  /// `12 ms`, `3.4 s`, `5 min 10 s`, `2 h 3 min`, `4 d 1 h`.
  public static func duration(_ nanoseconds: Int64) -> String {
    let seconds = nanoseconds / 1_000_000_000
    switch nanoseconds {
    case ..<1_000_000: return "\(decimal(Double(nanoseconds) / 1e6, places: 2, trimmed: true)) ms"
    case ..<1_000_000_000: return "\(nanoseconds / 1_000_000) ms"
    case ..<60_000_000_000: return "\(decimal(Double(nanoseconds) / 1e9, places: 1)) s"
    case ..<3_600_000_000_000: return "\(seconds / 60) min \(seconds % 60) s"
    case ..<86_400_000_000_000: return "\(seconds / 3600) h \(seconds % 3600 / 60) min"
    default: return "\(seconds / 86400) d \(seconds % 86400 / 3600) h"
    }
  }

  /// How long ago, in one unit: `5s`, `3m`, `2h`, `9d`.
  public static func age(_ nanoseconds: Int64) -> String {
    let seconds = max(0, nanoseconds / 1_000_000_000)
    return switch seconds {
    case ..<60: "\(seconds)s"
    case ..<3600: "\(seconds / 60)m"
    case ..<86400: "\(seconds / 3600)h"
    default: "\(seconds / 86400)d"
    }
  }

  /// `512 B`, `1.5 MiB`, `32 GiB`.
  public static func size(_ bytes: Int64) -> String {
    var value = Double(bytes)
    var unit = 0
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value.magnitude >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return "\(decimal(value, places: unit == 0 ? 0 : 1, trimmed: true)) \(units[unit])"
  }

  /// `2026-11-20 14:03:07 +0000`, in the local time zone. `nanoseconds` since 1970.
  public static func time(_ nanoseconds: Int64) -> String {
    var seconds = time_t(nanoseconds / 1_000_000_000)
    var parts = tm()
    guard localtime_r(&seconds, &parts) != nil else { return "?" }
    var buffer = [UInt8](repeating: 0, count: 64)
    let count = buffer.withUnsafeMutableBytes { raw in
      strftime(raw.baseAddress?.assumingMemoryBound(to: CChar.self), raw.count, "%Y-%m-%d %H:%M:%S %z", &parts)
    }
    return String(decoding: buffer.prefix(count), as: UTF8.self)
  }

  /// A number with so many decimals, rounded; `trimmed` leaves out zeros at the end.
  public static func decimal(_ value: Double, places: Int, trimmed: Bool = false) -> String {
    let factor = pow(10, Double(places))
    guard let scaled = Int64(exactly: (value.magnitude * factor).rounded()), let unit = Int64(exactly: factor) else {
      return String(value)
    }
    var text = (value < 0 && scaled > 0 ? "-" : "") + String(scaled / unit)
    guard places > 0 else { return text }
    var fraction = String(scaled % unit)
    fraction = String(repeating: "0", count: places - fraction.count) + fraction
    if trimmed { while fraction.last == "0" { fraction.removeLast() } }
    if !fraction.isEmpty { text += "." + fraction }
    return text
  }
}
