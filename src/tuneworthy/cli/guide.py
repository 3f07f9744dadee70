"""`tuneworthy guide`."""

import click
from rich import box
from rich.table import Table

from tuneworthy.cli import messages
from tuneworthy.cli.options import json_option, print_json
from tuneworthy.cli.tables import console
from tuneworthy.verdict.guide import Cell, Row, load_guide, row


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
    if problem is not None:
        found = row(problem)
        if as_json:
            print_json(found.to_dict())
        else:
            _show_row(found)
        return
    if as_json:
        print_json({name: found.to_dict() for name, found in load_guide().items()})
    else:
        _show_guide()


def _show_row(found: Row) -> None:
    click.echo(f"{found.name} ({found.problem})")
    for label, cell in (("first", found.primary), ("then", found.backup), ("training helps", found.helps)):
        click.echo(f"\n{label}: {cell.value}")
        if cell.why:
            click.echo(f"  {cell.why}")
        click.echo(f"  Source: {cell.source or messages.say('no_source')}")


def _show_guide() -> None:
    table = Table(box=box.SIMPLE_HEAD, title="Which lever fits which problem", title_justify="left")
    for heading in ("problem", "first", "then", "training helps"):
        table.add_column(heading)
    for found in load_guide().values():
        table.add_row(found.problem, *(_short(cell) for cell in (found.primary, found.backup, found.helps)))
    out = console()
    out.print(table)
    out.print(messages.say("unsourced_cells"))


def _short(cell: Cell) -> str:
    return cell.value if cell.source else f"{cell.value} *"
