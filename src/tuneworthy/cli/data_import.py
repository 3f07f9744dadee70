"""`tuneworthy data import`."""

from __future__ import annotations

from pathlib import Path

import click

from tuneworthy.cli.options import json_option, note, print_json, project_option
from tuneworthy.dataset.importing.folder import Import
from tuneworthy.dataset.importing.importer import ImportRequest, import_files
from tuneworthy.report.text import clean
from tuneworthy.store import Folder


@click.command("import", short_help="Read logs and data files into examples.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--input", "inputs", metavar="COL", multiple=True, help="Column of the question (may be repeated).")
@click.option("--expected", metavar="COL", help="Column of the right answer.")
@click.option("--format", "format_name", metavar="NAME", help="How the rows are written; recognised if not given.")
@project_option
@json_option
def command(
    files: tuple[Path, ...],
    inputs: tuple[str, ...],
    expected: str | None,
    format_name: str | None,
    root: Path,
    as_json: bool,
) -> None:
    """Read FILES into examples: request logs with feedback, chats, ShareGPT, Alpaca, prompt and completion, tables.

    JSONL, JSON, CSV and Parquet; gzip too. A thumbs-down or an escalation drops a row, a correction takes the place of
    the answer. Rows that are left out stay readable, each with its reason, in rejects.jsonl. Nothing is sent anywhere.
    A run that was stopped goes on where it was.

    \b
    Example:
      tuneworthy data import logs-*.jsonl.gz
      tuneworthy data import faq.csv --input question --expected answer
    """
    store = Folder(root)
    with store.lock(note):
        done = import_files(store, files, ImportRequest(inputs, expected, format_name), note)
    if as_json:
        print_json({"path": str(done.folder), **done.document})
    else:
        _say(done)


def _say(done: Import) -> None:
    told = done.document
    for source in told["sources"]:
        n = source["n_kept"] + source["n_rejected"]
        click.echo(f"{clean(source['name'], 0)} ({source['format']}): {n} rows read, {source['n_kept']} kept")
    for line in told["notes"]:
        note(clean(line, 0))
    for reason, found in told["reasons"].items():
        why = clean(f"{found['words']}; first at {found['first']}", 0)
        click.echo(f"  left out: {found['n']} {reason} ({why})")
    repaired = f", {told['n_repaired']} of them with a correction as answer" if told["n_repaired"] else ""
    click.echo(f"{done.folder / 'rows.jsonl'}: {told['n_kept']} examples{repaired}")
    if told["n_rejected"]:
        click.echo(f"{done.folder / 'rejects.jsonl'}: {told['n_rejected']} rows that were left out, with reasons")
