"""`tuneworthy init`."""

from __future__ import annotations

from pathlib import Path

import click

from tuneworthy.cli.options import json_option, note, print_json
from tuneworthy.scaffold import make_project


@click.command("init", short_help="Make a project from data files.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="Cases: CSV, JSONL, Parquet, promptfoo, Langfuse."
)
@click.option("--examples", type=click.Path(path_type=Path), help="Rows for shots and training.")
@click.option("--input", "inputs", multiple=True, metavar="COL", help="Column of the question (may be repeated).")
@click.option("--expected", metavar="COL", help="Column of the right answer.")
@click.option("--n-cases", type=click.IntRange(min=1), help="Draw so many cases, stratified; the default is all.")
@click.option("--seed", type=int, default=7, show_default=True, help="Of the draw and of the project.")
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
    """Make a project in FOLDER from data files: kind of task, graders, prompt and a commented project file.

    Nothing is fetched and nothing is asked.

    \b
    Example:
      tuneworthy init my-task --data test.csv --examples train.csv --input text --expected category --n-cases 300
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
    for line in made.notes:
        note(line)
    click.echo(f"Made {folder}: {made.n_cases} cases, {made.n_examples} examples. Next:")
    click.echo(f"  tuneworthy check --project {folder}")
    click.echo(f"  tuneworthy run --project {folder}")
