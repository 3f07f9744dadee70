"""`tuneworthy compare`."""

from contextlib import chdir
from pathlib import Path

import click

from tuneworthy.cli.options import FILE_PATH, print_document, project_option, spending_options, writing_to
from tuneworthy.cli.run import with_variants
from tuneworthy.config import load
from tuneworthy.errors import UserError
from tuneworthy.ladder.commands.compare import compare_variants
from tuneworthy.ladder.variant_lookup import locate
from tuneworthy.report.comparison import ENDINGS, FORMATS
from tuneworthy.store import write_atomic
from tuneworthy.types import Paths


@click.command("compare")
@click.argument("a")
@click.argument("b")
@project_option
@click.option("--gate", is_flag=True, help="Exit with status 3 if B is worse than A, or 4 if that is inconclusive.")
@click.option("--test", "on_test", is_flag=True, help="Compare on test instead of dev; this uses up some of alpha.")
@click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True, help="Format of stdout."
)
@click.option("--json", "form", flag_value="json", help="Print only JSON to stdout.")
@click.option(
    "--out",
    "paths",
    type=FILE_PATH,
    multiple=True,
    help="Additional file to write: .md for a comment, .xml for JUnit, .json, .txt; repeatable.",
)
@spending_options
def command(
    a: str,
    b: str,
    root: Path,
    gate: bool,
    on_test: bool,
    form: str,
    paths: Paths,
    max_usd: float | None,
    yes: bool,
) -> int:
    """Compare two variants, paired.

    Compares B with A on the same cases. If they are the same variant, no model is called.

    A and B are `current` (prompt and model as the project file has them now), `best`, a rung of the last run, a
    variant name, an ID, or a variant.json written by `export variant`. B may also be the folder of a changed
    project: its prompt and model are then judged by this project's cases, graders and settings. Functions of this
    project run with its folder as the working folder.

    \b
    Example (CI: did the edited prompt get worse?):
      tuneworthy compare baseline current --gate
      tuneworthy compare current ../change --gate --out comment.md
    """
    for path in paths:
        if path.suffix not in ENDINGS:
            raise UserError(f"{path} must end in one of: {', '.join(ENDINGS)}.")
    project = load(root)
    names = (locate(project, a), locate(project, b))
    with chdir(project.root):  # a function of the project that opens a file opens the project's, not the change's
        result = with_variants(
            project, names, compare_variants, on_test=on_test, max_usd=max_usd, yes=yes, stored=not on_test
        )
    if form == "text":
        click.echo(FORMATS[form](result), nl=False)
    else:
        print_document(FORMATS[form](result), nl=False)
    for path in paths:
        with writing_to(path):
            write_atomic(path, FORMATS[ENDINGS[path.suffix]](result).encode())
    if not gate or result.passes:
        return 0
    return 4 if result.passes is None else 3
