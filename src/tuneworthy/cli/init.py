"""`tuneworthy init`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tuneworthy.calls.connectors import local_calls
from tuneworthy.calls.groups import read_calls
from tuneworthy.cli.call_groups import group_lines
from tuneworthy.cli.init_terminal import ask_settings
from tuneworthy.cli.options import PATH, POSITIVE, json_option, note, print_json, say, wants_json
from tuneworthy.errors import UserError
from tuneworthy.scaffold import EMBEDDED, TASKS, NewProject, make_call_project, make_project
from tuneworthy.types import JsonObject
from tuneworthy.verdict.messages import sentence


@click.command("init")
@click.argument("folder", type=PATH)
@click.option("--data", type=PATH, help="Cases: CSV, Excel, JSONL, Parquet, promptfoo, Langfuse.")
@click.option("--from", "calls", metavar="SOURCE", help="File of calls, langfuse:... or mlflow:...")
@click.option("--call", type=POSITIVE, metavar="N", help="Number of the group of calls.")
@click.option("--examples", type=PATH, help="Rows for shots and training.")
@click.option("--input", "inputs", multiple=True, metavar="COL", help="Column of the question; repeatable.")
@click.option("--expected", multiple=True, metavar="COL", help="Column of the expected answer, one per file; or none.")
@click.option("--task", type=click.Choice([*TASKS]), help="Kind of task (default: detected).")
@click.option("--model", metavar="PROVIDER:NAME", help=f"Today's model [default: {EMBEDDED}, or that of the calls].")
@click.option("--compare", multiple=True, metavar="PROVIDER:NAME", help="Another model to measure; repeatable.")
@click.option(
    "--n-cases",
    type=POSITIVE,
    help="Cases to draw from the file (default: half, at most 500; all with --examples).",
)
@json_option
def command(folder: Path, data: Path | None, calls: str | None, call: int | None, **settings: Any) -> None:
    """Create a project from data files or from recorded calls.

    Writes FOLDER with cases, examples, a prompt and a project file. No model is called. On a terminal it asks for each
    setting that you omit. Elsewhere an unclear column or task is an error. Without --examples, the rows that are not
    drawn as cases become the examples.

    With --from it groups the calls of a log by the constant part of their prompts, lists the groups by cost, and makes
    a project of one group: today's prompt and model, and its answers to compare with.

    Models are named PROVIDER:NAME. Providers: openai, anthropic, gemini, ollama, vllm, llama_cpp and http.
    openai:NAME@URL is a model of any server that speaks OpenAI's protocol; http:URL is your own pipeline.

    \b
    Example:
      tuneworthy init tickets --data tickets.csv --model openai:gpt-6-luna
      tuneworthy init tickets --from calls.jsonl --call 1
      tuneworthy init tickets --from 'langfuse:tag=prod&from=2026-11-01'
    """
    asks, facts = sys.stdin.isatty() and sys.stdout.isatty() and not wants_json(), JsonObject()
    if calls is not None and data is None:
        made, facts = _from_calls(folder, calls, call, settings, asks=asks)
    elif data is None or calls is not None:
        raise click.UsageError("Pass either --data FILE or --from CALLS.")
    elif call is not None:
        raise click.UsageError("--call needs --from.")
    else:
        settings["model"] = settings["model"] or EMBEDDED
        made = make_project(folder, data, **(ask_settings(folder, data, settings) if asks else settings))
    if wants_json():
        document = asdict(made)
        print_json({"project": str(document.pop("root")), **document, **facts})
        return
    note(*map(sentence, made.notes))
    verbs = ["label --labeller NAME", "check"] if data and made.n_answered < made.n_cases else ["check", "run"]
    verbs = ["trust"] * made.untrusted + verbs
    say(
        f"Created {folder} with {made.n_cases} cases and {made.n_examples} examples. Next:",
        *(f"  tuneworthy {verb} --project {folder}" for verb in verbs),
    )


def _from_calls(
    folder: Path, source: str, number: int | None, settings: JsonObject, *, asks: bool
) -> tuple[NewProject, JsonObject]:
    """Return the project of a group, and the facts of all groups for `--json`."""
    if unused := [name for name in ("examples",) if settings.pop(name)]:
        raise click.UsageError(f"--{unused[0]} goes with --data, not with --from.")
    named = [*settings.pop("expected")]
    path, notes = local_calls(source, folder.absolute().parent)
    note(*notes)
    calls = read_calls(path, settings.pop("inputs"), named[0] if named else None)
    if number is None or asks:
        (note if wants_json() else say)(*group_lines(calls))
    n = len(calls.groups)
    if number is None and n > 1 and not asks:
        raise UserError(f"The calls are of {n} groups.", hint=f"Name one with --call, a number from 1 to {n}.")
    if number is None:
        number = click.prompt("Which group", type=click.IntRange(1, n), default=1) if n > 1 else 1
    if number > n:
        raise UserError(f"There is no group {number}.", hint=f"--call takes a number from 1 to {n}.")
    facts = {"call": number, "groups": [group.facts for group in calls.groups]}
    return make_call_project(folder, calls.groups[number - 1], **settings), facts
