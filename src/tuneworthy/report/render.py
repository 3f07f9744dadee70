"""Pages, and their forms: HTML that needs no script, font or address outside the page; Markdown; and plain text.

A `Document` is a page before it has a form, in the order in which a manager reads it. Invariant: the first screen
answers, and shows each fact once; every line chart is also a table; text from outside is cleaned and escaped by the
template; the policy of an HTML page forbids everything but its one style sheet.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import Any

import orjson
from markupsafe import Markup
from markupsafe import escape as html_escape

from tuneworthy.report.answers import Diff
from tuneworthy.report.charts import LineChart
from tuneworthy.report.text import EMPTY, Table, clean, dollars, markdown_code, markdown_text, percent, points
from tuneworthy.text import visible
from tuneworthy.types import Texts, frozen, positional
from tuneworthy.verdict.messages import RUNG_LABELS

Block = str | Table | LineChart | Diff


@positional
class Card:
    """One of the three numbers of the first screen.

    Attributes:
        label: Its subject.
        value: The number.
        name: Its subject.
        details: Its evidence, and its cost.
        status: A word that marks it, such as `met`; "" without one.
        mark: The status as it is shown.
    """

    label: str
    value: str
    name: str = ""
    details: Texts = ()
    status: str = ""
    mark: str = ""


@positional
class NextStep:
    """What to do next: a command, if there is one, and why."""

    command: str
    why: str


@positional
class PagePart:
    """A part of the page below the first screen.

    Attributes:
        name: Of its address in the page.
        title: Its heading.
        blocks: Sentences, tables, charts, in order.
        folded: Whether the page shows only its heading until a reader opens it.
    """

    name: str
    title: str
    blocks: Sequence[Block]
    folded: bool = False


@frozen
class Document:
    """A page.

    Attributes:
        title: Its subject.
        kind: What kind of page it is.
        outcome: For styles.
        answer: The answer.
        sentence: Why.
        basis: The evidence, and its end of validity.
        cards: The three numbers.
        chart: The chart of the first screen, or None.
        next_step: What to do, or None.
        paragraph: To paste; "" without one.
        warnings: What to know before using the numbers.
        sections: All the rest.
        made: The last line.
    """

    title: str
    kind: str
    outcome: str
    answer: str
    sentence: str
    basis: str = ""
    cards: Sequence[Card] = ()
    chart: Table | LineChart | None = None
    next_step: NextStep | None = None
    paragraph: str = ""
    warnings: Texts
    sections: Sequence[PagePart]
    made: str = ""


POLICY = "default-src 'none'; style-src '{style}'; base-uri 'none'; form-action 'none'"
# Spaces at which no line should break.
_TOGETHER = re.compile(
    r"(?<=\d) (?=(?:ms|points)(?![a-z]))"  # a number and its unit
    r"|(?<=[+\-\d]\d\d\d,) (?=[+\-\d])|(?<=\.\d\d\d,) (?=[+\-\d])"  # the ends of an interval
    r"|(?<=\b[nαp]) (?=[=<])|(?<=[=<]) (?=\d)|(?<=target) (?=\d)"
)
# A command between backticks.
_CODE = re.compile(r"`([^`]+)`")
# Columns of a terminal; width of a name and of a text in a row of a table, characters.
WIDTH, NAME_WIDTH, TEXT_WIDTH = 80, 20, 24


def render_html(page: Document) -> str:
    return render_page(
        "page.html.j2",
        title=page.title,
        kind=page.kind,
        document=page,
        labels={**RUNG_LABELS, "cascade": "large model where it is unsure"},
    )


def render_page(template: str, *, extra_style: str = "", **content: Any) -> str:
    """Return a page of the template `template`, with our style sheet and a policy that allows nothing else.

    Args:
        template: Its file.
        extra_style: Added to the style sheet.
        **content: `title`, `kind`, and further inputs of the template.
    """
    css = files(__package__).joinpath("page.css").read_text(encoding="utf-8") + extra_style
    policy = POLICY.format(style=f"sha256-{base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()}")
    return _render(
        template,
        lambda text: Markup(_CODE.sub(r"<code>\1</code>", str(html_escape(_TOGETHER.sub("\u00a0", clean(text, 0)))))),
        style=Markup(css),
        policy=Markup(policy),
        **content,
    )


def render_markdown(page: Document) -> str:
    """Return a page in GitHub's Markdown: every cell escaped, no HTML, no image; a line chart is its table."""
    return markdown_of("page.md.j2", page=page)


def markdown_of(template: str, **content: Any) -> str:
    """Return GitHub's Markdown: every text escaped, no HTML, no image."""
    text = _render(template, lambda text: Markup(markdown_text(text)), **content)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def render_xml(template: str, **content: Any) -> str:
    """Return XML; the text in it is visible and escaped."""
    return _render(template, visible, **content)


def screen_text(page: Document) -> str:
    return _render("screen.txt.j2", Markup, page=page)


def _render(template: str, form: Callable[[str], str], **content: Any) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # slow to import

    environment = Environment(
        loader=PackageLoader("tuneworthy.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: form(value) if type(value) is str else value,
    )
    environment.globals.clear()
    environment.tests |= {name: kind.__instancecheck__ for name, kind in (("chart", LineChart), ("diff", Diff))}
    filters = {
        "clean": clean,
        "verbatim": lambda text: Markup(html_escape(text)),
        "percent": percent,
        "points": lambda value: Markup(points(value)),
        "dollars": dollars,
        "json": lambda value: Markup(orjson.dumps(value).decode()),
        "md": lambda text: Markup(markdown_text(text)),
        "code": lambda text: Markup(markdown_code(text)),
        "fenced": lambda text: Markup(text.replace("```", "")),
        "lines": lambda table: Markup("\n".join(table_lines(table))),
    }
    environment.filters.update(filters)
    return environment.get_template(template).render(**content)


def table_lines(table: Table, width: int = WIDTH) -> Iterator[str]:
    """Yield a table for a terminal; longer texts and columns without room follow below each row."""
    widths = {}
    room = width - 2
    for place, column in sorted(enumerate(table.columns), key=lambda pair: pair[1].wide):
        needs = max(len(cell) for cell in (column.heading, *(row[place] for row in table.rows)))
        needs = min(needs, NAME_WIDTH) if place == 0 else needs
        if (place == 0 or column.kind != "text" or needs <= TEXT_WIDTH) and needs < room:
            widths[place] = needs
            room -= needs + 1

    def line(cells: Texts, mark: str = " ") -> str:
        aligned = []
        for place, column in enumerate(table.columns):
            if place in widths:
                cell = cells[place].replace("_", " ") if column.kind == "status" else cells[place]
                aligned.append(cell.rjust(widths[place]) if column.kind == "number" else cell.ljust(widths[place]))
        return f"{mark} {' '.join(aligned)}".rstrip()

    yield line([column.heading for column in table.columns])
    for number, row in enumerate(table.rows):
        mark = "*" if number == table.best else " "
        if len(row[0]) > widths[0]:
            yield f"{mark} {row[0]}"
            yield line(["", *row[1:]])
        else:
            yield line(row, mark)
        for place, column in enumerate(table.columns):
            if place not in widths and not column.wide and row[place] not in EMPTY:
                yield f"    {column.heading}: {row[place]}"
