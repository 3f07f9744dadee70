"""`tuneworthy guide`."""

import click

from tuneworthy.cli.options import json_option, print_result, say
from tuneworthy.cli.tables import show_tables
from tuneworthy.report.table import Table, name_column, text_column
from tuneworthy.verdict.guide import Cell, Row, load_guide
from tuneworthy.verdict.guide import row as row_of


@click.command("guide")
@click.argument("problem", required=False)
@json_option
def command(problem: str | None) -> None:
    """Show which lever fits which problem.

    With PROBLEM, shows one row with its sources.

    PROBLEM is a value of `task.problem` in the project file, such as strict_format.

    \b
    Example:
      tuneworthy guide
      tuneworthy guide strict_format
    """
    if problem is None:
        print_result({name: row.to_dict() for name, row in load_guide().items()}, _show_guide)
    else:
        row = row_of(problem)
        print_result(row.to_dict(), _show_row, row)


def _show_row(found: Row) -> None:
    say(f"{found.name} ({found.problem})")
    for label, cell in (("first", found.primary), ("then", found.backup), ("training helps", found.helps)):
        say(f"\n{label}: {cell.value}")
        if cell.why:
            say(f"  {cell.why}")
        say(f"  Source: {cell.source or 'none; based on practice, not on a measurement'}")


def _show_guide() -> None:
    columns = [
        name_column("problem", "problem"),
        text_column("primary", "first", lambda row: _marked(row.primary)),
        text_column("backup", "then", lambda row: _marked(row.backup)),
        text_column("helps", "training helps", lambda row: _marked(row.helps)),
    ]
    note = "* This cell has no source. For reasons and sources, run `tuneworthy guide PROBLEM`."
    show_tables([Table.of("Which lever fits which problem", columns, load_guide().values(), note)])


def _marked(cell: Cell) -> str:
    return cell.value if cell.source else f"{cell.value} *"
