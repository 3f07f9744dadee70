"""`tuneworthy data card`."""

from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.options import project_option, version_option, writing_to
from tuneworthy.config import load
from tuneworthy.dataset.card import card_of
from tuneworthy.dataset.freeze import open_version
from tuneworthy.errors import UserError
from tuneworthy.people.review_log import FILE_NAME
from tuneworthy.people.review_state import state_of
from tuneworthy.report.card import document
from tuneworthy.report.html import render_html
from tuneworthy.report.markdown import render_markdown
from tuneworthy.store import Folder, write_atomic
from tuneworthy.trust import own_path


@click.command("card")
@version_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
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
    if path.suffix not in {".html", ".md"}:
        raise UserError(f"{path.name!r} must end in .html or .md.", hint=messages.say("fix_out"))
    version = open_version(Folder(project.root), version_id)
    state = state_of(project.root / FILE_NAME, version.id)
    second = state.calibration.summary if state.calibration else ""
    review = ". ".join(filter(None, [state.summary if state.plan else "", second]))
    render = render_html if path.suffix == ".html" else render_markdown
    with writing_to(path):
        write_atomic(path, render(document(card_of(version), review)).encode())
    click.echo(str(path))
