"""Pages that need nothing else: no script, no font, no address outside the page.

Invariant: what was written by others is cleaned and escaped by the template's own escaping; charts are images
(`data:`), in which no script runs; the page's own policy forbids everything but its one style sheet and such images.
"""

import base64
import hashlib
import re
from dataclasses import replace
from datetime import date
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from tuneworthy.config import Project
from tuneworthy.ladder.record import RunRecord
from tuneworthy.report.document import document
from tuneworthy.report.text import clean
from tuneworthy.verdict.last_verdict import StoredVerdict
from tuneworthy.verdict.messages import RUNG_LABELS

POLICY: Final = "default-src 'none'; style-src '{style}'; img-src data:; base-uri 'none'; form-action 'none'"
# Spaces at which no line should break.
_TOGETHER: Final = re.compile(
    r"(?<=\d) (?=(?:ms|points)(?![a-z]))"  # a number and its unit
    r"|(?<=[+\-\d]\d\d\d,) (?=[+\-\d])|(?<=\.\d\d\d,) (?=[+\-\d])"  # the ends of an interval
    r"|(?<=\b[nαp]) (?=[=<])|(?<=[=<]) (?=\d)|(?<=target) (?=\d)"
)


def render_html(
    record: RunRecord,
    project: Project | None = None,
    today: date | None = None,
    verdict: StoredVerdict | None = None,
) -> str:
    """Return the report as a page.

    Args:
        record: Of the last run.
        project: Has the traffic and the models, some of which may retire.
        today: The day of the report.
        verdict: The last one, if there is one.
    """
    from tuneworthy.report.charts import figures  # loads the library for charts

    found = document(record, project, today, verdict)
    return render_page(
        "page.html.j2",
        title=found.title,
        kind="report",
        document=found,
        paragraph=escape(clean(found.paragraph, 0)),
        labels=RUNG_LABELS,
        figures=[
            replace(figure, wide=address(figure.wide), narrow=address(figure.narrow)) for figure in figures(record)
        ],
    )


def render_page(template: str, *, extra_style: str = "", **content: Any) -> str:
    """Return a page of the template `template`, with our style sheet and a policy that allows nothing else.

    Args:
        template: Its file.
        extra_style: Added to the style sheet.
        **content: `title`, `kind`, and what the template needs.
    """
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8") + extra_style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
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
        style=Markup(style), policy=Markup(POLICY.format(style=f"sha256-{digest}")), **content
    )


def _finalize(value: Any) -> Any:
    """Clean all text that the template prints, and keep numbers with their units; what is markup already is ours."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _TOGETHER.sub("\u00a0", clean(value, 0))


def address(svg: str) -> Markup:
    """Return a drawing as the address of an image."""
    return Markup("data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode())
