"""What the rung `prompt` found by asking, as tables: prompts of GEPA, and paragraphs that earn nothing."""

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
        [str(place), "" if trial.parent is None else str(trial.parent), numbers.score(trial.score),
         numbers.interval(trial.ci95), str(found.n_val), numbers.count(trial.unscored),
         clean(trial.text, MOST_CHARS)]
        for place, trial in enumerate(found.prompts)
    ]  # fmt: skip
    columns = [
        Column("place", "prompt"),
        Column("parent", "parent"),
        Column("score", "dev score"),
        Column("ci95", "95% interval"),
        Column("n", "n"),
        Column("unscored", "unscored"),
        Column("text", "text", "text"),
    ]
    note = (
        f"GEPA used {numbers.count(found.calls + found.reflections)} of at most {numbers.count(found.budget)} "
        f"calls: {numbers.count(found.calls)} to answer cases and {numbers.count(found.reflections)} to have "
        f"{detail.model} rewrite the prompt. Of the rewrites, {found.failed} came back empty, {detail.cut_off} "
        f"were truncated and {detail.refused} had an unknown placeholder. Scores come from {found.n_val} dev "
        f"cases. The rewrites are based on {found.n_train} others."
    )
    if found.unscored or detail.set_aside:
        unscored, set_aside = numbers.count(found.unscored), numbers.count(detail.set_aside)
        note += (
            f" Answers without a score: {unscored}; each counts with the score of today's prompt. Cases excluded "
            f"because today's prompt had no score: {set_aside}."
        )
    if detail.file:
        note += f" The best prompt is in {detail.file}; this exact text was compared on dev and test."
    return Table("Prompts tried by GEPA", columns, rows, clean(note, MOST_NOTE), found.best)


def _ablation(found: AblationDetail) -> Table:
    rows = [
        [clean(trial.text, MOST_CHARS), str(trial.tokens),
         numbers.score(trial.whole), numbers.interval(trial.whole_ci95),
         numbers.score(trial.score), numbers.interval(trial.ci95),
         str(trial.n), numbers.count(trial.unscored), "cut" if trial.cut else "kept"]
        for trial in found.tried
    ]  # fmt: skip
    columns = [
        Column("text", "paragraph", "text"),
        Column("tokens", "tokens"),
        Column("whole", "dev score, full prompt"),
        Column("whole_ci95", "95% interval"),
        Column("score", "dev score without it"),
        Column("ci95", "95% interval"),
        Column("n", "n"),
        Column("unscored", "unscored"),
        Column("cut", "result", "text"),
    ]
    return Table(
        "Prompt ablation by paragraph",
        columns,
        rows,
        (
            f"Paragraphs that do not improve the score: {found.cut} of {found.paragraphs}. Without them, a call "
            f"is about {found.tokens_saved} of {found.tokens} tokens shorter (estimated as bytes / 4). The search "
            "removes one paragraph at a time, the longest first. A paragraph that does not improve the score "
            "stays out."
        ),
    )
