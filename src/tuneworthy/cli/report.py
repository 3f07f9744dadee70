"""`tuneworthy report`."""

from pathlib import Path

import click

from tuneworthy.cli.options import PATH, note, project_option, say
from tuneworthy.cli.spending import note_elsewhere
from tuneworthy.config import load
from tuneworthy.dataset.card import card_of
from tuneworthy.dataset.freeze import open_version
from tuneworthy.people.review_log import FILE_NAME, state_of
from tuneworthy.report.card import document
from tuneworthy.report.run_report import write_last, write_page
from tuneworthy.store import Folder
from tuneworthy.train.phases import training_lines
from tuneworthy.trust import own_path


@click.command("report")
@click.argument("about", required=False, metavar="[data]", type=click.Choice(["data"]))
@click.option(
    "--out",
    type=PATH,
    show_default="report.html or dataset-card.html in the project folder",
    help="File to write; its ending gives the format: .html, .md or .json.",
)
@project_option
def command(about: str | None, out: Path | None, root: Path) -> None:
    """Write the report of the last run, or of the training data.

    Writes one self-contained page on the last run and the last verdict, and prints its first screen with the summary
    to paste. The page needs no server, no network and no script. It contains no test case; of dev it shows five
    cases and how today's setup fails, with personal data masked.

    With DATA (`report data`), writes the card of the latest frozen version (.html or .md): the funnel, dropped rows
    with their reasons, distributions, provenance and licences.

    \b
    Example:
      tuneworthy report
      tuneworthy report data --out card.md
    """
    project = load(root)
    if about:
        version, path = open_version(Folder(project.root)), out or own_path(project.root, "dataset-card.html")
        state = state_of(project.root / FILE_NAME, version.id)
        write_page(path, document(card_of(version), state.summary if state.plan else ""))
        say(str(path))
        return
    note_elsewhere(project.root)
    path = out or own_path(project.root, "report.html")
    say(write_last(project, path))
    note(*training_lines(Folder(project.root)), f"Report: {path}")
