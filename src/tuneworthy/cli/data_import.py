"""`tuneworthy data import`."""

from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.options import json_option, note, print_result, project_option
from tuneworthy.dataset.importing.folder import Import
from tuneworthy.dataset.importing.importer import ImportRequest, import_files
from tuneworthy.report.text import clean
from tuneworthy.store import Folder


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--input", "inputs", metavar="COL", multiple=True, help="Column of the question; repeatable.")
@click.option("--expected", metavar="COL", help="Column of the expected answer.")
@click.option("--format", "format_name", metavar="NAME", help="Format of the rows (default: detected).")
@click.option("--replace", is_flag=True, help="Forget earlier imports.")
@project_option
@json_option
def command(
    files: tuple[Path, ...],
    inputs: tuple[str, ...],
    expected: str | None,
    format_name: str | None,
    replace: bool,
    root: Path,
    as_json: bool,
) -> None:
    """Import logs and data files as examples.

    FILES are logs and exports of OpenTelemetry, Langfuse, LangSmith, LiteLLM, OpenAI, Anthropic, Claude Code or Codex,
    preference pairs, chats, request logs, or tables, as JSONL, JSON, CSV, Excel or Parquet. All but Excel and Parquet
    may be compressed with gzip. Rows are added to those imported before, unless you pass --replace.

    A bad rating or an escalation drops a row; a correction replaces the answer. Dropped rows stay readable in
    rejects.jsonl, each with its reason. Nothing is sent anywhere.

    \b
    Example:
      tuneworthy data import logs-*.jsonl.gz
      tuneworthy data import faq.csv --input question --expected answer
    """
    store = Folder(root)
    with store.lock(note):
        done = import_files(store, files, ImportRequest(inputs, expected, format_name), note, alone=replace)
    print_result(as_json, {"path": str(done.folder), **done.document}, _say, done)


def _say(done: Import) -> None:
    say_import(done)
    click.echo("Next: tuneworthy data build")


def say_import(done: Import) -> None:
    """Print what an import holds: each file, how its rows were read, and why rows were left out."""
    document = done.document
    for source in document["sources"]:
        click.echo(messages.source_read(clean(source["name"], 0), source))
        for turn in source.get("example", ()):
            calls = [messages.say("calls", names=clean(", ".join(turn["calls"])))] if "calls" in turn else []
            click.echo(f"    {turn['role']}: {' '.join([clean(turn['content'], 0)[:160], *calls])}")
    note(*(clean(line, 0) for line in document["notes"]))
    for group in document["reasons"].values():
        click.echo(messages.dropped_rows(group["n"], clean(group["words"], 0), clean(group["first"], 0)))
    click.echo(messages.imported(done.folder / "rows.jsonl", document["n_kept"], document["n_repaired"]))
    if document["n_rejected"]:
        click.echo(messages.say("rejects", path=done.folder / "rejects.jsonl", n=document["n_rejected"]))
