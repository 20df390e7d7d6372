/// What a mistyped word was meant to be.
public enum Spelling {
  /// Of the known words the one that begins with `text`, or takes the fewest changes to come from it; nil when none is
  /// near.
  public static func nearest(to text: ArraySlice<UInt8>, among known: [String]) -> String? {
    if text.count > 2, let whole = known.first(where: { $0.utf8.starts(with: text) }) { return whole }
    let limit = max(1, text.count / 3)
    guard text.count <= 64 else { return nil }
    let distances = known.map { ($0, distance(Array(text), Array($0.utf8))) }
    guard let best = distances.min(by: { $0.1 < $1.1 }), best.1 <= limit else { return nil }
    return best.0
  }

  /// How many bytes must be inserted, removed, replaced or swapped with their neighbour (optimal string alignment).
  private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    var before: [Int] = []
    var above = Array(0...right.count)
    for (row, byte) in left.enumerated() {
      var line = [row + 1]
      for (column, other) in right.enumerated() {
        var best = min(above[column + 1] + 1, line[column] + 1, above[column] + (byte == other ? 0 : 1))
        if row > 0, column > 0, byte == right[column - 1], left[row - 1] == other {
          best = min(best, before[column - 1] + 1)
        }
        line.append(best)
      }
      (before, above) = (above, line)
    }
    return above[right.count]
  }
}
