"""Reports as files: the format follows the ending."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import orjson

from tuneworthy.config import Project
from tuneworthy.errors import UserError
from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.session import required_run
from tuneworthy.report.render import Document, first_screen, render_html, render_markdown
from tuneworthy.report.run_report import document
from tuneworthy.store.folder import write_atomic
from tuneworthy.types import Texts
from tuneworthy.verdict.answer import StoredVerdict, load_verdict
from tuneworthy.verdict.gather import read_state, stale_since

PAGES = {".html": render_html, ".md": render_markdown}
OTHER_OUT = "Choose a different file with `--out`."


def run_and_verdict(project: Project) -> tuple[RunRecord, StoredVerdict | None]:
    """Return the last run and the last verdict, both with what changed since.

    Raises:
        UserError: There is no run yet.
    """
    record, verdict = required_run(project, quick=True), load_verdict(project)
    stale = stale_since(project, record)
    if verdict is not None and not record.quick:
        verdict = replace(verdict, changed=[*verdict.changed, *stale])
    if verdict and verdict.holds and verdict.verdict.outcome == "ship" and (action := read_state(project).action):
        verdict = replace(verdict, verdict=replace(verdict.verdict, next_action=action))
    return replace(record, stale=stale), verdict


def write_last(project: Project, path: Path) -> str:
    """Write the report of the last run; return its first screen as text, with the summary to paste as the last line.

    Raises:
        UserError: There is no run yet, the ending of `path` is unknown, or the file cannot be written.
    """
    record, verdict = run_and_verdict(project)
    page = write(record, path, project, verdict=verdict)
    return f"{first_screen(page)}\n{page.paragraph}"


def write(
    record: RunRecord,
    path: Path,
    project: Project | None = None,
    today: date | None = None,
    verdict: StoredVerdict | None = None,
) -> Document:
    """Write the report of a run, whole or not at all, and return the page.

    `.json` has the record, the verdict and the paragraph.

    Args:
        record: Of the last run.
        path: Its ending gives the format: `.html`, `.md` or `.json`.
        project: Has the traffic and the models, which may retire.
        today: The day of the report.
        verdict: The last one, if there is one.

    Raises:
        UserError: The ending is unknown, or the file cannot be written.
    """
    page = document(record, project, today, verdict)
    if path.suffix != ".json":
        write_page(path, page, (*PAGES, ".json"))
        return page
    decided = {"verdict": verdict.verdict.to_dict()} if verdict and verdict.holds else {}
    content = record.to_dict() | decided | {"paragraph": page.paragraph}
    write_text(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())
    return page


def write_page(path: Path, page: Document, endings: Texts = tuple(PAGES)) -> None:
    """Write a page as HTML or Markdown.

    Raises:
        UserError: The ending is unknown, or the file cannot be written.
    """
    if path.suffix not in PAGES:
        raise UserError(f"{path.name!r} must end in one of: {', '.join(endings)}.", hint=OTHER_OUT)
    write_text(path, PAGES[path.suffix](page))


def write_text(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        UserError: It cannot be written.
    """
    try:
        write_atomic(path, text.encode())
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror}.", hint=OTHER_OUT) from None
