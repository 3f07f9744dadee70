"""Numbers and tables as people read them; text of others made safe: names, labels and reasons may contain anything.

Numbers have one form for terminal, Markdown, HTML and the paragraph to paste.
>>> score(0.96), signed(0.05), percent(0.345), integer(12345), percent(None)
('0.960', '+0.050', '34.5%', '12,345', '–')
>>> interval((0.9231, 0.9796)), percent_range((0.9231, 0.9796)), points_range((0.31, 0.45)), interval(None)
('[0.923, 0.980]', '[92.3%, 98.0%]', '[+31.0, +45.0]', '–')

Invariant: the result of `clean` has no control, escape, bidirectional or invisible character. It is not yet escaped:
HTML is escaped by the template, Markdown by `markdown_text` and `markdown_code`. Every cell of a table is cleaned; its
columns have a value function and are rendered once each for terminal, Markdown and HTML.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import attrgetter, itemgetter
from typing import Any, Literal

from tuneworthy.text import is_hidden, visible
from tuneworthy.types import Bounds, JsonMapping, JsonObject, Texts, frozen, positional

# Characters of a cell, at most.
MOST = 300

_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x9b[0-?]*[ -/]*[@-~]"  # the same, one byte
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\x9c|$)"  # OSC, DCS, SOS, PM, APC: titles, links
    r"|\x1b[ -/]*[0-~]?",  # all other escapes
    re.DOTALL,
)
# Commands to the runner in the log of a CI job: GitHub's at the start of a line, its older form, Azure's, TeamCity's.
_CI_COMMAND = re.compile(r"^([^\S\n]*)(?=::)|(?<=#)(?=#\w*\[)", re.MULTILINE)
_SPACES = re.compile(r"[\s\x1c-\x1f\x85\u2028\u2029]+")
_MARKDOWN = re.compile(
    r"[\\`*\[\]|~$]"  # escapes, code, emphasis, links, cells, strike-through, mathematics
    r"|(?<![^\W_])_|_(?![^\W_])"  # an underscore that is not inside a word
    r"|:(?=//)"  # an address that would become a link by itself
    r"|^[#=+\-]|(?<=^\d)[.)]"  # headings, quotes and lists at the beginning
)


def clean(value: object, most: int = MOST) -> str:
    r"""Return `value` as one line without escape sequences, control, bidirectional and invisible characters.

    Args:
        most: Longest result, characters; longer text ends with an ellipsis. 0 is without limit.

    >>> clean("a\x1b[31mred\x1b[0m\n\u202eb")
    'ared b'
    """
    text = _SPACES.sub(" ", _TERMINAL.sub("", str(value))).strip()
    if not text.isascii():
        text = "".join(character for character in text if not is_hidden(character))
    else:
        text = "".join(character for character in text if character.isprintable())
    return text[: most - 1].rstrip() + "…" if most and len(text) > most else text


def plain(text: str) -> str:
    """Return a sentence cleaned, without backticks."""
    return clean(text, 0).replace("`", "")


def inert(value: str) -> str:
    r"""Return `visible` text with a backslash in whatever a CI job would take for a command to its runner.

    Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands.

    >>> inert("::error::no ##[group]a::b")
    '\\::error::no #\\#[group]a::b'
    """
    return _CI_COMMAND.sub(r"\1\\", visible(value)) if "::" in value or "##" in value else visible(value)


def escaped(json: str) -> str:
    r"""Return JSON text with every character that cannot be seen as the escape that JSON has for it.

    >>> escaped('["\u202e"]')
    '["\\u202e"]'
    """
    json = re.sub(r"##(?=\w*\[)", r"#\\u0023", json)  # as in `inert`
    if json.isascii() and "\x7f" not in json:
        return json
    escapes = {
        ord(character): re.sub("....", r"\\u\g<0>", character.encode("utf-16-be", "surrogatepass").hex())
        for character in set(json)
        if is_hidden(character)
    }
    return json.translate(escapes)


def markdown_text(value: object) -> str:
    """Return `value` cleaned and escaped, to appear in a line or a cell of Markdown as it is.

    >>> markdown_text("a|b <i> [x](http://y)")
    'a\\\\|b &lt;i&gt; \\\\[x\\\\](http\\\\://y)'
    """
    escaped = _MARKDOWN.sub(r"\\\g<0>", clean(value, 0).replace("&", "&amp;"))
    escaped = re.sub(r"www\.", "www&#46;", escaped, flags=re.IGNORECASE)
    return escaped.replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")


def markdown_code(value: object) -> str:
    """Return `value` cleaned as a code span that is safe in a cell; "" if it is empty.

    >>> markdown_code("a`|b")
    "`a'\\\\|b`"
    """
    text = clean(value).replace("`", "'").replace("|", "\\|").replace("<", "‹").replace(">", "›")
    return f"`{text}`" if text else ""


# Sign for a missing number.
NONE = "–"


def text(value: object) -> str:
    return NONE if value is None else str(value)


def _format(shape: str) -> Callable[[float | None], str]:
    return lambda value: NONE if value is None else format(value, shape)


# A score as a share of 1, a difference of scores, a share in percent, a whole number; a dash for None.
score, signed, percent, integer = _format(".3f"), _format("+.3f"), _format(".1%"), _format(",.0f")


def points(value: float | None) -> str:
    """Return a difference of shares in percentage points, or a dash; a difference that rounds to 0 has no minus.

    >>> points(0.38), points(-0.0001)
    ('+38.0', '+0.0')
    """
    return NONE if value is None else f"{round(100 * value, 1) + 0.0:+.1f}"


def _range(form: Callable[[float], str]) -> Callable[[Sequence[float] | None], str]:
    return lambda bounds: NONE if bounds is None else f"[{form(bounds[0])}, {form(bounds[1])}]"


# An interval of scores, of shares in percent, of differences in percentage points; a dash for None.
interval, percent_range, points_range = map(_range, (score, percent, points))


def dollars(value: float | None) -> str:
    """Return an amount of US dollars, with three significant digits below 1.

    >>> dollars(1234.5), dollars(420.0), dollars(2.5), dollars(0.5), dollars(0.04217), dollars(0.0)
    ('$1,234', '$420', '$2.50', '$0.50', '$0.0422', '$0')
    >>> dollars(0.9996), dollars(-0.5)
    ('$1.00', '-$0.50')
    """
    if value is None:
        return NONE
    if value == 0:
        return "$0"
    if value < 0:
        return f"-{dollars(-value)}"
    if value >= 100:
        return f"${value:,.0f}"
    if value >= 0.9995:  # it rounds to 1.00 with three digits
        return f"${value:.2f}"
    return f"${value:.3g}".ljust(5, "0") if value >= 1e-4 else f"${value:.1e}"


def amount(value: float | None) -> str:
    """Return US dollars without the sign, for a column whose heading has it."""
    return dollars(value).removeprefix("$")


def difference(delta: float | None, bounds: Sequence[float] | None) -> str:
    """Return a paired difference of scores with its interval.

    >>> difference(0.15, (0.08, 0.22)), difference(None, None)
    ('+0.150 [+0.080, +0.220]', '–')
    """
    return NONE if delta is None or bounds is None else f"{delta:+.3f} {_range(signed)(bounds)}"


def milliseconds(value: float | None) -> str:
    """Return a time, milliseconds.

    >>> milliseconds(812.4), milliseconds(0.0034), milliseconds(4.26)
    ('812', '<0.1', '4.3')
    """
    if value is None:
        return NONE
    if value < 0.1:
        return "<0.1"
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def short(value: float) -> str:
    """Return a round number for an axis.

    >>> short(1_000.0), short(250_000.0), short(10_000_000.0), short(62.0), short(0.1), short(1e13)
    ('1k', '250k', '10M', '62', '0.1', '10,000B')
    """
    value = float(f"{value:.3g}")
    size, name = next(((size, name) for size, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")) if value >= size), (1, ""))
    return f"{value / size:,.10g}{name}"


def p_value(value: float | None) -> str:
    """Return a p-value.

    >>> p_value(1e-9), p_value(0.0312)
    ('<0.0001', '0.0312')
    """
    if value is None:
        return NONE
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


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
