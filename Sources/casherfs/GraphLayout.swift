import CasherSystem

/// Where everything of a graph is drawn, from left to right: outermost runs as boxes with the runs inside them, files in
/// between. After K. Sugiyama, S. Tagawa, M. Toda, Methods for Visual Understanding of Hierarchical System Structures,
/// 1981: layers by the longest path, order within a layer by the mean of the neighbours.
struct GraphLayout {
  struct Box {
    var x = 0.0
    var y = 0.0
    var width = 0.0
    var height = 0.0
  }

  private(set) var files: [Box]
  private(set) var runs: [Box]
  private(set) var width = 0.0
  private(set) var height = 0.0

  static let textWidth = 7.4
  static let lineHeight = 16.0
  static let padding = 8.0
  static let longestName = 34
  private static let gap = (x: 90.0, y: 14.0)
  private static let sweeps = 6

  /// Nodes of the layered graph: files first, then outermost runs.
  private let outermost: [Int]
  private var successors: [[Int]] = []
  private var predecessors: [[Int]] = []

  init(_ graph: LineageGraph) {
    files = graph.files.map { file in
      Box(width: GraphLayout.width(of: "\(file.name)"), height: GraphLayout.lineHeight + GraphLayout.padding)
    }
    runs = graph.runs.map { _ in Box() }
    outermost = graph.runs.indices.filter { graph.runs[$0].parent == nil }
    for run in outermost { measure(run, graph) }
    connect(graph)
    let layers = ordered(layered())
    place(layers)
    for run in outermost { placeChildren(run, graph) }
  }

  private static func width(of text: String) -> Double {
    Double(min(text.count, longestName)) * textWidth + 2 * padding
  }

  /// A run's box has room for its command and for the runs inside it, one below the other.
  private mutating func measure(_ run: Int, _ graph: LineageGraph) {
    var width = GraphLayout.width(of: "\(FilePath(graph.runs[run].stored.command))")
    var height = GraphLayout.lineHeight + GraphLayout.padding
    for child in graph.runs[run].children {
      measure(child, graph)
      width = max(width, runs[child].width + 2 * GraphLayout.padding)
      height += runs[child].height + GraphLayout.padding
    }
    runs[run].width = width
    runs[run].height = height
  }

  private mutating func placeChildren(_ run: Int, _ graph: LineageGraph) {
    var y = runs[run].y + GraphLayout.lineHeight + GraphLayout.padding
    for child in graph.runs[run].children {
      runs[child].x = runs[run].x + GraphLayout.padding
      runs[child].y = y
      y += runs[child].height + GraphLayout.padding
      placeChildren(child, graph)
    }
  }

  // MARK: layers

  private mutating func connect(_ graph: LineageGraph) {
    var node: [Int: Int] = [:]
    for (index, run) in outermost.enumerated() { node[run] = files.count + index }
    func nodeOf(_ run: Int) -> Int? {
      var current = run
      while let parent = graph.runs[current].parent { current = parent }
      return node[current]
    }
    let count = files.count + outermost.count
    var edges: [Set<Int>] = Array(repeating: [], count: count)
    for (index, run) in graph.runs.enumerated() {
      guard let target = nodeOf(index) else { continue }
      for file in run.inputs { edges[file].insert(target) }
      for file in run.outputs { edges[target].insert(file) }
    }
    successors = edges.map { $0.sorted() }
    removeCycles()
    predecessors = Array(repeating: [], count: count)
    for (from, targets) in successors.enumerated() { for to in targets { predecessors[to].append(from) } }
  }

  /// Leaves out the edges that lead back to a node on the way to which they were found. They are drawn all the same.
  private mutating func removeCycles() {
    enum State { case new, open, done }
    var states = Array(repeating: State.new, count: successors.count)
    // Files that nothing makes come first, so that the way goes with time where it can.
    let made = Set(successors.flatMap { $0 })
    let starts = successors.indices.filter { !made.contains($0) } + successors.indices.filter { made.contains($0) }
    for start in starts where states[start] == .new {
      var path: [(node: Int, next: Int)] = [(start, 0)]
      states[start] = .open
      while let (node, next) = path.last {
        guard next < successors[node].count else {
          states[node] = .done
          path.removeLast()
          continue
        }
        let target = successors[node][next]
        switch states[target] {
        case .open: successors[node].remove(at: next)
        case .done: path[path.count - 1].next += 1
        case .new:
          path[path.count - 1].next += 1
          states[target] = .open
          path.append((target, 0))
        }
      }
    }
  }

  private func layered() -> [[Int]] {
    var missing = predecessors.map(\.count)
    var layer = Array(repeating: 0, count: missing.count)
    var ready = missing.indices.filter { missing[$0] == 0 }
    while let node = ready.popLast() {
      for target in successors[node] {
        layer[target] = max(layer[target], layer[node] + 1)
        missing[target] -= 1
        if missing[target] == 0 { ready.append(target) }
      }
    }
    // Files that are only read stand right before their first reader.
    for node in files.indices where predecessors[node].isEmpty {
      if let first = successors[node].map({ layer[$0] }).min() { layer[node] = max(0, first - 1) }
    }
    var result: [[Int]] = Array(repeating: [], count: (layer.max() ?? -1) + 1)
    for (node, number) in layer.enumerated() { result[number].append(node) }
    return result
  }

  private func ordered(_ given: [[Int]]) -> [[Int]] {
    var layers = given
    var position = Array(repeating: 0.0, count: successors.count)
    func number() { for layer in layers { for (index, node) in layer.enumerated() { position[node] = Double(index) } } }
    number()
    for sweep in 0..<GraphLayout.sweeps {
      let forward = sweep % 2 == 0
      for index in forward ? Array(layers.indices) : layers.indices.reversed() {
        let means = layers[index].map { node -> (node: Int, mean: Double) in
          let neighbours = forward ? predecessors[node] : successors[node]
          guard !neighbours.isEmpty else { return (node, position[node]) }
          return (node, neighbours.reduce(0) { $0 + position[$1] } / Double(neighbours.count))
        }
        layers[index] = means.enumerated().sorted { ($0.element.mean, $0.offset) < ($1.element.mean, $1.offset) }
          .map(\.element.node)
        for (place, node) in layers[index].enumerated() { position[node] = Double(place) }
      }
    }
    return layers
  }

  private mutating func place(_ layers: [[Int]]) {
    func box(_ node: Int) -> Box { node < files.count ? files[node] : runs[outermost[node - files.count]] }
    let heights = layers.map { layer in
      layer.reduce(-GraphLayout.gap.y) { $0 + box($1).height + GraphLayout.gap.y }
    }
    height = max(0, heights.max() ?? 0)
    var x = 0.0
    for (layer, used) in zip(layers, heights) {
      let wide = layer.map { box($0).width }.max() ?? 0
      var y = (height - used) / 2
      for node in layer {
        var placed = box(node)
        (placed.x, placed.y) = (x + (wide - placed.width) / 2, y)
        y += placed.height + GraphLayout.gap.y
        if node < files.count { files[node] = placed } else { runs[outermost[node - files.count]] = placed }
      }
      x += wide + GraphLayout.gap.x
    }
    width = max(0, x - GraphLayout.gap.x)
  }
}
