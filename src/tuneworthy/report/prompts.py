"""What the rung `prompt` found by asking, as tables: prompts of GEPA, and paragraphs that earn nothing."""

from tuneworthy.ladder.record import RunRecord
from tuneworthy.ladder.rung_details import AblationDetail, GepaDetail, PromptDetail
from tuneworthy.report import messages, numbers
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
    note = messages.say(
        "read_gepa",
        calls=numbers.count(found.calls + found.reflections),
        budget=numbers.count(found.budget),
        answers=numbers.count(found.calls),
        rewrites=numbers.count(found.reflections),
        model=detail.model,
        failed=found.failed,
        cut_off=detail.cut_off,
        refused=detail.refused,
        n_val=found.n_val,
        n_train=found.n_train,
    )
    if found.unscored or detail.set_aside:
        unscored, set_aside = numbers.count(found.unscored), numbers.count(detail.set_aside)
        note += messages.say("gepa_unscored", unscored=unscored, set_aside=set_aside)
    if detail.file:
        note += messages.say("gepa_file", file=detail.file)
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
        messages.say(
            "read_ablation", cut=found.cut, paragraphs=found.paragraphs, saved=found.tokens_saved, tokens=found.tokens
        ),
    )
