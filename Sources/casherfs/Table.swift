/// Rows of text in columns under their heads; the last column is left as wide as it is.
struct Table {
  private let heads: [String]
  private var rows: [[String]] = []
  private var styles: [[Style?]] = []

  init(_ heads: String...) { self.heads = heads }

  /// Adds a row; `styles` are those of its first cells.
  mutating func add(_ cells: [String], styles: [Style?] = []) {
    rows.append(cells)
    self.styles.append(styles)
  }

  var text: String {
    let all = [heads] + rows
    let widths = heads.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    return all.enumerated().map { number, row in
      row.enumerated().map { column, cell in
        let padded = column == heads.count - 1 ? cell : Help.pad(cell, to: widths[column])
        let style = number == 0 ? Style.bold : styles[number - 1].dropFirst(column).first ?? nil
        return style.map { $0(padded) } ?? padded
      }.joined(separator: "  ")
    }.joined(separator: "\n")
  }
}
