"""`tuneworthy guide`."""

import click

from tuneworthy.cli import messages
from tuneworthy.cli.options import json_option, print_result
from tuneworthy.cli.tables import make_table
from tuneworthy.cli.terminal import console
from tuneworthy.verdict.guide import Row, load_guide
from tuneworthy.verdict.guide import row as row_of


@click.command("guide")
@click.argument("problem", required=False)
@json_option
def command(problem: str | None, as_json: bool) -> None:
    """Show which lever fits which problem.

    With PROBLEM, shows one row with its sources.

    PROBLEM is a value of `task.problem` in the project file, such as strict_format.

    \b
    Example:
      tuneworthy guide
      tuneworthy guide strict_format
    """
    if problem is None:
        print_result(as_json, {name: row.to_dict() for name, row in load_guide().items()}, _show_guide)
    else:
        row = row_of(problem)
        print_result(as_json, row.to_dict(), _show_row, row)


def _show_row(found: Row) -> None:
    click.echo(f"{found.name} ({found.problem})")
    for label, cell in (("first", found.primary), ("then", found.backup), ("training helps", found.helps)):
        click.echo(f"\n{label}: {cell.value}")
        if cell.why:
            click.echo(f"  {cell.why}")
        click.echo(f"  Source: {cell.source or messages.say('no_source')}")


def _show_guide() -> None:
    out = console()
    rows = [
        (
            row.problem,
            *(cell.value if cell.source else f"{cell.value} *" for cell in (row.primary, row.backup, row.helps)),
        )
        for row in load_guide().values()
    ]
    out.print(make_table("Which lever fits which problem", ("problem", "first", "then", "training helps"), rows))
    out.print("* This cell has no source. For reasons and sources, run `tuneworthy guide PROBLEM`.")
