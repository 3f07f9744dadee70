"""The report as a file: the format follows the ending."""

from datetime import date
from pathlib import Path

import orjson

from tuneworthy.config import Project
from tuneworthy.errors import UserError
from tuneworthy.ladder.bills import running_costs
from tuneworthy.ladder.record import RunRecord
from tuneworthy.report.first_screen import paragraph
from tuneworthy.report.markdown import render_markdown
from tuneworthy.report.run_report import document
from tuneworthy.store.folder import write_atomic
from tuneworthy.verdict.last_verdict import StoredVerdict

ENDINGS = (".html", ".md", ".json")
OTHER_OUT = "Choose a different file with `--out`."


def write(
    record: RunRecord,
    path: Path,
    project: Project | None = None,
    today: date | None = None,
    verdict: StoredVerdict | None = None,
) -> Path:
    """Write the report to `path`, whole or not at all.

    Args:
        record: Of the last run.
        path: Its ending says the format: `.html`, `.md` or `.json`.
        project: Has the traffic and the models, which may retire.
        today: The day of the report.
        verdict: The last one, if there is one.

    Raises:
        UserError: The ending is another one, or the file cannot be written.
    """
    content = render(record, path, project, today, verdict)
    try:
        write_atomic(path, content.encode())
    except OSError as error:
        raise UserError(f"The report cannot be written to {path}: {error.strerror}.", hint=OTHER_OUT) from None
    return path


def render(
    record: RunRecord,
    path: Path,
    project: Project | None = None,
    today: date | None = None,
    verdict: StoredVerdict | None = None,
) -> str:
    """Return the report in the format that the ending of `path` says."""
    check_ending(path)
    if path.suffix == ".html":
        from tuneworthy.report.html import render_html  # loads the library for templates

        return render_html(document(record, project, today, verdict))
    if path.suffix == ".md":
        return render_markdown(document(record, project, today, verdict))
    traffic, costs = (project.economics.requests_per_month, running_costs(project, record)) if project else (None, None)
    decided = {"verdict": verdict.verdict.to_dict()} if verdict and verdict.holds else {}
    return orjson.dumps(
        record.to_dict() | decided | {"paragraph": paragraph(record, traffic, verdict, costs)},
        option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS,
    ).decode()


def check_ending(path: Path) -> None:
    """Refuse a file whose format is not known.

    Raises:
        UserError: The ending is unknown.
    """
    if path.suffix not in ENDINGS:
        raise UserError(f"{path.name!r} must end in one of: {', '.join(ENDINGS)}.", hint=OTHER_OUT)
