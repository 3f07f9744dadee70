"""Records as tables on a terminal (and as plain text elsewhere)."""

from collections.abc import Collection, Iterable

import click
from rich import box
from rich.table import Table
from rich.text import Text

from tuneworthy.cli import messages
from tuneworthy.cli.terminal import console
from tuneworthy.config import Project
from tuneworthy.ladder.bills import running_costs
from tuneworthy.ladder.record import RunRecord
from tuneworthy.report.findings import best_of, constant_sentence, majority_sentence, target_of
from tuneworthy.report.numbers import percent, percent_range
from tuneworthy.report.render import table_lines
from tuneworthy.report.table import Table as Rows
from tuneworthy.report.tables import ladder_table
from tuneworthy.report.text import clean

STYLES = {"adopted": "green", "no_gain": "red", "reference": "cyan", "failed": "red"}
# The least important last: a narrow terminal shows fewer.
_COLUMNS = ("rung", "status", "variant", "score", "ci95", "gain", "cost", "p50")
# Columns of a terminal that rung, status and variant need, and those between two columns of a table.
NAMES = 55
GAP = 3


def make_table(
    title: str | None,
    headings: Iterable[str],
    rows: Iterable[Iterable[str | Text]] = (),
    *,
    numbers: Collection[int] = (),
    caption: str | None = None,
) -> Table:
    """Return a table for the terminal; the columns at the places `numbers` are aligned on the right."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", caption=caption)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place in numbers else "left")
    for row in rows:
        table.add_row(*row)
    return table


def show_tables(tables: Iterable[Rows]) -> None:
    """Print tables with their titles and notes."""
    for table in tables:
        for line in (table.title, *table_lines(table), *filter(None, [table.note]), ""):
            click.echo(line)


def show_run(record: RunRecord, project: Project | None = None) -> None:
    """Print the ladder as a table, and what follows from it."""
    show_ladder(record, project)
    for line in closing_lines(record):
        click.echo(line)


def show_ladder(record: RunRecord, project: Project | None = None) -> None:
    """Print the ladder as a table, with the servers of one's own that `project` needs."""
    traffic, costs = (project.economics.requests_per_month, running_costs(project, record)) if project else (None, None)
    out, ladder = console(), ladder_table(record, traffic, costs).only(*_COLUMNS)
    while len(ladder.columns) > 3 and NAMES + _numbers_width(ladder) > out.width:
        ladder = ladder.only(*(column.key for column in ladder.columns[:-1]))
    table = Table(title=ladder.title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in ladder.columns:
        if column.kind == "number":
            table.add_column(column.heading, justify="right", no_wrap=True)
        else:
            narrow = column.kind == "status" and len(ladder.columns) < len(_COLUMNS)
            table.add_column(column.heading, max_width=12 if narrow else None, overflow="fold")
    for rung, row in zip(record.rungs, ladder.rows, strict=True):
        cells = [*row[:2], clean(rung.reason) if rung.name is None else row[2], *row[3:]]
        table.add_row(cells[0], Text(cells[1].replace("_", " "), style=STYLES.get(cells[1], "")), *cells[2:])
    out.print(table)


def _numbers_width(ladder: Rows) -> int:
    places = [place for place, column in enumerate(ladder.columns) if column.kind == "number"]
    headings = [column.heading for column in ladder.columns]
    return sum(GAP + max(len(row[place]) for row in (headings, *ladder.rows)) for place in places)


def closing_lines(record: RunRecord) -> list[str]:
    """Return the lines below the table: its meaning and the next step."""
    if record.quick:
        return ["This was a quick run on dev, without a verdict. Next: tuneworthy run"]
    lines = [clean(record.classical_wins)] if record.classical_wins else []
    if record.partial:
        lines.append(f"The run is incomplete: {clean(record.partial)}.")
    best, target = best_of(record), target_of(record)
    if best and best.score is not None and best.ci95:
        score, bounds = percent(best.score), percent_range(best.ci95)
        lines.append(messages.say("best", name=clean(best.name), score=score, bounds=bounds))
    lines += [constant_sentence(rung) for rung in record.rungs if rung.constant and rung.score is not None]
    lines += filter(None, [majority_sentence(record)])
    if target:
        lines.append(target.sentence)
    lines.append("Next: tuneworthy run" if record.partial else "Next: tuneworthy decide")
    return lines
