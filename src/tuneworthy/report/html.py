"""The report as one HTML page that needs nothing else: no script, no font, no address outside the page.

Invariant: what was written by others is cleaned and escaped by the template's own escaping; charts are images
(`data:`), in which no script runs; the page's own policy forbids everything but its one style sheet and such images.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import date
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from tuneworthy.ladder.record import RunRecord
from tuneworthy.report.document import document
from tuneworthy.report.text import clean
from tuneworthy.verdict.messages import RUNG_LABELS

if TYPE_CHECKING:
    from tuneworthy.config import Project
    from tuneworthy.report.charts import Figure
    from tuneworthy.verdict.last_verdict import StoredVerdict

POLICY = "default-src 'none'; style-src '{style}'; img-src data:; base-uri 'none'; form-action 'none'"
# Spaces at which no line should break.
_TOGETHER = re.compile(
    r"(?<=\d) (?=(?:%|ms|points)(?![a-z]))"  # a number and its unit
    r"|(?<=[+\-\d]\d\d\d,) (?=[+\-\d])|(?<=\.\d\d\d,) (?=[+\-\d])"  # the ends of an interval
    r"|(?<=\b[nαp]) (?=[=<])|(?<=[=<]) (?=\d)|(?<=target) (?=\d)"
)


def render_html(
    record: RunRecord,
    project: Project | None = None,
    today: date | None = None,
    verdict: StoredVerdict | None = None,
) -> str:
    """Return the page.

    Args:
        record: Of the last run.
        project: Tells the traffic and which models retire.
        today: The day of the report.
        verdict: The last one, if there is one.
    """
    from tuneworthy.report.charts import figures

    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    found = document(record, project, today, verdict)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            document=found,
            paragraph=escape(clean(found.paragraph, 0)),
            words=RUNG_LABELS,
            figures=_images(figures(record)),
            style=Markup(style),
            policy=Markup(POLICY.format(style=f"sha256-{digest}")),
        )
    )


def environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tuneworthy.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.globals.clear()
    return environment


def _finalize(value: Any) -> Any:
    """Clean all text that the template prints, and keep numbers with their units; what is markup already is ours."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _TOGETHER.sub("\u00a0", clean(value, 0))


def _images(found: Sequence[Figure]) -> list[dict[str, Any]]:
    """Return the figures with their drawings as `data:` addresses."""
    return [
        {"title": f.title, "caption": f.caption, "alt": f.alt, "wide": address(f.wide), "narrow": address(f.narrow)}
        for f in found
    ]


def address(svg: str) -> Markup:
    return Markup("data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode())
