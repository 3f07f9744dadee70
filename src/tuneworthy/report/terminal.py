"""Terminal output: tables in 80 columns, and the first screen of a page."""

from collections.abc import Iterator, Sequence

from tuneworthy.report.document import Document
from tuneworthy.report.table import EMPTY, Table

WIDTH = 80
NAME_WIDTH = 20


def table_lines(table: Table) -> Iterator[str]:
    """Yield a table in 80 columns; texts and columns without room follow below each row."""
    columns = [(place, column) for place, column in enumerate(table.columns) if not column.wide]
    shown: list[tuple[int, int]] = []
    room = WIDTH - 2
    for place, column in columns:
        width = max(len(column.heading), *(len(row[place]) for row in table.rows))
        width = min(width, NAME_WIDTH) if column.kind == "name" else width
        if column.kind != "text" and width < room:
            shown.append((place, width))
            room -= width + 1
    below = [(place, column.heading) for place, column in columns if place not in dict(shown)]

    def line(cells: Sequence[str], mark: str = " ") -> str:
        aligned = [
            cells[place].rjust(width) if table.columns[place].kind == "number" else cells[place].ljust(width)
            for place, width in shown
        ]
        return f"{mark} {' '.join(aligned)}".rstrip()

    yield line([column.heading for column in table.columns])
    for number, row in enumerate(table.rows):
        mark = "*" if number == table.best else " "
        if len(row[0]) > shown[0][1]:
            yield f"{mark} {row[0]}"
            yield line(["", *row[1:]])
        else:
            yield line(row, mark)
        for place, heading in below:
            if row[place] not in EMPTY:
                yield f"    {heading}: {row[place]}"


def first_screen_lines(page: Document) -> Iterator[str]:
    """Yield the lines of the first screen, without the paragraph to paste."""
    yield f"{page.answer}. {page.sentence}"
    if page.basis:
        yield f"  {page.basis}"
    yield from (f"  ! {warning}" for warning in page.warnings)
    yield ""
    for card in page.cards:
        yield f"  {card.label}: {card.value}{f' ({card.mark})' if card.mark else ''}"
        yield f"    {', '.join([card.name, *card.details])}"
    if page.chart:
        table = page.chart.table
        widths = [max(len(row[place]) for row in table.rows) for place in range(len(table.columns))]
        yield ""
        yield f"  {table.title}"
        for row in table.rows:
            yield "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if page.next_step:
        yield ""
        yield f"Do this next: {page.next_step.why}".rstrip()
        if page.next_step.command:
            yield f"  {page.next_step.command}"
    yield ""
