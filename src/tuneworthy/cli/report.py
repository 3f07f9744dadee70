"""`tuneworthy report`."""

from dataclasses import replace
from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.options import note, project_option
from tuneworthy.config import Project, load
from tuneworthy.ladder.record import RunRecord
from tuneworthy.report.findings import paragraph
from tuneworthy.report.stored import last_record
from tuneworthy.report.write import write
from tuneworthy.trust import own_path
from tuneworthy.verdict.last_verdict import StoredVerdict, load_verdict
from tuneworthy.verdict.project_state import stale_since


@click.command("report")
@project_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    show_default="report.html in the project folder",
    help="File to write; its ending gives the format: .html, .md or .json.",
)
def command(root: Path, out: Path | None) -> None:
    """Write the report of the last run.

    Writes one self-contained page on the last run and the last verdict, and prints the summary to paste. The page
    needs no server, no network and no script, and contains no test cases and no answers.

    \b
    Example:
      tuneworthy report
      tuneworthy report --out ladder.md
    """
    project = load(root)
    record, verdict = _stored(project)
    click.echo(paragraph(record, project.economics.requests_per_month, verdict))
    path = write(record, out or own_path(project.root, "report.html"), project, verdict=verdict)
    note(messages.say("report_at", path=path))


def write_report(project: Project, path: Path) -> Path:
    """Write the report of the project's last run to `path` and return it.

    Raises:
        UserError: There is no run yet, the ending of `path` is unknown, or it cannot be written.
    """
    record, verdict = _stored(project)
    return write(record, path, project, verdict=verdict)


def _stored(project: Project) -> tuple[RunRecord, StoredVerdict | None]:
    """Return the last run and the last verdict, both with what changed since."""
    record, verdict = last_record(project.root), load_verdict(project)
    if record.quick:
        return record, verdict
    stale = [] if record.partial else stale_since(project, record)
    if verdict is not None:
        verdict = replace(verdict, changed=[*verdict.changed, *stale])
    return replace(record, stale=stale), verdict
