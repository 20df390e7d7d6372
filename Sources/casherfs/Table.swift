/// Rows of text in columns under their heads; the last column is left as wide as it is.
struct Table {
  private var rows: [[String]]
  private var styles: [[Style?]]
  /// Of the columns, as far as rows were given out already.
  private var widths: [Int]

  init(_ heads: String...) {
    rows = [heads]
    widths = heads.map { _ in 0 }
    styles = [heads.map { _ in .bold }]
  }

  /// Adds a row; `styles` are those of its first cells.
  mutating func add(_ cells: [String], styles: [Style?] = []) {
    rows.append(cells)
    self.styles.append(styles)
  }

  /// All of it.
  var text: String {
    var table = self
    return table.take()
  }

  /// What was added since the last time, the heads first. Columns do not become narrower from one time to the next.
  mutating func take() -> String {
    for column in widths.indices.dropLast() {
      widths[column] = rows.reduce(widths[column]) { max($0, $1[column].count) }
    }
    let lines = zip(rows, styles).map { row, styles in
      row.enumerated().map { column, cell in
        let padded = column == widths.count - 1 ? cell : Help.pad(cell, to: widths[column])
        let style = styles.dropFirst(column).first ?? nil
        return style.map { $0(padded) } ?? padded
      }.joined(separator: "  ")
    }
    (rows, styles) = ([], [])
    return lines.joined(separator: "\n")
  }
}
