import CasherSystem

/// The graph as one page that opens from disk: drawn here, moved, magnified and searched by a script in it.
struct GraphPage {
  private let graph: LineageGraph
  private let layout: GraphLayout
  private let title: String

  init(_ graph: LineageGraph, title: String) {
    self.graph = graph
    self.title = title
    layout = GraphLayout(graph)
  }

  var text: String { Markup.page(title: "casherfs graph: \(title)", style: style, body: body, script: script) }

  private var body: String {
    let counts = "\(RunText.count(graph.runs.count, "run")), \(RunText.count(graph.files.count, "file"))"
    let heading = Markup.escaped(LineageGraph.short(title, 80))
    return """
      <header>
      <strong>\(heading)</strong>
      <span>\(counts)</span>
      <input id="search" type="search" placeholder="search" aria-label="search">
      <output id="found"></output>
      <button id="closer" title="magnify">+</button>
      <button id="farther" title="make smaller">&#8722;</button>
      <button id="whole" title="show all">all</button>
      </header>
      <svg id="graph" role="img" data-width="\(Markup.number(layout.width))" data-height="\(Markup.number(layout.height))">
      <defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">\
      <path d="M0 0L8 4L0 8z"></path></marker></defs>
      <g id="scene">
      \(outerRuns)
      \(edges)
      \(others)
      </g>
      </svg>
      <aside id="details" hidden></aside>
      """
  }

  // MARK: edges

  private var edges: String {
    graph.runs.enumerated().map { index, run in
      let box = layout.runs[index]
      return
        (run.inputs.map { edge($0, index, layout.files[$0], box, "f\($0)", "r\(index)") }
        + run.outputs.map { edge($0, index, box, layout.files[$0], "r\(index)", "f\($0)") }).joined(separator: "\n")
    }.joined(separator: "\n")
  }

  private func edge(
    _ file: Int, _ run: Int, _ from: GraphLayout.Box, _ to: GraphLayout.Box, _ source: String, _ target: String
  ) -> String {
    let (startX, startY) = (from.x + from.width, from.y + min(from.height / 2, GraphLayout.lineHeight))
    let (endX, endY) = (to.x, to.y + min(to.height / 2, GraphLayout.lineHeight))
    let bend = max(30, (endX - startX).magnitude / 2)
    let points = [startX, startY, startX + bend, startY, endX - bend, endY, endX, endY].map { Markup.number($0) }
    return "<path class=\"edge\" data-from=\"\(source)\" data-to=\"\(target)\" "
      + "d=\"M\(points[0]) \(points[1])C\(points[2]) \(points[3]) \(points[4]) \(points[5]) \(points[6]) \(points[7])\" "
      + "marker-end=\"url(#tip)\"></path>"
  }

  // MARK: nodes

  /// Below the edges, which lead to what is inside.
  private var outerRuns: String {
    graph.runs.indices.filter { !graph.runs[$0].children.isEmpty }.map { run($0) }.joined(separator: "\n")
  }

  private var others: String {
    let runs = graph.runs.indices.filter { graph.runs[$0].children.isEmpty }.map { run($0) }
    return (runs + graph.files.indices.map { file($0) }).joined(separator: "\n")
  }

  private func node(
    _ id: String, _ kind: String, _ box: GraphLayout.Box, _ label: String, _ details: [(String, String)], round: Double
  ) -> String {
    let shown = LineageGraph.short(label, GraphLayout.longestName)
    let text = details.map { "\($0.0): \($0.1)" }.joined(separator: "\n")
    return "<g class=\"node \(kind)\" id=\"\(id)\" data-details=\"\(Markup.escaped(text))\">"
      + "<title>\(Markup.escaped(text))</title>"
      + "<rect x=\"\(Markup.number(box.x))\" y=\"\(Markup.number(box.y))\" width=\"\(Markup.number(box.width))\" "
      + "height=\"\(Markup.number(box.height))\" rx=\"\(Markup.number(round))\"></rect>"
      + "<text x=\"\(Markup.number(box.x + GraphLayout.padding))\" "
      + "y=\"\(Markup.number(box.y + GraphLayout.lineHeight))\">\(Markup.escaped(shown))</text></g>"
  }

  private func run(_ index: Int) -> String {
    let run = graph.runs[index].stored
    return node(
      "r\(index)", run.exitStatus == 0 ? "run" : "run failed", layout.runs[index], "\(FilePath(run.command))",
      [
        ("run", RunText.short(run.id)), ("command", "\(FilePath(run.command))"),
        ("directory", "\(RunPaths.absolute(run.directory, in: run))"), ("took", Quantity.duration(run.duration)),
        ("stored", Quantity.time(run.created)), ("exit", "\(run.exitStatus)"),
      ], round: 3)
  }

  private func file(_ index: Int) -> String {
    let file = graph.files[index]
    return node(
      "f\(index)", file.inside == nil ? "file outside" : "file", layout.files[index], "\(file.name)",
      [("file", "\(file.path)"), ("sha256", file.digest.hexadecimal)], round: 12)
  }

  // MARK: style and script

  private var style: String {
    """
    :root { color-scheme: light dark; --line: light-dark(#889, #778); --run: light-dark(#dbe9f6, #24405a);
      --file: light-dark(#fff, #222); --text: light-dark(#123, #dde); --hit: light-dark(#ffd54a, #8a6d00); }
    html, body { margin: 0; height: 100%; overflow: hidden; font: 14px sans-serif; color: var(--text); }
    body { display: flex; flex-direction: column; }
    header { display: flex; gap: .7em; align-items: center; padding: .4em .8em; border-bottom: 1px solid var(--line); }
    header strong { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    header span { flex: 1; white-space: nowrap; opacity: .7; }
    #graph { flex: 1; cursor: grab; touch-action: none; }
    #graph.moving { cursor: grabbing; }
    text { font: 12px monospace; fill: var(--text); pointer-events: none; }
    rect { stroke: var(--line); fill: var(--file); }
    .run rect { fill: var(--run); }
    .failed rect { stroke: #c22; }
    .outside rect { stroke-dasharray: 4 3; }
    .edge { fill: none; stroke: var(--line); }
    marker path { fill: var(--line); }
    .found rect { fill: var(--hit); }
    .searching .node:not(.found), .searching .edge { opacity: .25; }
    .chosen rect, .edge.chosen { stroke: #e60; stroke-width: 2; }
    #details { position: fixed; right: 1em; bottom: 1em; max-width: 45%; padding: .6em 1em; white-space: pre-wrap;
      overflow-wrap: anywhere; background: var(--file); border: 1px solid var(--line); border-radius: 4px; }
    """
  }

  private var script: String {
    """
    'use strict';
    const graph = document.getElementById('graph'), scene = document.getElementById('scene');
    const search = document.getElementById('search'), found = document.getElementById('found');
    const details = document.getElementById('details');
    const nodes = [...document.querySelectorAll('.node')], edges = [...document.querySelectorAll('.edge')];
    const view = { x: 0, y: 0, scale: 1 };
    function show() { scene.setAttribute('transform', `translate(${view.x} ${view.y}) scale(${view.scale})`); }
    function magnify(factor, x, y) {
      const scale = Math.min(8, Math.max(0.02, view.scale * factor)), ratio = scale / view.scale;
      view.x = x - (x - view.x) * ratio;
      view.y = y - (y - view.y) * ratio;
      view.scale = scale;
      show();
    }
    function middle() { return [graph.clientWidth / 2, graph.clientHeight / 2]; }
    function showAll() {
      const width = Number(graph.dataset.width) + 40, height = Number(graph.dataset.height) + 40;
      view.scale = Math.min(1.5, graph.clientWidth / width || 1, graph.clientHeight / height || 1);
      view.x = (graph.clientWidth - (width - 40) * view.scale) / 2;
      view.y = (graph.clientHeight - (height - 40) * view.scale) / 2;
      show();
    }
    function moveTo(node) {
      const box = node.querySelector('rect').getBBox(), [x, y] = middle();
      view.scale = Math.max(view.scale, 0.8);
      view.x = x - (box.x + box.width / 2) * view.scale;
      view.y = y - (box.y + Math.min(box.height / 2, 40)) * view.scale;
      show();
    }
    graph.addEventListener('wheel', event => {
      event.preventDefault();
      const edge = graph.getBoundingClientRect();
      magnify(Math.exp(-event.deltaY / 400), event.clientX - edge.left, event.clientY - edge.top);
    }, { passive: false });
    let hold = null;
    graph.addEventListener('pointerdown', event => {
      hold = { x: event.clientX, y: event.clientY, viewX: view.x, viewY: view.y, moved: false };
    });
    window.addEventListener('pointermove', event => {
      if (!hold) return;
      const x = event.clientX - hold.x, y = event.clientY - hold.y;
      if (Math.abs(x) + Math.abs(y) > 3) hold.moved = true;
      if (!hold.moved) return;
      graph.classList.add('moving');
      view.x = hold.viewX + x;
      view.y = hold.viewY + y;
      show();
    });
    window.addEventListener('pointerup', event => {
      if (hold && !hold.moved) choose(event.target.closest ? event.target.closest('.node') : null);
      hold = null;
      graph.classList.remove('moving');
    });
    function choose(node) {
      for (const other of [...nodes, ...edges]) other.classList.remove('chosen');
      details.hidden = !node;
      if (!node) return;
      details.textContent = node.dataset.details;
      node.classList.add('chosen');
      for (const edge of edges) {
        if (edge.dataset.from === node.id || edge.dataset.to === node.id) edge.classList.add('chosen');
      }
    }
    let hits = [], current = -1;
    function find() {
      const text = search.value.trim().toLowerCase();
      hits = text ? nodes.filter(node => node.dataset.details.toLowerCase().includes(text)) : [];
      for (const node of nodes) node.classList.toggle('found', hits.includes(node));
      graph.classList.toggle('searching', text !== '');
      found.textContent = text ? `${hits.length} found` : '';
      current = -1;
    }
    function next(step) {
      if (!hits.length) return;
      current = (current + step + hits.length) % hits.length;
      moveTo(hits[current]);
      choose(hits[current]);
    }
    search.addEventListener('input', find);
    search.addEventListener('keydown', event => { if (event.key === 'Enter') next(event.shiftKey ? -1 : 1); });
    document.getElementById('closer').onclick = () => magnify(1.4, ...middle());
    document.getElementById('farther').onclick = () => magnify(1 / 1.4, ...middle());
    document.getElementById('whole').onclick = showAll;
    window.addEventListener('resize', showAll);
    document.addEventListener('keydown', event => {
      if (event.target === search) return;
      if (event.key === '/') { event.preventDefault(); search.focus(); }
      if (event.key === '+') magnify(1.4, ...middle());
      if (event.key === '-') magnify(1 / 1.4, ...middle());
      if (event.key === '0') showAll();
    });
    showAll();
    // A link may carry a search: graph.html#main.o
    if (location.hash.length > 1) { search.value = decodeURIComponent(location.hash.slice(1)); find(); next(1); }
    """
  }
}
