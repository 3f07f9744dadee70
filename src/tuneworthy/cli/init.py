"""`tuneworthy init`."""

from pathlib import Path

import click

from tuneworthy.cli import messages
from tuneworthy.cli.options import json_option, note, print_json
from tuneworthy.scaffold import make_project


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Cases: CSV, Excel, JSONL, Parquet, promptfoo, Langfuse.",
)
@click.option("--examples", type=click.Path(path_type=Path), help="Rows for shots and training.")
@click.option("--input", "inputs", multiple=True, metavar="COL", help="Column of the question; repeatable.")
@click.option("--expected", metavar="COL", help="Column of the expected answer.")
@click.option("--n-cases", type=click.IntRange(min=1), help="Number of cases to draw, stratified; all if not given.")
@click.option("--seed", type=int, default=7, show_default=True, help="Seed of the draw and of the project.")
@json_option
def command(
    folder: Path,
    data: Path,
    examples: Path | None,
    inputs: tuple[str, ...],
    expected: str | None,
    n_cases: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Create a project from data files.

    Writes FOLDER with cases, examples, a prompt and a commented project file; the kind of task and the graders are
    guessed. Nothing is downloaded and no model is called.

    \b
    Example:
      tuneworthy init my-task --data test.csv --examples train.csv --n-cases 300
    """
    made = make_project(folder, data, examples=examples, inputs=inputs, expected=expected, n_cases=n_cases, seed=seed)
    if as_json:
        print_json(
            {
                "project": str(made.root),
                "kind": made.kind,
                "n_cases": made.n_cases,
                "n_examples": made.n_examples,
                "notes": made.notes,
            }
        )
        return
    note(*made.notes)
    click.echo(messages.say("project_made", folder=folder, n_cases=made.n_cases, n_examples=made.n_examples))
