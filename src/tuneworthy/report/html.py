"""Pages that need nothing else: no script, no font, no address outside the page.

Invariant: text from outside is cleaned and escaped by the template's own escaping, and in drawings by `svg`;
the page's own policy forbids everything but its one style sheet.
"""

import base64
import hashlib
import re
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tuneworthy.report.answers import Diff
from tuneworthy.report.chart import BarChart, LineChart
from tuneworthy.report.document import Block, Document
from tuneworthy.report.svg import draw
from tuneworthy.report.text import clean
from tuneworthy.verdict.messages import RUNG_LABELS

POLICY: Final = "default-src 'none'; style-src '{style}'; base-uri 'none'; form-action 'none'"
# Spaces at which no line should break.
_TOGETHER: Final = re.compile(
    r"(?<=\d) (?=(?:ms|points)(?![a-z]))"  # a number and its unit
    r"|(?<=[+\-\d]\d\d\d,) (?=[+\-\d])|(?<=\.\d\d\d,) (?=[+\-\d])"  # the ends of an interval
    r"|(?<=\b[nαp]) (?=[=<])|(?<=[=<]) (?=\d)|(?<=target) (?=\d)"
)


def render_html(page: Document) -> str:
    """Return a page as HTML."""
    return render_page(
        "page.html.j2",
        title=page.title,
        kind=page.kind,
        document=page,
        draw=draw,
        kind_of=kind_of,
        labels={**RUNG_LABELS, "cascade": "large model if unsure"},
    )


def style() -> str:
    """Return the style sheet of all pages and drawings."""
    return files(__package__).joinpath("page.css").read_text(encoding="utf-8")


def kind_of(block: Block) -> str:
    """Return the kind of a block: `text`, `chart`, `diff` or `table`."""
    match block:
        case str():
            return "text"
        case BarChart() | LineChart():
            return "chart"
        case Diff():
            return "diff"
        case _:
            return "table"


def render_page(template: str, *, extra_style: str = "", **content: Any) -> str:
    """Return a page of the template `template`, with our style sheet and a policy that allows nothing else.

    Args:
        template: Its file.
        extra_style: Added to the style sheet.
        **content: `title`, `kind`, and further inputs of the template.
    """
    css = style() + extra_style
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    environment = Environment(
        loader=PackageLoader("tuneworthy.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.globals.clear()
    return environment.get_template(template).render(
        style=Markup(css), policy=Markup(POLICY.format(style=f"sha256-{digest}")), **content
    )


def _finalize(value: Any) -> Any:
    """Clean all text that the template prints, and keep numbers with their units; markup is ours."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _TOGETHER.sub("\u00a0", clean(value, 0))
