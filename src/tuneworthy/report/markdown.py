"""The report as Markdown: the same content; every cell escaped, no HTML, no image."""

from collections.abc import Sequence
from datetime import date

from tuneworthy.config import Project
from tuneworthy.ladder.record import RunRecord
from tuneworthy.report.document import document
from tuneworthy.report.tables import Table
from tuneworthy.report.text import markdown_code, markdown_text
from tuneworthy.report.verdict import VerdictSection
from tuneworthy.verdict.last_verdict import StoredVerdict


def render_markdown(
    record: RunRecord,
    project: Project | None = None,
    today: date | None = None,
    verdict: StoredVerdict | None = None,
) -> str:
    """Return the report in GitHub's Markdown.

    Args:
        record: Of the last run.
        project: Has the traffic and the models, some of which may retire.
        today: The day of the report.
        verdict: The last one, if there is one.
    """
    content = document(record, project, today, verdict)
    blocks = [f"# {markdown_text(content.title)}", *_verdict(content.verdict), f"**{markdown_text(content.answer)}**"]
    if content.target:
        blocks.append(f"**Target {content.target.status}.** {markdown_text(content.target.sentence)}")
    blocks += bullets([markdown_text(warning) for warning in content.warnings])
    blocks += bullets(
        [
            f"{markdown_text(number.label)}: **{markdown_text(number.value)}** ({markdown_text(number.detail)})"
            for number in content.numbers
        ]
    )
    blocks += ["## The ladder", *table_blocks(content.ladder)]
    blocks += [block for table in content.details for block in table_blocks(table)]
    blocks += ["## Candidates", *(block for table in content.tried for block in table_blocks(table))]
    blocks += ["## Method", *(markdown_text(sentence) for sentence in content.method), *table_blocks(content.data)]
    blocks += ["## Provenance", *table_blocks(content.provenance)]
    blocks += ["## Summary to paste", f"> {markdown_text(content.paragraph)}", markdown_text(content.made)]
    return "\n\n".join(blocks) + "\n"


def _verdict(content: VerdictSection | None) -> list[str]:
    """Return the verdict: what is read first."""
    if content is None:
        return []
    named = [f"**{name}:** {markdown_text(text)}" for name, text in content.facts]
    return [f"## {markdown_text(content.answer)}", *bullets([markdown_text(text) for text in content.reasons]), *named]


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
