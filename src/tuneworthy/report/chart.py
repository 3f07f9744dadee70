"""Line charts as values: `lines.html.j2` draws one, and its table has every number that it shows."""

from collections.abc import Iterator, Sequence
from math import ceil, floor, log10
from typing import Literal

from tuneworthy.report.table import Column, Kind, Table
from tuneworthy.report.text import NONE, integer, percent, points, short
from tuneworthy.types import Bounds, frozen

Unit = Literal["percent", "points"]
Points = Sequence[Bounds]
FORMS = {"percent": percent, "points": points}
# Height of the drawing, and the space around its plot, pixels.
LEFT, RIGHT, TOP, BOTTOM = 66, 24, 24, 290
# Distance of two numbers on the horizontal axis, at least, pixels; numbers on the vertical axis, at most.
TICK_WIDTH, TICKS = 52, 6


@frozen
class Line:
    """A line of a line chart.

    Attributes:
        label: Its name in the legend.
        points: From left to right.
        band: (x, lower, upper) around it, from left to right.
        kind: Its colour.
        dots: Single measurements.
    """

    label: str
    points: Points
    band: Sequence[tuple[float, float, float]] = ()
    kind: Kind
    dots: Points = ()

    @property
    def outline(self) -> Points:
        return [(x, high) for x, _, high in self.band] + [(x, low) for x, low, _ in reversed(self.band)]


@frozen
class LineChart:
    """Lines over a logarithmic horizontal axis.

    Attributes:
        title: Its heading.
        lines: Its curves.
        ticks: Of the horizontal axis; each line has a point there, or ends before.
        x_title: Text below, like `y_title` above.
        y_unit: Of the vertical axis.
        levels: (value, name) of lines across.
        note: How to read it.
        width: Of the drawing, pixels.
    """

    title: str
    lines: Sequence[Line]
    ticks: Sequence[float]
    x_title: str
    y_title: str
    y_unit: Unit
    levels: Sequence[tuple[float, str]]
    note: str
    width: int = 1080

    @property
    def table(self) -> Table:
        columns = [Column("x", self.x_title), *(Column(line.label, line.label) for line in self.lines)]
        rows = [[integer(tick), *(self._cell(line, tick) for line in self.lines)] for tick in self.ticks]
        note = " ".join(filter(None, [self.note, *(f"{name}." for _, name in self.levels)]))
        return Table(f"{self.title} ({self.y_title})", columns, rows, note)

    def _cell(self, line: Line, tick: float) -> str:
        form = FORMS[self.y_unit]
        parts = [form(y) for x, y in line.points if x == tick]
        parts += [f"[{form(low)}, {form(high)}]" for x, low, high in line.band if x == tick]
        singles = [form(y) for x, y in line.dots if x == tick]
        return " ".join([*parts, *([f"[{', '.join(singles)}]"] if singles else [])]) or NONE

    def x(self, value: float) -> float:
        """Return the place of a value on the horizontal axis; values outside are drawn at its ends."""
        low, high = log10(self.ticks[0]), log10(self.ticks[-1])
        share = (log10(max(value, self.ticks[0])) - low) / (high - low or 1)
        return LEFT + (self.width - LEFT - RIGHT) * min(share, 1.0)

    def y(self, value: float) -> float:
        """Return the place of a value on the vertical axis."""
        low, high = self._steps()
        return BOTTOM - (BOTTOM - TOP) * min(max((10 * value - low) / (high - low), 0.0), 1.0)

    def path(self, points: Points) -> str:
        return "M" + " L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)

    def x_labels(self) -> Iterator[tuple[float, str]]:
        """Yield the place and text of the numbers on the horizontal axis."""
        last = -float(TICK_WIDTH)
        for tick in self.ticks:
            if (place := self.x(tick)) >= last + TICK_WIDTH:
                yield place, short(tick)
                last = place

    def y_labels(self) -> Iterator[tuple[float, str]]:
        """Yield the place and text of the numbers on the vertical axis."""
        low, high = self._steps()
        for step in range(low, high + 1, ceil((high - low) / TICKS)):
            yield self.y(step / 10), FORMS[self.y_unit](step / 10)

    def _steps(self) -> tuple[int, int]:
        values = [value for value, _ in self.levels]
        for line in self.lines:
            values += [y for _, y in (*line.points, *line.dots, *line.outline)]
        steps = [10 * value for value in values]
        least = -10 if self.y_unit == "points" else 0
        return max(least, floor(min(steps) - 0.2)), min(10, ceil(max(steps) + 0.2))
