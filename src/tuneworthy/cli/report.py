"""`tuneworthy report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuneworthy.cli.options import note, project_option

if TYPE_CHECKING:
    from tuneworthy.config import Project


@click.command("report", short_help="Write the report of the last climb.")
@project_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    show_default="report.html in the project folder",
    help="The file; its ending says the format: .html, .md or .json.",
)
def command(root: Path, out: Path | None) -> None:
    """Write the report of the last climb and the last verdict, and print the paragraph to paste.

    The page needs nothing else: no server, no network, no script. It holds no test case and no answer.

    \b
    Example:
      tuneworthy report
      tuneworthy report --out ladder.md
    """
    from tuneworthy.config import load
    from tuneworthy.report.findings import paragraph
    from tuneworthy.report.stored import last_record
    from tuneworthy.verdict.kept import kept

    project = load(root)
    path = write_report(project, out or project.root / "report.html")
    click.echo(paragraph(last_record(project.root), project.economics.requests_per_month, kept(project)))
    note(f"The report: {path}")


def write_report(project: Project, path: Path) -> Path:
    """Write the report of the project's last climb to `path` and return it.

    Raises:
        UserError: There is no climb yet, the ending of `path` is unknown, or it cannot be written.
    """
    from tuneworthy.report.stored import last_record
    from tuneworthy.report.write import write
    from tuneworthy.verdict.kept import kept

    return write(last_record(project.root), path, project, verdict=kept(project))
