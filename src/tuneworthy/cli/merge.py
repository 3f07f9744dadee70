"""`tuneworthy merge`."""

from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.options import json_option, note, print_result, project_option
from tuneworthy.config import load
from tuneworthy.ship.merge import merge
from tuneworthy.store import Folder


@click.command("merge")
@click.option("--adapter", help="ID of the adapter, or its beginning (default: latest).")
@click.option("--base", help="ID of the base, or its beginning; it must be the base that the adapter was trained on.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
              help="Share of the adapter's changes to keep.")  # fmt: skip
@project_option
@json_option
def command(adapter: str | None, base: str | None, share: float, root: Path, as_json: bool) -> None:
    """Merge an adapter into the base it was trained on.

    Merges into a 16-bit base, never into 4-bit weights, with one weight matrix in memory at a time. An adapter trained
    on a 4-bit base is merged into both the original and the dequantised weights. Both results are compared with the
    trained model on held-out rows, and the closer one is kept. After full fine-tuning there is nothing to merge, and
    the trained weights are only rounded to the dtype of the base.

    A --share below 1 merges a weaker adapter, between the base and the tuned model. Such a model forgets fewer skills
    of the base, and costs no training. Compare the scores of both: `parity` and `run` take the weaker adapter from
    then on.

    \b
    Example:
      tuneworthy merge
      tuneworthy merge --share 0.7
    """
    project = load(root)
    store = Folder(project.root)
    examples = project.path(project.examples.path) if project.examples else None
    with store.lock(note):
        made = merge(store, adapter, base, share=share, examples=examples, say=note)
    shown = messages.say("merged", id=made.id, dtype=made.about.dtype, base=made.about.route.name, folder=made.folder)
    print_result(as_json, {"id": made.id, "path": str(made.folder), **made.manifest}, click.echo, shown)
