"""The first screen of a page on a terminal: the same answer, cards, options and next step."""

from collections.abc import Iterator

from tuneworthy.report.document import Document


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
