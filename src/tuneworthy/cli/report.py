"""`tuneworthy report`."""

from pathlib import Path

import click

from tuneworthy.api import OpenProject
from tuneworthy.cli.budget import note_elsewhere
from tuneworthy.cli.options import PATH, note, project_option, say
from tuneworthy.config import load
from tuneworthy.trust import own_path


@click.command("report")
@project_option
@click.option(
    "--out",
    type=PATH,
    show_default="report.html in the project folder",
    help="File to write; its ending gives the format: .html, .md or .json.",
)
def command(root: Path, out: Path | None) -> None:
    """Write the report of the last run.

    Writes one self-contained page on the last run and the last verdict, and prints its first screen with the summary
    to paste. The page needs no server, no network and no script. It contains no test case; of dev it shows up to ten
    wrong answers, with personal data masked.

    \b
    Example:
      tuneworthy report
      tuneworthy report --out ladder.md
    """
    project = load(root)
    note_elsewhere(project.root)
    path = out or own_path(project.root, "report.html")
    say(OpenProject(project).write_report(path))
    note(f"Report: {path}")
