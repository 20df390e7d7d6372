"""Diagrams as SVG, without a library."""

import math
from xml.sax.saxutils import escape

COLOURS = ["#1f6feb", "#d1570a", "#1a7f37", "#8250df", "#bf3989"]
WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 74, 20, 40, 52


def diagram(plot):
    """The SVG text of a plot as `harness.plot` describes it."""
    points = [point for line in plot["lines"] for point in line["points"]]
    if not points:
        return ""
    logarithmic = plot["logarithmic"]
    xs = axis([x for x, _ in points], logarithmic)
    ys = axis([y for _, y in points], logarithmic)

    def place(x, y):
        return (LEFT + xs.share(x) * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - ys.share(y) * (HEIGHT - TOP - BOTTOM))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#24292f">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">{escape(plot["title"])}</text>',
    ]
    for value in xs.ticks:
        x, _ = place(value, ys.low)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#d8dee4"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{quantity(value, plot["x"])}</text>')
    for value in ys.ticks:
        _, y = place(xs.low, value)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#d8dee4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{quantity(value, plot["y"])}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">'
                 f'{escape(plot["x"])}</text>')
    for number, line in enumerate(plot["lines"]):
        colour = COLOURS[number % len(COLOURS)]
        places = [place(x, y) for x, y in line["points"]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
        y = TOP + 16 + 17 * number
        parts.append(f'<rect x="{LEFT + 12}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 28}" y="{y}">{escape(line["name"])}</text>')
    return "\n".join(parts + ["</svg>", ""])


class Axis:
    """One direction: which values it shows, and where a value stands between 0 and 1."""

    def __init__(self, low, high, ticks, logarithmic):
        self.low, self.high, self.ticks, self.logarithmic = low, high, ticks, logarithmic

    def share(self, value):
        if self.logarithmic:
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def axis(values, logarithmic):
    if logarithmic:
        low = 10 ** math.floor(math.log10(min(value for value in values if value > 0)))
        high = 10 ** math.ceil(math.log10(max(values)))
        if high <= low:
            high = low * 10
        steps = round(math.log10(high / low))
        return Axis(low, high, [low * 10 ** step for step in range(0, steps + 1, max(1, steps // 8))], True)
    high = max(values) or 1
    step = 10 ** math.floor(math.log10(high))
    step = next(step * factor for factor in (0.1, 0.2, 0.5, 1, 2, 5, 10) if high / (step * factor) <= 6)
    count = math.ceil(high / step)
    return Axis(0, step * count, [step * number for number in range(count + 1)], False)


def quantity(value, unit):
    """A number at an axis."""
    if value == 0:
        return "0"
    if unit == "seconds":
        for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
            if value * factor >= 0.999:
                return f"{value * factor:g} {name}"
        return f"{value * 1e9:g} ns"
    for factor, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:g} {name}"
    return f"{value:g}"
