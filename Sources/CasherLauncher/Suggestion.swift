import CasherSystem

/// What a mistyped option was meant to be.
enum Suggestion {
  /// The name of the option that takes the fewest changes to come from `text`; nil when none is near.
  static func nearest(to text: ArraySlice<UInt8>) -> String? {
    Spelling.nearest(to: text, among: Option.all.map(\.name))
  }
}
