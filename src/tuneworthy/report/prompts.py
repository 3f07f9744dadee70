"""What the rung `prompt` found by asking, as tables: prompts that GEPA kept, and paragraphs that earn nothing."""

from __future__ import annotations

from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung_details import AblationDetail, GepaDetail, PromptDetail
from tuneworthy.report import numbers
from tuneworthy.report.tables import Column, Table
from tuneworthy.report.text import clean

# Of a prompt or paragraph that is shown.
MOST_CHARS = 160
MOST_NOTE = 900


def prompt_tables(record: RunRecord) -> list[Table]:
    """Return the tables of what was searched for; none if the project file asks for nothing of it."""
    found = record.detail(PromptDetail) or PromptDetail()
    made = [_gepa(found.gepa)] if found.gepa else []
    return [*made, _ablation(found.ablation)] if found.ablation else made


def _gepa(detail: GepaDetail) -> Table:
    found = detail.search
    rows = [
        [str(place), "" if one.parent is None else str(one.parent), numbers.score(one.score),
         numbers.interval(one.ci95), str(found.n_val), numbers.count(one.unscored),
         clean(one.text, MOST_CHARS)]
        for place, one in enumerate(found.kept)
    ]  # fmt: skip
    columns = [
        Column("place", "prompt"),
        Column("parent", "made from"),
        Column("score", "dev score"),
        Column("ci95", "95 % interval"),
        Column("n", "n"),
        Column("unscored", "unscored"),
        Column("text", "text", "text"),
    ]
    calls = found.calls + found.reflections
    note = (
        f"{numbers.count(calls)} calls of at most {numbers.count(found.budget)}: {numbers.count(found.calls)} "
        f"answers, {numbers.count(found.reflections)} rewrites by {detail.model} ({found.failed} without an "
        f"answer, {detail.cut_off} cut off, {detail.refused} with a placeholder that nothing fills in). Scores "
        f"are of {found.n_val} dev cases; rewrites were made from {found.n_train} others."
    )
    if found.unscored or detail.set_aside:
        note += (
            f" {numbers.count(found.unscored)} answers had no score and count as today's prompt's; "
            f"{numbers.count(detail.set_aside)} cases that it has no score of were set aside."
        )
    if detail.file:
        note += f" The best one is {detail.file}: it was raced and tested as it stands there."
    return Table("Prompts that GEPA kept", columns, rows, clean(note, MOST_NOTE), found.best)


def _ablation(found: AblationDetail) -> Table:
    rows = [
        [clean(one.text, MOST_CHARS), str(one.tokens),
         numbers.score(one.whole), numbers.interval(one.whole_ci95),
         numbers.score(one.score), numbers.interval(one.ci95),
         str(one.n), numbers.count(one.unscored), "cut" if one.cut else "stays"]
        for one in found.tried
    ]  # fmt: skip
    columns = [
        Column("text", "paragraph", "text"),
        Column("tokens", "tokens"),
        Column("whole", "dev score, whole prompt"),
        Column("whole_ci95", "95 % interval"),
        Column("score", "without it"),
        Column("ci95", "95 % interval"),
        Column("n", "n"),
        Column("unscored", "unscored"),
        Column("cut", "", "text"),
    ]
    note = (
        f"{found.cut} of {found.paragraphs} paragraphs earn nothing: about {found.tokens_saved} of "
        f"{found.tokens} tokens saved in every call (bytes / 4). Longest first; what was cut before is left out too."
    )
    return Table("Paragraphs of the prompt, left out one by one", columns, rows, note)
