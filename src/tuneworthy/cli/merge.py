"""`tuneworthy merge`."""

from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.options import json_option, note, print_result, project_option
from tuneworthy.config import load
from tuneworthy.ship.merge import merge
from tuneworthy.store import Folder


@click.command("merge")
@click.option("--adapter", help="Start of the adapter's id; the latest if not given.")
@click.option("--base", help="Start of the base's id; it must be the one that the adapter was trained against.")
@project_option
@json_option
def command(adapter: str | None, base: str | None, root: Path, as_json: bool) -> None:
    """Merge an adapter into the base it was trained on.

    The base has 16 bits; 4-bit weights are never merged into. One weight at a time is in memory. An adapter that was
    trained over a 4-bit base is merged into the original and into the dequantised weights; both are measured against
    the trained model, and the nearer one is kept.

    \b
    Example:
      tuneworthy merge
    """
    store = Folder(load(root).root)
    with store.lock(note):
        made = merge(store, adapter, base, say=note)
    shown = messages.say(
        "merged", id=made.id, dtype=made.manifest["dtype"], base=made.manifest["route"]["name"], folder=made.folder
    )
    print_result(as_json, {"id": made.id, "path": str(made.folder), **made.manifest}, click.echo, shown)
