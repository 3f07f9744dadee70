"""`tuneworthy data import`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tuneworthy.cli.options import (
    PATH,
    expected_option,
    format_option,
    input_option,
    json_option,
    note,
    print_result,
    project_option,
    say,
)
from tuneworthy.dataset.importing.folder import Import
from tuneworthy.dataset.importing.importer import import_files
from tuneworthy.dataset.records import ImportRequest
from tuneworthy.report.text import clean
from tuneworthy.store import Folder
from tuneworthy.text import count, plural
from tuneworthy.types import Paths


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=PATH)
@input_option
@expected_option
@format_option
@click.option("--replace", is_flag=True, help="Forget earlier imports.")
@project_option
@json_option
def command(
    files: Paths,
    replace: bool,
    root: Path,
    **request: Any,
) -> None:
    """Import logs and data files as examples.

    FILES are logs and exports of OpenTelemetry, Phoenix, Langfuse, LangSmith, MLflow, Weave, Braintrust, Opik, LiteLLM,
    Helicone, OpenAI, Anthropic, Gemini, Claude Code or Codex, logs of Inspect, promptfoo and lm-eval, preference pairs,
    chats, or tables, as JSONL, JSON, CSV, Excel, Parquet or Arrow. All text files may be compressed with gzip. Rows are
    added to those imported before, unless you pass --replace. Of an evaluation, the target is the answer to learn;
    without a target, a wrong answer is dropped.

    A bad rating or an escalation drops a row; a correction replaces the answer. Dropped rows stay readable in
    rejects.jsonl, each with its reason. Nothing is sent anywhere.

    \b
    Example:
      tuneworthy data import logs-*.jsonl.gz
      tuneworthy data import faq.csv --input question --expected answer
    """
    store = Folder(root)
    with store.lock(note):
        done = import_files(store, files, ImportRequest(**request), note, fresh=replace)
    print_result({"path": str(done.folder), **asdict(done.record)}, _say, done)


def _say(done: Import) -> None:
    say_import(done)
    say("Next: tuneworthy data build")


def dropped_rows(n: int, explanation: str, first: str) -> str:
    """Say how many rows were dropped and why, and where the first is."""
    return f"  dropped: {n} row{'s' * (n != 1)} ({explanation}; first in {first})"


def say_import(done: Import) -> None:
    """Print an import: its files, how their rows were read, and why rows were left out."""
    record = done.record
    for source in record.sources:
        name, title, n = clean(source.name, 0), source.title or source.format, source.n_kept + source.n_rejected
        if source.companion:
            say(f"{name}: {title}, used for the rows of the other files")
        else:
            read = f"{n:,} {plural(n, source.unit, f'{source.unit}s')}, {source.n_rated:,} with feedback"
            say(f"{name}: {title}, {read}, {source.n_kept:,} imported")
        for turn in source.example:
            calls = f" [calls {clean(', '.join(turn.calls))}]" if turn.calls else ""
            say(f"    {turn.role}: {clean(turn.content, 0)[:160]}{calls}")
    note(*(clean(line, 0) for line in record.notes))
    for reason in record.reasons.values():
        say(dropped_rows(reason.n, clean(reason.words, 0), clean(reason.first, 0)))
    repaired = f", {record.n_repaired} of them with a corrected answer" if record.n_repaired else ""
    say(f"{done.folder / 'rows.jsonl'}: {count(record.n_kept, 'example')}{repaired}")
    if record.n_rejected:
        say(f"{done.folder / 'rejects.jsonl'}: the dropped rows with their reasons (n = {record.n_rejected})")
