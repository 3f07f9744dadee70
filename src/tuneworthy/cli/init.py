"""`tuneworthy init`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tuneworthy.cli.init_terminal import ask_settings
from tuneworthy.cli.options import PATH, POSITIVE, json_option, note, print_json, say, wants_json
from tuneworthy.scaffold import EMBEDDED, TASKS, make_project
from tuneworthy.verdict.messages import sentence


@click.command("init")
@click.argument("folder", type=PATH)
@click.option(
    "--data",
    required=True,
    type=PATH,
    help="Cases: CSV, Excel, JSONL, Parquet, promptfoo, Langfuse.",
)
@click.option("--examples", type=PATH, help="Rows for shots and training.")
@click.option("--input", "inputs", multiple=True, metavar="COL", help="Column of the question; repeatable.")
@click.option("--expected", multiple=True, metavar="COL", help="Column of the expected answer, one per file; or none.")
@click.option("--task", type=click.Choice([*TASKS]), help="Kind of task (default: detected).")
@click.option("--model", default=EMBEDDED, show_default=True, metavar="PROVIDER:NAME", help="Today's model.")
@click.option("--compare", multiple=True, metavar="PROVIDER:NAME", help="Another model to measure; repeatable.")
@click.option(
    "--n-cases",
    type=POSITIVE,
    help="Cases to draw from the file (default: half, at most 500; all with --examples).",
)
@json_option
def command(folder: Path, data: Path, **settings: Any) -> None:
    """Create a project from data files.

    Writes FOLDER with cases, examples, a prompt and a commented project file. No model is called. On a terminal it
    asks for each setting that you omit, and Enter takes the default. Elsewhere an unclear column or task is an error.

    Without --examples, the rows that are not drawn as cases become the examples. --input and --expected apply to each
    file that has the column.

    Models are named PROVIDER:NAME. Providers: openai, anthropic, gemini, ollama, vllm, llama_cpp and http.
    openai:NAME@URL is a model of any server that speaks OpenAI's protocol; http:URL is your own pipeline.

    \b
    Example:
      tuneworthy init tickets --data tickets.csv --model openai:gpt-6-luna
      tuneworthy init my-task --data test.csv --examples train.csv --n-cases 300
    """
    if sys.stdin.isatty() and sys.stdout.isatty() and not wants_json():
        settings = ask_settings(folder, data, settings)
    made = make_project(folder, data, **settings)
    if wants_json():
        document = asdict(made)
        print_json({"project": str(document.pop("root")), **document})
        return
    note(*map(sentence, made.notes))
    verbs = ("check", "run") if made.n_answered == made.n_cases else ("label --labeller NAME", "check")
    say(
        f"Created {folder} with {made.n_cases} cases and {made.n_examples} examples. Next:",
        *(f"  tuneworthy {verb} --project {folder}" for verb in verbs),
    )
