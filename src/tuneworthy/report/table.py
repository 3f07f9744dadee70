"""Tables as text: columns with a value function, rendered once each for terminal, Markdown and HTML.

Invariant: every cell is cleaned (one line, no control characters).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import Any, Literal

from tuneworthy.report.text import MOST, NONE, clean, text
from tuneworthy.types import Bounds, JsonMapping, JsonObject, Texts, frozen, positional

ColumnKind = Literal["text", "name", "status", "number"]
Kind = Literal["today", "best", "tuned", "plain", "lost"]
EMPTY = frozenset({"", NONE})


@positional
class Column:
    """A column.

    Attributes:
        key: Attribute of a row that it shows, unless `value` is given; also its name for selections and styles.
        heading: Text above it.
        form: Formats the value; by default its text, or a dash for None.
        kind: `text`, `name` (an identifier), `status` or `number`.
        value: Returns the value of a row.
        most: Longest cell, characters; 0 is without limit.
        wide: Whether the terminal, which has 80 columns, leaves it out.
    """

    key: str
    heading: str
    form: Callable[[Any], str] = text
    kind: ColumnKind = "number"
    value: Callable[[Any], object] | None = None
    most: int = MOST
    wide: bool = False

    def cell(self, row: object) -> str:
        return clean(self.form((self.value or attrgetter(self.key))(row)), self.most)


def name_column(key: str, heading: str, value: Callable[[Any], object] | None = None) -> Column:
    return Column(key, heading, kind="name", value=value)


def text_column(key: str, heading: str, value: Callable[[Any], object] | None = None, most: int = MOST) -> Column:
    return Column(key, heading, kind="text", value=value, most=most)


def entry_column(key: str, heading: str, form: Callable[[Any], str], mapping: Callable[[Any], JsonMapping]) -> Column:
    return Column(key, heading, form, value=lambda row: mapping(row).get(key))


@frozen
class Bar:
    """The bar of a row.

    Attributes:
        value: Its end.
        start: Its beginning; None draws a point.
        interval: Of the value.
        kind: Its colour.
    """

    value: float
    start: float | None = 0.0
    interval: Sequence[float] | None = None
    kind: Kind = "best"


@positional
class Bars:
    """The bars of a table's rows, on one scale; in HTML only.

    Attributes:
        rows: A bar per row; None for a row without a bar.
        domain: The ends of the scale.
        labels: The ends in words; empty draws no scale.
        target: Value of a dashed line across the rows.
    """

    rows: Sequence[Bar | None]
    domain: Bounds
    labels: Texts = ()
    target: float | None = None

    @classmethod
    def of_scores(cls, rows: Sequence[Bar | None], domain: Bounds, target: float | None = None) -> Bars:
        return cls(rows, domain, [f"{end:.0%}" for end in domain], target)

    @classmethod
    def of_counts(cls, counts: Sequence[int], kinds: Sequence[Kind] = ()) -> Bars:
        kinds = kinds or ["best"] * len(counts)
        rows = [Bar(value=float(n), kind=kind) for n, kind in zip(counts, kinds, strict=True)]
        return cls(rows, (0.0, float(max(counts, default=0) or 1)))

    def x(self, value: float) -> float:
        """Return the place of a value, percent of the width; values outside the scale are drawn at its ends."""
        low, high = self.domain
        return round(1 + 98 * (min(max(value, low), high) - low) / ((high - low) or 1), 2)


@positional
class Table:
    """A table of text.

    Attributes:
        title: Heading of the table.
        columns: Its columns.
        rows: One cell per column.
        note: How to read it.
        best: Index of the row to mark, or None.
        bars: Drawn after the first column.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Texts]
    note: str
    best: int | None = None
    bars: Bars | None = None

    @classmethod
    def of(
        cls,
        title: str,
        columns: Sequence[Column],
        items: Iterable[object],
        note: str = "",
        *,
        best: int | None = None,
        bars: Bars | None = None,
    ) -> Table:
        return cls(title, columns, [[column.cell(item) for column in columns] for item in items], note, best, bars=bars)

    def cells(self) -> JsonObject:
        """Return the table as the page draws it, with its marked row and the bars of its rows."""
        bars = self.bars
        return {
            "title": self.title,
            "columns": [{"key": one.key, "heading": one.heading, "kind": one.kind} for one in self.columns],
            "rows": [list(row) for row in self.rows],
            "note": self.note,
            "best": self.best,
            "bars": bars and [bar and {"kind": bar.kind, "width": bars.x(bar.value)} for bar in bars.rows],
        }

    def only(self, *keys: str) -> Table:
        """Return the table with these columns, as far as it has them."""
        order = [column.key for column in self.columns]
        places = [order.index(key) for key in keys if key in order]
        rows = [[row[place] for place in places] for row in self.rows]
        return replace(self, columns=[self.columns[place] for place in places], rows=rows)

    def filled(self) -> Table:
        """Return the table without the columns that are empty in every row."""
        cells = zip(*self.rows, strict=True) if self.rows else [()] * len(self.columns)
        return self.only(
            *(c.key for c, column in zip(self.columns, cells, strict=True) if not EMPTY.issuperset(column))
        )


def pairs_table(title: str, rows: Sequence[Sequence[object]], note: str = "", kind: ColumnKind = "text") -> Table:
    columns = [text_column("item", "item", itemgetter(0)), Column("value", "value", kind=kind, value=itemgetter(1))]
    return Table.of(title, columns, rows, note)
