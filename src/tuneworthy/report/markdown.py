"""A page as Markdown: the same content; every cell escaped, no HTML, no image: a chart is its table."""

from collections.abc import Sequence
from typing import Final

from tuneworthy.report.answers import Diff
from tuneworthy.report.chart import BarChart, LineChart
from tuneworthy.report.document import Block, Document
from tuneworthy.report.table import Table
from tuneworthy.report.text import markdown_code, markdown_text

FENCE: Final = "```"
SIGNS: Final = {"add": "+", "remove": "-", "same": " "}


def render_markdown(page: Document) -> str:
    """Return a page in GitHub's Markdown."""
    blocks = [f"# {markdown_text(page.title)}", f"**{markdown_text(page.answer)}.** {markdown_text(page.sentence)}"]
    blocks += [markdown_text(page.basis)] if page.basis else []
    cards = []
    for card in page.cards:
        details = ", ".join(markdown_text(part) for part in (card.name, card.mark, *card.details) if part)
        cards.append(f"{markdown_text(card.label)}: **{markdown_text(card.value)}** ({details})")
    blocks += bullets(cards)
    blocks += table_blocks(page.chart.table) if page.chart else []
    if step := page.next_step:
        blocks += ["## Do this next", *filter(None, [markdown_code(step.command), markdown_text(step.why)])]
    blocks += ["## Summary to paste", f"> {markdown_text(page.paragraph)}"] if page.paragraph else []
    blocks += bullets([markdown_text(warning) for warning in page.warnings])
    for section in page.sections:
        blocks += [f"## {markdown_text(section.title)}", *(text for block in section.blocks for text in _block(block))]
    return "\n\n".join([*blocks, markdown_text(page.made)]) + "\n"


def _block(block: Block) -> list[str]:
    match block:
        case str():
            return [markdown_text(block)]
        case BarChart() | LineChart():
            return table_blocks(block.table)
        case Diff():
            lines = [f"{SIGNS[kind]} {line.replace(FENCE, '')}" for kind, line in block.lines]
            title = f"### {markdown_text(block.title)}"
            return [
                title,
                "\n".join([f"{FENCE}diff", *lines, FENCE]),
                *([markdown_text(block.note)] if block.note else []),
            ]
        case _:
            return table_blocks(block)


def bullets(items: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {item}" for item in items)] if items else []


def table_blocks(table: Table) -> list[str]:
    """Return heading, table and note."""
    head = "| " + " | ".join(markdown_text(column.heading) for column in table.columns) + " |"
    line = "|" + "|".join("---:" if column.kind == "number" else "---" for column in table.columns) + "|"
    rows = []
    for i, row in enumerate(table.rows):
        cells = [
            markdown_code(cell) if column.kind == "name" else markdown_text(cell)
            for column, cell in zip(table.columns, row, strict=True)
        ]
        if i == table.best:
            cells[0] = f"**{cells[0]}**"
        rows.append("| " + " | ".join(cells) + " |")
    blocks = [f"### {markdown_text(table.title)}", "\n".join([head, line, *rows])]
    return [*blocks, markdown_text(table.note)] if table.note else blocks
