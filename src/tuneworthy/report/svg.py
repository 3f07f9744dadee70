"""Charts as SVG: no script, no style of its own, colours by class, so that the page's style sheet makes them dark.

Invariant: no two texts of a drawing overlap. Names and numbers of a bar chart have columns of their own; labels of
lines and marks are moved apart. `tests/browser` measures the boxes in a browser.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import ceil, floor, log10

from markupsafe import Markup, escape

from tuneworthy.report.chart import Bar, BarChart, Chart, LineChart, alt_of, shown
from tuneworthy.report.text import clean

Scale = Callable[[float], float]
# Width of a drawing on a phone, pixels; size of its letters; height of a line of text.
NARROW, SIZE, LINE = 340, 13, 18
PHONE = 400
# Widths of letters as shares of their size: those of a wide sans serif, so that a narrower one fits too.
_WIDTHS = ((0.42, " .,:;!'|ijlI()[]f-/`rt"), (1.0, "mwMW%@&<>=+~^#"), (0.8, "ABCDEFGHJKLNOPQRSTUVXYZ$"))
# How much wider bold letters are.
BOLD = {False: 1.0, True: 1.15}
# Names end at this share of the width, and so do the names of lines on the right.
NAMES = 0.34


@cache
def text_width(text: str) -> float:
    """Return about how wide a text is, pixels; rather too wide.

    >>> text_width("ill") < text_width("mmm")
    True
    """
    shares = (
        next((share for share, those in _WIDTHS if one in those), 0.65 if one.isascii() else 1.05) for one in text
    )
    return SIZE * sum(shares)


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

    def svg(self, alt: str, kind: str = "") -> Markup:
        """Return the whole drawing."""
        width, height = self.size
        head = f'<svg class="chart {kind}" width="{width:g}" height="{height:g}" '
        head += f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(clean(alt, 0))}">'
        return Markup(head + "".join(self.parts) + "</svg>")


def draw(chart: Chart, width: int, kind: str = "") -> Markup:
    """Return a chart as SVG of this width."""
    drawing = _bars(chart, width) if isinstance(chart, BarChart) else _lines(chart, width)
    return drawing.svg(alt_of(chart), kind)


def both(chart: Chart) -> Markup:
    """Return a chart for a screen and for a phone; the style sheet shows one."""
    return draw(chart, chart.width, "wide") + draw(chart, NARROW, "narrow")


def stacked(charts: Sequence[Chart], width: int, style: Markup) -> str:
    """Return charts below each other as one file, with its style sheet."""
    parts, y = [Markup("<style>") + style + Markup("</style>")], 0.0
    for chart in charts:
        drawing = _bars(chart, width) if isinstance(chart, BarChart) else _lines(chart, width)
        title = Markup('<text class="chart" x="4" y="{}" font-weight="600">{}</text>').format(y + LINE, chart.title)
        parts += [
            title,
            Markup('<g transform="translate(0 {:.0f})">').format(y + LINE + 6),
            drawing.svg(alt_of(chart)),
            Markup("</g>"),
        ]
        y += drawing.size[1] + 2 * LINE
    head = Markup('<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1:.0f}" viewBox="0 0 {0} {1:.0f}">')
    return head.format(width, y) + Markup("").join(parts) + Markup("</svg>")


# --- bars ---------------------------------------------------------------------------------------------------------


def _bars(chart: BarChart, width: int) -> Drawing:
    narrow = width <= PHONE
    columns = [max(text_width(clean(row.cells[i], 0)) for row in chart.rows) for i in range(len(chart.headings) - 1)]
    left, right = (4.0, width - 4.0)
    if not narrow:
        left = 16 + min(NAMES * width, max(text_width(clean(row.label, 0)) * BOLD[row.strong] for row in chart.rows))
        right = max(left + 60, width - sum(columns) - 20 * len(columns))
    top = LINE * len(chart.marks) + 4
    below = [_wrapped(row.cells, width - 8) for row in chart.rows] if narrow else []
    step = LINE * (2 + max(map(len, below), default=1)) if narrow else LINE * 1.55
    bottom = top + step * len(chart.rows)
    drawing = Drawing(width, bottom + (LINE + 8 if chart.unit else 4))
    low, high = chart.domain

    def at(value: float) -> float:
        return left + (right - left) * (min(max(value, low), high) - low) / ((high - low) or 1)

    if chart.unit:
        _scale(drawing, chart, at, (left, right), (top, bottom))
    _marks(drawing, [(at(value), at(value), words) for value, words in chart.marks], bottom)
    for row, y in zip(chart.rows, (top + step * place for place in range(len(chart.rows))), strict=True):
        middle = y + step - 11 if narrow else y + step / 2
        _bar(drawing, row, at, middle)
        if narrow:
            lines = [fit(row.label, (width - 8) / BOLD[row.strong]), *_wrapped(row.cells, width - 8)]
            for place, text in enumerate(lines):
                drawing.box(left, y + LINE * place + 1, left + text_width(text), y + LINE * (place + 1), "back")
                drawing.text(left, y + LINE * place + 14, text, "muted" if place else "strong" if row.strong else "")
            continue
        drawing.text(
            left - 12,
            middle + 4.5,
            fit(row.label, (left - 15) / BOLD[row.strong]),
            "strong" if row.strong else "",
            "end",
        )
        x = right
        for place, (cell, room) in enumerate(zip(row.cells, columns, strict=True)):
            x += room + 20
            is_text = place in chart.words
            drawing.text(
                x - room if is_text else x, middle + 4.5, fit(cell, room + 1), "", "start" if is_text else "end"
            )
    return drawing


def _wrapped(cells: Sequence[str], width: float) -> list[str]:
    lines: list[str] = []
    for cell in filter(None, cells):
        parts = [cell] if text_width(cell) <= width else cell.split()
        for place, part in enumerate(parts):
            longer = f"{lines[-1]}{' ' if place else ', '}{part}" if lines else part
            lines = [*lines[:-1], longer] if text_width(longer) <= width else [*lines, fit(part, width)]
    return lines


def _scale(drawing: Drawing, chart: BarChart, at: Scale, ends: tuple[float, float], rows: tuple[float, float]) -> None:
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


# --- lines --------------------------------------------------------------------------------------------------------


def _lines(chart: LineChart, width: int) -> Drawing:
    narrow = width <= PHONE
    names = [*(line.label for line in chart.lines), *(words for _, words in chart.levels)]
    room = 0.0 if narrow else min(NAMES * width, max(text_width(clean(name, 0)) for name in names) + 6)
    values = list(_values(chart))
    low, high = _ends(values, chart)
    ticks = _decades(low, high) if chart.y_unit == "usd" else list(_round_ticks(low, high, 5))
    money = chart.y_unit == "usd"
    words = [f"${_short(tick)}" if money else shown(tick, chart.y_unit).replace(".0%", "%") for tick in ticks]
    left, right = max(map(text_width, words), default=20.0) + 8, width - room - (24 if narrow else 10)
    top = LINE * (len(chart.marks) + 1) + 12
    bottom = top + (230 if narrow else 280)
    drawing = Drawing(width, bottom + 2 * LINE + 8 + (LINE * len(names) + 4 if narrow else 0))
    first, last = log10(chart.ticks[0]), log10(chart.ticks[-1])

    def x_at(value: float) -> float:
        share = (log10(max(value, 1e-9)) - first) / ((last - first) or 1)
        return left + (right - left) * min(max(share, 0.0), 1.0)

    def y_at(value: float) -> float:
        if chart.y_unit == "usd":
            share = (log10(max(value, low)) - log10(low)) / (log10(high) - log10(low))
        else:
            share = (value - low) / ((high - low) or 1)
        return bottom - (bottom - top) * min(max(share, 0.0), 1.0)

    for tick, text in zip(ticks, words, strict=True):
        drawing.rule((left, y_at(tick)), (right, y_at(tick)), "grid")
        drawing.text(left - 6, y_at(tick) + 4.5, text, "muted", "end")
    drawing.text(2, top - 12, fit(chart.y_title, width - 4), "muted")
    _x_axis(drawing, chart, x_at, bottom, (left, right))
    for line in chart.lines:
        if line.band:
            upper, lower = [(x, h) for x, _, h in line.band], [(x, b) for x, b, _ in reversed(line.band)]
            drawing.path([(x_at(x), y_at(y)) for x, y in [*upper, *lower]], f"area k-{line.kind}")
    _marks(drawing, [(x_at(low), x_at(high), words) for low, high, words in chart.marks], bottom)
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
    if narrow:
        _legend(drawing, sorted(ends), bottom + 3 * LINE)
        return drawing
    for (_, label, kind), y in zip(ends, apart([end[0] for end in ends], LINE, top, bottom), strict=True):
        drawing.text(right + 8, y + 4.5, fit(label, room - 2), kind)
    return drawing


def _legend(drawing: Drawing, ends: Sequence[tuple[float, str, str]], top: float) -> None:
    for place, (_, label, kind) in enumerate(ends):
        y = top + LINE * place
        if kind == "mark":
            drawing.rule((4, y), (34, y), kind)
        else:
            drawing.path([(4, y), (34, y)], f"line {kind}")
        drawing.text(42, y + 4.5, fit(label, drawing.size[0] - 44), kind)


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


def _decades(low: float, high: float) -> list[float]:
    first, last = round(log10(low)), round(log10(high))
    return [10.0**power for power in range(first, last + 1, max(1, ceil((last - first) / 6)))]


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
