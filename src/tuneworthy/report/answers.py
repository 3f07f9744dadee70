"""What people would rather look at than read: wrong dev answers side by side, the winning prompt against today's."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from typing import Literal

from tuneworthy.ladder.record import RungRecord, RunRecord
from tuneworthy.report.table import Table, name_column, text_column
from tuneworthy.report.text import clean
from tuneworthy.text import plural
from tuneworthy.types import Variant

# Lines of a diff, and characters per line, at most.
MOST_LINES, MOST_CHARS = 120, 400


@dataclass(frozen=True, slots=True)
class Diff:
    """Two texts, one against the other.

    Attributes:
        title: The compared things.
        lines: Whether each was added, removed or kept, and the line.
        note: How to read it.
    """

    title: str
    lines: tuple[tuple[Literal["add", "remove", "same"], str], ...]
    note: str = ""


def wrong_table(best: RungRecord | None) -> Table | None:
    """Return wrong answers of a variant to dev cases next to today's; None without any."""
    if best is None or not best.wrong:
        return None
    columns = [
        name_column("case", "case"),
        text_column("question", "input"),
        text_column("expected", "expected"),
        text_column("today", "today"),
        text_column("answer", clean(best.name, 40)),
    ]
    rows = [
        [clean(row.case, 16), *map(clean, (row.question, row.expected, row.today, row.answer))] for row in best.wrong
    ]
    note = (
        f"The first {len(rows)} dev cases that {clean(best.name)} answers wrongly. Long texts are cut, and "
        "personal data is masked. Test answers stay hidden."
    )
    table = Table(f"{len(rows)} wrong dev {plural(len(rows), 'answer', 'answers')}, side by side", columns, rows, note)
    return table.only("case", "question", "expected", "answer") if best.rung == "baseline" else table


def prompt_diff(record: RunRecord, best: RungRecord | None) -> Diff | None:
    """Return the changes of a variant to today's prompt; None for today's setup and for a method without a prompt."""
    baseline = record.rung("baseline")
    today, winner = record.variant_of(baseline) if baseline else None, record.variant_of(best) if best else None
    if today is None or winner is None or today.id == winner.id or best is None or best.rung == "classical":
        return None
    before, after = list(_lines(today)), list(_lines(winner))
    changed = list(unified_diff(before, after, n=2, lineterm=""))[2:]
    kinds: dict[str, Literal["add", "remove", "same"]] = {"+": "add", "-": "remove"}
    lines = [(kinds.get(line[0], "same"), line[1:]) for line in changed if not line.startswith("@@")]
    note = f"{len(lines) - MOST_LINES} more lines are not shown." if len(lines) > MOST_LINES else ""
    title = f"Changes from {clean(today.name)} to {clean(best.name)}"
    return Diff(title, tuple(lines[:MOST_LINES]), note) if lines else None


def _lines(variant: Variant) -> Iterator[str]:
    yield f"model: {clean(variant.model)}"
    if variant.decoding:
        yield f"decoding: {clean(', '.join(f'{key} {value}' for key, value in variant.decoding.items()))}"
    if variant.shots is not None:
        yield f"few-shot examples: {variant.shots.k}"
    if variant.retrieval is not None:
        yield "retrieved documents: yes"
    for part, text in (("system", variant.system), ("user", variant.user)):
        yield f"{part}:"
        yield from ("  " + clean(line, MOST_CHARS) for line in (text or "").splitlines() if line.strip())
