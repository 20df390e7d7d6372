import CasherSystem

/// Text in HTML and SVG.
enum Markup {
  /// The text as it may stand between tags and in quoted attributes.
  static func escaped(_ text: some StringProtocol) -> String {
    var result = ""
    result.reserveCapacity(text.utf8.count)
    for character in text.unicodeScalars {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(character)
      }
    }
    return result
  }

  /// A number as an attribute takes it: one decimal.
  static func number(_ value: Double) -> String { Quantity.decimal(value, places: 1, trimmed: true) }

  /// A page that needs nothing but itself; nothing is fetched, by the policy that it carries.
  static func page(title: String, style: String, body: String, script: String = "") -> String {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'">
    <title>\(escaped(title))</title>
    <style>
    \(style)
    </style>
    </head>
    <body>
    \(body)
    \(script.isEmpty ? "" : "<script>\n\(script)\n</script>")
    </body>
    </html>

    """
  }
}
