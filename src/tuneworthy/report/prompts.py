"""Tables of the rung `prompt`: prompts tried by GEPA, and the ablation by paragraph."""

from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung_details import AblationDetail, GepaDetail, PromptDetail
from tuneworthy.report import numbers
from tuneworthy.report.table import Column, Table, text_column
from tuneworthy.report.text import clean

# Of a prompt or paragraph that is shown.
MOST_CHARS = 160
MOST_NOTE = 900


def prompt_tables(record: RunRecord) -> list[Table]:
    """Return the tables of the searches that the project file asks for."""
    found = record.detail(PromptDetail) or PromptDetail()
    made = [_gepa(found.gepa)] if found.gepa else []
    return [*made, _ablation(found.ablation)] if found.ablation else made


def _gepa(detail: GepaDetail) -> Table:
    found = detail.search
    columns = [
        Column("place", "prompt", value=lambda trial: next(i for i, one in enumerate(found.prompts) if one is trial)),
        Column("parent", "parent", lambda parent: "" if parent is None else str(parent)),
        Column("score", "dev score", numbers.score),
        Column("ci95", "95% interval", numbers.interval),
        Column("n", "n", value=lambda _: found.n_val),
        Column("unscored", "unscored", numbers.count),
        text_column("text", "text", most=MOST_CHARS),
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
    return Table.of("Prompts tried by GEPA", columns, found.prompts, clean(note, MOST_NOTE), best=found.best)


def _ablation(found: AblationDetail) -> Table:
    columns = [
        text_column("text", "paragraph", most=MOST_CHARS),
        Column("tokens", "tokens"),
        Column("whole", "dev score, full prompt", numbers.score),
        Column("whole_ci95", "95% interval", numbers.interval),
        Column("score", "dev score without it", numbers.score),
        Column("ci95", "95% interval", numbers.interval),
        Column("n", "n"),
        Column("unscored", "unscored", numbers.count),
        text_column("cut", "result", lambda trial: "cut" if trial.cut else "kept"),
    ]
    note = (
        f"Paragraphs that do not improve the score: {found.cut} of {found.paragraphs}. Without them, a call "
        f"is about {found.tokens_saved} of {found.tokens} tokens shorter (estimated as bytes / 4). The search "
        "removes one paragraph at a time, the longest first. A paragraph that does not improve the score "
        "stays out."
    )
    return Table.of("Prompt ablation by paragraph", columns, found.tried, note)
