"""Charts as SVG: no script, no style of its own, colours by class, so that the page's style sheet makes them dark.

Invariant: no two texts of a drawing overlap. Names and numbers of a bar chart have columns of their own; labels of
lines and marks are moved apart. `tests/browser` measures the boxes in a browser. A phone gets the chart's table.
"""

from collections.abc import Callable, Iterator, Sequence
from math import ceil, floor, log10
from unicodedata import east_asian_width

from markupsafe import Markup, escape

from tuneworthy.report.chart import Bar, BarChart, Chart, LineChart, alt_of, shown
from tuneworthy.report.text import clean

Scale = Callable[[float], float]
# Size of letters, and height of a line of text, pixels.
SIZE, LINE = 13, 18
# Width of a letter as a share of its size: above the mean of a wide sans serif, so that a narrower font fits too.
LETTER, WIDE_LETTER = 0.64, 1.05
# How much wider bold letters are.
BOLD = {False: 1.0, True: 1.15}
# Names end at this share of the width, and so do the names of lines on the right.
NAMES = 0.34


def text_width(text: str) -> float:
    """Return the estimated width of a text in pixels, rather too wide.

    >>> text_width("few_shot") == text_width("baseline") < text_width("分類器分類器")
    True
    """
    return SIZE * sum(WIDE_LETTER if east_asian_width(one) in {"W", "F"} else LETTER for one in text)


def fit(text: str, width: float) -> str:
    """Return a text, cut to a width.

    >>> fit("baseline/weak", 60)
    'baseli…'
    """
    text = clean(text, 0)
    if text_width(text) <= width:
        return text
    while text and text_width(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def scale(low: float, high: float, start: float, end: float, *, logarithmic: bool = False) -> Scale:
    """Return the function from values to pixels; values outside the scale are drawn at its ends.

    >>> scale(0.0, 1.0, 100.0, 200.0)(0.25), scale(1.0, 100.0, 0.0, 10.0, logarithmic=True)(10.0)
    (125.0, 5.0)
    """
    if logarithmic:
        linear = scale(log10(low), log10(high), start, end)
        return lambda value: linear(log10(max(value, low)))
    return lambda value: start + (end - start) * (min(max(value, low), high) - low) / ((high - low) or 1)


def apart(places: Sequence[float], size: float, low: float, high: float) -> list[float]:
    """Return places, in their order, moved as little as needed to be `size` apart and between `low` and `high`.

    >>> apart([10.0, 12.0, 80.0], 20, 0, 100)
    [10.0, 30.0, 80.0]
    """
    moved: dict[int, float] = {}
    order, below = sorted(range(len(places)), key=places.__getitem__), low - size
    for one in order:
        below = moved[one] = max(places[one], below + size)
    above = high + size
    for one in reversed(order):
        above = moved[one] = min(moved[one], above - size)
    return [moved[one] for one in range(len(places))]


class Drawing:
    """The parts of a drawing."""

    def __init__(self, width: float, height: float) -> None:
        self.size = width, height
        self.parts: list[str] = []

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        """Write a text; `y` is its base line."""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>')

    def rule(self, start: tuple[float, float], end: tuple[float, float], kind: str) -> None:
        """Draw a straight line."""
        (x1, y1), (x2, y2) = start, end
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def box(self, left: float, top: float, right: float, bottom: float, kind: str) -> None:
        """Draw a rectangle that is at least a line wide."""
        width = max(1.5, right - left)
        self.parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}" class="{kind}"/>'
        )

    def path(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Draw a line through points."""
        self.parts.append(f'<path d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in points)}" class="{kind}"/>')

    def dot(self, x: float, y: float, kind: str, radius: float = 5.0) -> None:
        """Draw a point."""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}"/>')

    def svg(self, alt: str) -> Markup:
        """Return the whole drawing."""
        width, height = self.size
        head = f'<svg class="chart wide" width="{width:g}" height="{height:g}" '
        head += f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(clean(alt, 0))}">'
        return Markup(head + "".join(self.parts) + "</svg>")


def draw(chart: Chart) -> Markup:
    """Return a chart as SVG."""
    return _drawing(chart, chart.width).svg(alt_of(chart))


def _drawing(chart: Chart, width: int) -> Drawing:
    return _bars(chart, width) if isinstance(chart, BarChart) else _lines(chart, width)


def stacked(charts: Sequence[Chart], width: int, style: Markup) -> str:
    """Return charts below each other as one file, with its style sheet."""
    parts, y = [Markup("<style>{}</style>").format(style)], 0.0
    for chart in charts:
        drawing = _drawing(chart, width)
        title = '<text class="chart" x="4" y="{}" font-weight="600">{}</text><g transform="translate(0 {:.0f})">{}</g>'
        parts.append(Markup(title).format(y + LINE, chart.title, y + LINE + 6, drawing.svg(alt_of(chart))))
        y += drawing.size[1] + 2 * LINE
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1:.0f}" viewBox="0 0 {0} {1:.0f}">{2}</svg>'
    return Markup(head).format(width, y, Markup("").join(parts))


def _bars(chart: BarChart, width: int) -> Drawing:
    rooms = [max(text_width(clean(row.cells[i], 0)) for row in chart.rows) for i in range(len(chart.headings) - 1)]
    left = 16 + min(NAMES * width, max(text_width(clean(row.label, 0)) * BOLD[row.strong] for row in chart.rows))
    right = max(left + 60, width - 4 - sum(rooms) - 20 * len(rooms))
    top, step = LINE * len(chart.marks) + 4, LINE * 1.55
    bottom = top + step * len(chart.rows)
    drawing, at = Drawing(width, bottom + (LINE + 8 if chart.unit else 4)), scale(*chart.domain, left, right)
    if chart.unit:
        _ticks(drawing, chart, at, (left, right), (top, bottom))
    _marks(drawing, [(at(value), at(value), words) for value, words in chart.marks], bottom)
    for place, row in enumerate(chart.rows):
        middle, weight = top + step * (place + 0.5), "strong" if row.strong else ""
        _bar(drawing, row, at, middle)
        drawing.text(left - 12, middle + 4.5, fit(row.label, (left - 15) / BOLD[row.strong]), weight, "end")
        x = right
        for number, (cell, room) in enumerate(zip(row.cells, rooms, strict=True)):
            x += room + 20
            start, anchor = (x - room, "start") if number in chart.words else (x, "end")
            drawing.text(start, middle + 4.5, fit(cell, room + 1), "", anchor)
    return drawing


def _ticks(drawing: Drawing, chart: BarChart, at: Scale, ends: tuple[float, float], rows: tuple[float, float]) -> None:
    (left, right), (top, bottom), unit = ends, rows, chart.unit or "count"
    edge = -1.0
    for tick in _round_ticks(*chart.domain, max(2, int((right - left) / 70))):
        text, x = shown(tick, unit).replace(".0%", "%"), at(tick)
        half = text_width(text) / 2
        middle = min(max(x, half), drawing.size[0] - half)
        drawing.rule((x, top), (x, bottom), "grid")
        if middle - half > edge:
            drawing.text(middle, bottom + LINE - 2, text, "muted", "middle")
            edge = middle + half + 4


def _bar(drawing: Drawing, row: Bar, at: Scale, middle: float) -> None:
    if row.value is None:
        return
    if row.start is not None:
        low, high = sorted((at(row.start), at(row.value)))
        drawing.box(low, middle - 6, high, middle + 6, f"k-{row.kind}")
    if row.interval is not None:
        kind = f"span k-{row.kind}" if row.start is None else "span over"
        drawing.rule((at(row.interval[0]), middle), (at(row.interval[1]), middle), kind)
    if row.start is None:
        drawing.dot(at(row.value), middle, f"k-{row.kind}")


def _marks(drawing: Drawing, marks: Sequence[tuple[float, float, str]], bottom: float) -> None:
    width = drawing.size[0]
    ordered = sorted(marks)
    for row, (start, end, _) in enumerate(ordered):
        if end > start:
            drawing.box(start, LINE * (row + 1), end, bottom, "band-mark")
        drawing.rule((start, LINE * row + 4), (start, bottom), "mark")
    for row, (start, _, words) in enumerate(ordered):
        text = fit(words, width - 12)
        room = text_width(text)
        x = start + 5 if start + 5 + room < width else max(2.0, width - room - 2)
        drawing.box(x - 2, LINE * row, x + room, LINE * row + LINE - 3, "back")
        drawing.text(x, LINE * row + 13, text, "mark")


def _lines(chart: LineChart, width: int) -> Drawing:
    names = [*(line.label for line in chart.lines), *(words for _, words in chart.levels)]
    room = min(NAMES * width, max(text_width(clean(name, 0)) for name in names) + 6)
    (low, high), money = _ends([*_values(chart)], chart), chart.y_unit == "usd"
    if money:
        first, last = round(log10(low)), round(log10(high))
        ticks = [10.0**power for power in range(first, last + 1, max(1, ceil((last - first) / 6)))]
    else:
        ticks = [*_round_ticks(low, high, 5)]
    words = [f"${_short(tick)}" if money else shown(tick, chart.y_unit).replace(".0%", "%") for tick in ticks]
    left, right = max(map(text_width, words), default=20.0) + 12, width - room - 10
    top = LINE * (len(chart.marks) + 1) + 12
    bottom = top + 280
    drawing = Drawing(width, bottom + 2 * LINE + 8)
    x_at = scale(chart.ticks[0], chart.ticks[-1], left, right, logarithmic=True)
    y_at = scale(low, high, bottom, top, logarithmic=money)
    for tick, text in zip(ticks, words, strict=True):
        drawing.rule((left, y_at(tick)), (right, y_at(tick)), "grid")
        drawing.text(left - 6, y_at(tick) + 4.5, text, "muted", "end")
    drawing.text(2, top - 12, fit(chart.y_title, width - 4), "muted")
    _x_axis(drawing, chart, x_at, bottom, (left, right))
    for line in chart.lines:
        if line.band:
            drawing.path([(x_at(x), y_at(y)) for x, y in line.outline], f"area k-{line.kind}")
    _marks(drawing, [(x_at(start), x_at(end), words) for start, end, words in chart.marks], bottom)
    ends: list[tuple[float, str, str]] = []
    for line in chart.lines:
        if len(line.points) > 1:
            drawing.path([(x_at(x), y_at(y)) for x, y in line.points], f"line k-{line.kind}")
        for x, y in line.dots:
            drawing.dot(x_at(x), y_at(y), f"k-{line.kind}", 3.5)
        ends.append((y_at(line.points[-1][1]), line.label, f"k-{line.kind}"))
    for value, label in chart.levels:
        drawing.rule((left, y_at(value)), (right, y_at(value)), "mark")
        ends.append((y_at(value), label, "mark"))
    for (_, label, kind), y in zip(ends, apart([end[0] for end in ends], LINE, top, bottom), strict=True):
        drawing.text(right + 8, y + 4.5, fit(label, room - 2), kind)
    return drawing


def _x_axis(drawing: Drawing, chart: LineChart, x_at: Scale, bottom: float, ends: tuple[float, float]) -> None:
    left, right = ends
    drawing.rule((left, bottom), (right, bottom), "axis")
    edge = left - 40
    for tick in chart.ticks:
        text, x = _short(tick), x_at(tick)
        half = text_width(text) / 2
        if x - half > edge + 6:
            drawing.rule((x, bottom), (x, bottom + 4), "axis")
            drawing.text(x, bottom + LINE, text, "muted", "middle")
            edge = x + half
    drawing.text((left + right) / 2, bottom + 2 * LINE, fit(chart.x_title, drawing.size[0] - 8), "muted", "middle")


def _values(chart: LineChart) -> Iterator[float]:
    for line in chart.lines:
        yield from (y for _, y in [*line.points, *line.dots])
        yield from (y for _, *both_ends in line.band for y in both_ends)
    yield from (value for value, _ in chart.levels)


def _ends(values: Sequence[float], chart: LineChart) -> tuple[float, float]:
    low, high = min(values), max(values)
    if chart.y_unit == "usd":
        least = 10 ** floor(log10(max(low, 0.01)))
        return least, max(10 * least, 10 ** ceil(log10(max(high, 0.1))))
    least = -1.0 if chart.y_unit == "points" else 0.0
    return max(least, floor(10 * (low - 0.02)) / 10), min(1.0, ceil(10 * (high + 0.02)) / 10)


def _round_ticks(low: float, high: float, most: int) -> Iterator[float]:
    """Yield at most about `most` round values from `low` to `high`."""
    raw = (high - low or 1) / most
    size = 10 ** floor(log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw * 0.999)
    for place in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1):
        yield round(place * step, 10)


def _short(value: float) -> str:
    """Return a whole number, short.

    >>> _short(1_000.0), _short(250_000.0), _short(10_000_000.0), _short(62.0), _short(999_999.0), _short(1e13)
    ('1k', '250k', '10M', '62', '1M', '10,000B')
    """
    value = float(f"{value:.3g}")
    for size, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:,.10g}{name}"
    return f"{value:g}"
