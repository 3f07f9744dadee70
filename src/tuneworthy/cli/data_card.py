"""`tuneworthy data card`."""

from pathlib import Path

import click

from tuneworthy.cli.options import FILE_PATH, project_option, say, version_option
from tuneworthy.config import load
from tuneworthy.dataset.card import card_of
from tuneworthy.dataset.freeze import open_version
from tuneworthy.people.review_log import FILE_NAME
from tuneworthy.people.review_state import state_of
from tuneworthy.report.card import document
from tuneworthy.report.write import write_page
from tuneworthy.store import Folder
from tuneworthy.trust import own_path


@click.command("card")
@version_option
@click.option(
    "--out",
    type=FILE_PATH,
    show_default="dataset-card.html in the project folder",
    help="File to write; its ending gives the format: .html or .md.",
)
@project_option
def command(version_id: str | None, out: Path | None, root: Path) -> None:
    """Write the card of a frozen version.

    Shows the funnel, examples by reason, distributions, provenance and licences. The page needs no server, no
    network and no script. It always masks personal data, whatever [data] says. For rows that overlap a case, it
    shows only their location.

    \b
    Example:
      tuneworthy data card
      tuneworthy data card --out card.md
    """
    project = load(root)
    path = out or own_path(project.root, "dataset-card.html")
    version = open_version(Folder(project.root), version_id)
    state = state_of(project.root / FILE_NAME, version.id)
    write_page(path, document(card_of(version), state.summary if state.plan else ""))
    say(str(path))
