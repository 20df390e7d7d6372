import CasherSystem

extension LineageGraph {
  // MARK: dot

  /// In the language of Graphviz: files are ellipses, runs are boxes, and a run that started others is a cluster.
  var dot: String {
    var lines = [
      "digraph casher {", "  rankdir=LR;", "  node [fontname=\"sans-serif\", fontsize=10];",
      "  graph [fontname=\"sans-serif\", fontsize=10];",
    ]
    for (index, file) in files.enumerated() {
      let style = file.inside == nil ? ", style=dashed" : ""
      lines.append(
        "  f\(index) [shape=ellipse, label=\(quoted("\(file.name)")), tooltip=\(quoted(tooltip(file)))\(style)];")
    }
    for index in runs.indices where runs[index].parent == nil { lines += dotLines(index, depth: 1) }
    for (index, run) in runs.enumerated() {
      for file in run.inputs { lines.append("  f\(file) -> r\(index);") }
      for file in run.outputs { lines.append("  r\(index) -> f\(file);") }
    }
    return (lines + ["}"]).joined(separator: "\n") + "\n"
  }

  private func dotLines(_ index: Int, depth: Int) -> [String] {
    let run = runs[index]
    let indent = String(repeating: "  ", count: depth)
    let command = quoted(LineageGraph.short("\(FilePath(run.stored.command))", 60))
    let tooltip = quoted("\(RunText.short(run.stored.id)): \(FilePath(run.stored.command))")
    let node =
      "r\(index) [shape=box, style=\"filled\(run.stored.exitStatus == 0 ? "" : ",bold")\", fillcolor=\"#dbe9f6\", "
      + "label=\(command), tooltip=\(tooltip)];"
    if run.children.isEmpty { return [indent + node] }
    return ["\(indent)subgraph cluster_\(index) {", "\(indent)  label=\(command);", "\(indent)  \(node)"]
      + run.children.flatMap { dotLines($0, depth: depth + 1) } + ["\(indent)}"]
  }

  private func quoted(_ text: String) -> String {
    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n") + "\""
  }

  func tooltip(_ file: File) -> String { "\(file.path) \(file.digest.hexadecimal.prefix(12))" }

  /// At most `limit` characters, the middle left out where there are more.
  static func short(_ text: String, _ limit: Int) -> String {
    guard text.count > limit, limit > 4 else { return text }
    return text.prefix(limit * 2 / 3) + "…" + text.suffix(limit - limit * 2 / 3 - 1)
  }

  // MARK: JSON

  var json: JSON {
    .object([
      ("complete", .bool(!isCut)),
      (
        "runs",
        .array(
          runs.map { run in
            .object([
              ("id", .digest(run.stored.id)), ("command", .bytes(run.stored.command)),
              ("directory", .path(run.stored.directory)), ("mount", .path(run.stored.mount)),
              ("exit_status", .integer(Int64(run.stored.exitStatus))),
              ("parent", run.parent.map { .digest(runs[$0].stored.id) } ?? .null),
              ("inputs", .array(run.inputs.map { .integer(Int64($0)) })),
              ("outputs", .array(run.outputs.map { .integer(Int64($0)) })),
            ])
          })
      ),
      (
        "files",
        .array(
          files.map { file in
            .object([
              ("path", .path(file.path)), ("sha256", .digest(file.digest)), ("outside", .bool(file.inside == nil)),
            ])
          })
      ),
    ])
  }
}
