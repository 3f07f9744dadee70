"""`tuneworthy merge`."""

from pathlib import Path

import click

from tuneworthy.cli.options import adapter_option, json_option, note, print_result, project_option, say
from tuneworthy.config import load
from tuneworthy.ship.merge import merge
from tuneworthy.store import Folder


@click.command("merge")
@adapter_option
@click.option("--base", help="ID of the base, or its beginning; it must be the base that the adapter was trained on.")
@project_option
@json_option
def command(adapter: str | None, base: str | None, root: Path) -> None:
    """Merge an adapter into the base it was trained on.

    Merges into 16-bit weights, never into 4-bit weights, with one weight matrix in memory at a time. An adapter trained
    on a 4-bit base is merged into its dequantised weights, on which it was trained. After full fine-tuning there is
    nothing to merge, and the trained weights are only rounded to the dtype of the base.

    \b
    Example:
      tuneworthy merge
      tuneworthy merge --adapter 3f2a
    """
    store = Folder(load(root).root)
    with store.lock(note):
        made = merge(store, adapter, base, say=note)
    print_result(
        {"id": made.id, "path": str(made.folder), **made.manifest},
        say,
        f"Merged model: {made.id} ({made.about.dtype}, {made.about.route.name} base weights)\n{made.folder}",
    )
