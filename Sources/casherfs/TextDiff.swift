/// What changed between two texts, line by line: the shortest script of removals and additions (E. W. Myers, An O(ND)
/// Difference Algorithm and Its Variations, 1986), printed as POSIX diff -u prints it.
struct TextDiff {
  enum Edit: Equatable {
    case keep, remove, add
  }

  /// More differences than this are shown as one removal and one addition: the search takes the square of them.
  private static let limit = 2000
  /// Lines around a change that are shown.
  private static let context = 3

  private let old: [ArraySlice<UInt8>]
  private let new: [ArraySlice<UInt8>]

  init(_ old: [UInt8], _ new: [UInt8]) {
    self.old = TextDiff.lines(old)
    self.new = TextDiff.lines(new)
  }

  /// Whether the bytes are such that showing them helps: no NUL near the begin.
  static func isText(_ bytes: [UInt8]) -> Bool { !bytes.prefix(8192).contains(0) }

  /// Each with its newline, which the last one may lack.
  private static func lines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
    var result: [ArraySlice<UInt8>] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      let end = rest.firstIndex(of: 10).map { $0 + 1 } ?? rest.endIndex
      result.append(rest[rest.startIndex..<end])
      rest = rest[end...]
    }
    return result
  }

  /// The script that makes the new text out of the old one.
  func edits() -> [Edit] {
    let prefix = zip(old, new).prefix { $0 == $1 }.count
    let rest = min(old.count, new.count) - prefix
    let suffix = zip(old.reversed(), new.reversed()).prefix(rest).prefix { $0 == $1 }.count
    let middle = shortest(old[prefix..<(old.count - suffix)], new[prefix..<(new.count - suffix)])
    return Array(repeating: .keep, count: prefix) + middle + Array(repeating: .keep, count: suffix)
  }

  private func shortest(_ old: ArraySlice<ArraySlice<UInt8>>, _ new: ArraySlice<ArraySlice<UInt8>>) -> [Edit] {
    let (count, newCount) = (old.count, new.count)
    let replaced = Array(repeating: Edit.remove, count: count) + Array(repeating: Edit.add, count: newCount)
    if count == 0 || newCount == 0 { return replaced }
    var furthest = Diagonals(reach: min(TextDiff.limit, count + newCount) + 1)
    // The state before each distance, as far as that distance can see.
    var history: [Diagonals] = []
    for distance in 0...min(TextDiff.limit, count + newCount) {
      history.append(furthest.narrowed(to: distance + 1))
      for diagonal in stride(from: -distance, through: distance, by: 2) {
        var x = furthest.goesDown(diagonal, distance) ? furthest[diagonal + 1] : furthest[diagonal - 1] + 1
        while x < count, x - diagonal < newCount,
          old[old.startIndex + x] == new[new.startIndex + x - diagonal]
        {
          x += 1
        }
        furthest[diagonal] = x
        if x >= count, x - diagonal >= newCount { return TextDiff.trace(history, count, newCount) }
      }
    }
    return replaced
  }

  /// How many old lines the furthest path on each diagonal has used; a diagonal is old lines less new lines used.
  private struct Diagonals {
    private var used: [Int]
    private let reach: Int

    /// For diagonals from `-reach` to `reach`.
    init(reach: Int) {
      self.reach = reach
      used = Array(repeating: 0, count: 2 * reach + 1)
    }

    subscript(diagonal: Int) -> Int {
      get { used[diagonal + reach] }
      set { used[diagonal + reach] = newValue }
    }

    /// Whether the furthest path of this distance comes to the diagonal by adding a line rather than removing one.
    func goesDown(_ diagonal: Int, _ distance: Int) -> Bool {
      diagonal == -distance || (diagonal != distance && self[diagonal - 1] < self[diagonal + 1])
    }

    func narrowed(to reach: Int) -> Diagonals {
      var result = Diagonals(reach: min(reach, self.reach))
      let surplus = self.reach - result.reach
      result.used = Array(used[surplus..<(used.count - surplus)])
      return result
    }
  }

  /// Walks back from the end through the states that `shortest` went through.
  private static func trace(_ history: [Diagonals], _ count: Int, _ newCount: Int) -> [Edit] {
    var edits: [Edit] = []
    var (x, y) = (count, newCount)
    for (distance, furthest) in history.enumerated().reversed() {
      let diagonal = x - y
      let goesDown = furthest.goesDown(diagonal, distance)
      let previous = goesDown ? diagonal + 1 : diagonal - 1
      let (startX, startY) = (furthest[previous], furthest[previous] - previous)
      while x > startX, y > startY, x > 0, y > 0 {
        edits.append(.keep)
        (x, y) = (x - 1, y - 1)
      }
      if distance == 0 { break }
      edits.append(goesDown ? .add : .remove)
      (x, y) = (startX, startY)
    }
    return edits.reversed()
  }

  /// The unified form, with these names in its head; nothing when the texts are the same.
  func unified(_ oldName: String, _ newName: String) -> [UInt8] {
    let edits = edits()
    var result: [UInt8] = []
    var (oldLine, newLine, index) = (0, 0, 0)
    while let change = edits[index...].firstIndex(where: { $0 != .keep }) {
      let begin = max(index, change - TextDiff.context)
      (oldLine, newLine) = (oldLine + begin - index, newLine + begin - index)
      let end = hunkEnd(edits, from: change)
      if result.isEmpty { result += Array("--- \(oldName)\n+++ \(newName)\n".utf8) }
      let hunk = edits[begin..<end]
      let (removed, added) = (hunk.count { $0 != .add }, hunk.count { $0 != .remove })
      result += Array("@@ -\(TextDiff.range(oldLine, removed)) +\(TextDiff.range(newLine, added)) @@\n".utf8)
      for edit in hunk {
        let line = edit == .add ? new[newLine] : old[oldLine]
        result.append(UInt8(ascii: edit == .keep ? " " : edit == .add ? "+" : "-"))
        result += line
        if line.last != 10 { result += Array("\n\\ No newline at end of file\n".utf8) }
        if edit != .add { oldLine += 1 }
        if edit != .remove { newLine += 1 }
      }
      index = end
    }
    return result
  }

  /// Where the hunk that a change is in ends: before more kept lines than two contexts take.
  private func hunkEnd(_ edits: [Edit], from change: Int) -> Int {
    var last = change
    for index in change..<edits.count {
      if edits[index] != .keep { last = index } else if index - last > 2 * TextDiff.context { break }
    }
    return min(edits.count, last + 1 + TextDiff.context)
  }

  private static func range(_ line: Int, _ count: Int) -> String {
    if count == 1 { return "\(line + 1)" }
    return "\(count == 0 ? line : line + 1),\(count)"
  }
}
