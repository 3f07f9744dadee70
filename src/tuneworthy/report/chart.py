"""Charts as values: drawn by `svg`, written out as a table, and read aloud.

Invariant: every number that a chart shows appears in its table, and so in its text for readers who do not see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tuneworthy.report import numbers
from tuneworthy.report.table import Column, Table, text_column

Kind = Literal["today", "best", "tuned", "plain", "lost", "gone"]
Unit = Literal["percent", "usd", "count", "points"]
Places = Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A row of a bar chart.

    Attributes:
        label: Its subject.
        cells: Its numbers in words, a column each.
        value: Where its bar or point ends; None if it is not known.
        start: Where its bar begins; None draws a point.
        interval: Of the value.
        kind: Its colour.
        strong: Whether it is the one to look at.
    """

    label: str
    cells: Sequence[str] = ()
    value: float | None = None
    start: float | None = None
    interval: tuple[float, float] | None = None
    kind: Kind = "plain"
    strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """Rows of bars, or of points with intervals, on one scale.

    Attributes:
        title: Its heading.
        headings: Of the labels, then of the cells.
        domain: The ends of the scale.
        unit: Of the scale; None draws no scale.
        marks: Values with a line across all rows, and their names.
        note: How to read it.
        words: Places of the columns with words.
        width: Of the wide drawing, pixels.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Bar]
    domain: tuple[float, float]
    unit: Unit | None = None
    marks: Sequence[tuple[float, str]] = ()
    note: str = ""
    words: Places = ()
    width: int = 1080

    @property
    def table(self) -> Table:
        """All its numbers."""
        first, *others = self.headings
        columns = [text_column("label", first)]
        columns += [
            Column(heading, heading, kind="text" if i in self.words else "number") for i, heading in enumerate(others)
        ]
        rows = [[row.label, *row.cells] for row in self.rows]
        if self.unit == "percent" and any(row.interval for row in self.rows):
            columns.append(Column("ci95", "95% interval"))
            rows = [[*cells, numbers.percent_range(row.interval) if row.interval else ""]
                    for cells, row in zip(rows, self.rows, strict=True)]  # fmt: skip
        note = " ".join(filter(None, [self.note, *(f"{words}." for _, words in self.marks)]))
        best = next((place for place, row in enumerate(self.rows) if row.strong), None)
        return Table(self.title, columns, rows, note, best)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a line chart.

    Attributes:
        label: What it is.
        points: From left to right.
        band: (x, lower, upper) around it, from left to right.
        kind: Its colour.
        dots: Single measurements.
    """

    label: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float, float]] = ()
    kind: Kind = "plain"
    dots: Sequence[tuple[float, float]] = ()

    @property
    def outline(self) -> list[tuple[float, float]]:
        """Points around the band."""
        return [(x, high) for x, _, high in self.band] + [(x, low) for x, low, _ in reversed(self.band)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Lines over a logarithmic horizontal axis.

    Attributes:
        title: Its heading.
        lines: Its curves.
        ticks: Of the horizontal axis; each line has a point there, or ends before.
        x_title: Text below, like `y_title` above.
        y_unit: Of the vertical axis; dollars are on a logarithmic one.
        marks: (from, to, name) of spans of the horizontal axis.
        levels: (value, name) of lines across.
        note: How to read it.
    """

    title: str
    lines: Sequence[Line]
    ticks: Places
    x_title: str
    y_title: str
    y_unit: Unit
    marks: Sequence[tuple[float, float, str]] = ()
    levels: Sequence[tuple[float, str]] = ()
    note: str = ""
    width: int = 1080

    @property
    def table(self) -> Table:
        """Its numbers at the ticks."""
        columns = [Column("x", self.x_title), *(Column(line.label, line.label) for line in self.lines)]
        rows = [[numbers.count(tick), *(self._cell(line, tick) for line in self.lines)] for tick in self.ticks]
        known = [*(words for _, _, words in self.marks), *(words for _, words in self.levels)]
        note = " ".join(filter(None, [self.note, *(f"{words}." for words in known)]))
        return Table(f"{self.title} ({self.y_title})", columns, rows, note)

    def _cell(self, line: Line, tick: float) -> str:
        at = dict(line.points).get(tick)
        singles = [shown(y, self.y_unit) for x, y in line.dots if x == tick]
        spans = [(low, high) for x, low, high in line.band if x == tick]
        words = [] if at is None else [shown(at, self.y_unit)]
        words += [f"[{shown(low, self.y_unit)}, {shown(high, self.y_unit)}]" for low, high in spans]
        return " ".join([*words, *([f"[{', '.join(singles)}]"] if singles else [])]) or numbers.NONE


Chart = BarChart | LineChart


def alt_of(chart: Chart) -> str:
    """Return a chart in words: its title, and every number."""
    table = chart.table
    rows = [
        ", ".join(
            [
                row[0],
                *(f"{column.heading}: {cell}" for column, cell in zip(table.columns[1:], row[1:], strict=True) if cell),
            ]
        )
        for row in table.rows
    ]
    return f"{table.title}. {'; '.join(rows)}. {table.note}".strip()


def shown(value: float, unit: Unit) -> str:
    """Return a value of an axis.

    >>> shown(0.855, "percent"), shown(1200.0, "usd"), shown(3.0, "count")
    ('85.5%', '$1,200', '3')
    """
    forms = {"percent": numbers.percent, "usd": numbers.dollars, "count": numbers.count, "points": numbers.points}
    return forms[unit](value)
