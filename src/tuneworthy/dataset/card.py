"""The content of the card of a frozen version: the funnel, examples, distributions, provenance.

Invariant: every text of a row on the card is masked, whatever the policy was, and short. Of a row that overlaps with a
case only the place is shown, as its text is that of the case.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from tuneworthy.cases.pii import Look, Masker
from tuneworthy.dataset.checks.personal_data import open_engine
from tuneworthy.dataset.distill.teacher import name_of, terms_of
from tuneworthy.dataset.effect import build_words, effect_words
from tuneworthy.dataset.freeze import Version
from tuneworthy.dataset.records import Effect, LabelRow, Recipe, RowLine, TeacherRecord, file_of
from tuneworthy.types import Example, JsonMapping, TextPair, Texts, frozen, positional, role_of

# Rows that are shown for each reason.
EXAMPLES = 3
# Characters of a question or an answer that are shown.
SHOWN = 160
TOP = 10
_LABEL = 60
_BOUNDS = (0, 50, 100, 200, 400, 800, 1600, 3200, 6400)


@positional
class FunnelStep:
    """One check in the funnel.

    Attributes:
        check: Its name.
        n_in: Rows before it.
        n_out: Rows after it.
        dropped: Rows that it dropped.
        masked: Rows that it masked.
        reported: Rows that it reported.
        seconds: Time; None if it was not measured.
    """

    check: str
    n_in: int
    n_out: int
    dropped: int
    masked: int
    reported: int
    seconds: float | None = None


@positional
class CardRow:
    """A row as it is shown.

    Attributes:
        source: Where it is from.
        question: Its masked beginning.
        answer: Its masked beginning.
        detail: Of the finding.
        other: Source of the row that it repeats.
    """

    source: str
    question: str
    answer: str
    detail: str
    other: str = ""


# By the code and the action of the finding.
Examples = dict[TextPair, list[CardRow]]


@positional
class Reason:
    """A code that a check found, with rows.

    Attributes:
        check: The check.
        reason: The code.
        description: What it means.
        action: `drop`, `mask` or `report`.
        n: Rows.
        examples: A few of them.
    """

    check: str
    reason: str
    description: str
    action: str
    n: int
    examples: Sequence[CardRow]


@positional
class CheckEffect:
    """What it does to accuracy that the rows of one check leave.

    Attributes:
        check: The check; "" for all together.
        n: Rows that leave.
        share: Of the rows before.
        labels: Those that lose the greatest share of their rows, for people.
        effect: The difference with its interval, or why it was not measured.
    """

    check: str
    n: int
    share: float
    labels: str
    effect: str


@positional
class RowCounts:
    """How many rows fall under each heading, in order."""

    title: str
    counts: Sequence[tuple[str, int]]
    note: str = ""


@frozen
class DatasetCard:
    """A card.

    Attributes:
        task: What the version is for.
        version: Its id.
        created: When it was frozen.
        n_read: Rows at the beginning.
        n_rows: Rows at the end.
        summary: What the checks dropped, and what that does to accuracy, in a sentence.
        unsafe: Gates that failed when it was frozen all the same, for people.
        funnel: The import, then each check.
        reasons: With examples.
        effects: Of each check that asks for rows to leave, and of all together.
        set_findings: Check and finding, about all rows together.
        distributions: Of the rows that stay.
        gates: Name, status, detail.
        provenance: Names and values.
        licences: Sentences.
        notes: What to know.
    """

    task: str
    version: str
    created: str
    n_read: int
    n_rows: int
    summary: str
    unsafe: Texts
    funnel: Sequence[FunnelStep]
    reasons: Sequence[Reason]
    effects: Sequence[CheckEffect]
    set_findings: Sequence[TextPair]
    distributions: Sequence[RowCounts]
    gates: Sequence[tuple[str, str, str]]
    provenance: Sequence[TextPair]
    licences: Texts
    notes: Texts


def card_of(version: Version) -> DatasetCard:
    recipe = version.recipe
    mask = Masker(look=look_of(recipe.settings["pii_engine"])).mask
    examples, distributions, licences = _retained(version, mask)
    return DatasetCard(
        task=recipe.task,
        version=version.id,
        created=recipe.times.created,
        n_read=recipe.input.n_read,
        n_rows=version.n_rows,
        summary=summary_of(recipe),
        unsafe=recipe.failed if recipe.unsafe else (),
        funnel=_funnel(recipe),
        reasons=_reasons(recipe, {**_dropped_examples(version.rejects(), mask), **examples}),
        effects=[
            *(_effect(one.check, one.effect, mask) for one in recipe.checks if one.effect),
            _effect("", recipe.effect, mask),
        ],
        set_findings=[(check.check, one.detail or one.words) for check in recipe.checks for one in check.whole_set],
        distributions=[*distributions, *_label_rows(recipe.labels, mask)],
        gates=[(one.check, "passed" if one.passed else "failed", one.detail) for one in recipe.gates],
        provenance=_provenance(recipe),
        licences=_licences(recipe, licences),
        notes=recipe.notes,
    )


def summary_of(recipe: Recipe) -> str:
    return build_words(recipe.input.n_kept, {one.check: one.n_drop for one in recipe.checks}, recipe.effect)


Mask = Callable[[str], str]


def look_of(engine: str) -> Look:
    """Return the search for personal data with an engine of `[data] pii_engine`.

    Raises:
        UserError: The engine is not installed.
    """
    find_all = open_engine(engine).find_all
    return lambda text: [one for _, matches in find_all([text]) for one in matches]


def _dropped_examples(rejects: Iterable[RowLine], mask: Mask) -> Examples:
    examples: Examples = defaultdict(list)
    for line in rejects:
        if len(shown := examples[line.reason, "drop"]) < EXAMPLES:
            shown.append(shown_row(line, line.example or Example(id=line.id, messages=()), mask))
    return examples


def _retained(version: Version, mask: Mask) -> tuple[Examples, list[RowCounts], Counter[str]]:
    """Return, of the rows that stay, a few with each finding, the distributions, and the licences."""
    drawn, n_drawn = defaultdict[str, list[RowLine]](list), Counter[tuple[str, str | None]]()
    for one in version.findings():
        key = one.reason, one.action
        if one.id and n_drawn[key] < EXAMPLES:
            n_drawn[key] += 1
            drawn[one.source].append(one)
    examples = defaultdict(list)
    questions, answers, turns = Counter[int](), Counter[int](), Counter[int]()
    files, labels, licences = Counter[str](), Counter[str](), Counter[str]()
    for row in version.examples():
        questions[_bin(len(row.question))] += 1
        answers[_bin(len(row.answer))] += 1
        turns[sum(role_of(message) == "user" for message in row.messages)] += 1
        files[file_of(row) or row.source] += 1
        if len(labels) <= 500 and len(answer := row.answer.strip()) <= _LABEL:
            labels[answer] += 1
        licences.update(str(row.meta[key]) for key in ("licence", "license") if row.meta.get(key))
        for one in drawn.get(row.source, ()):
            examples[one.reason, str(one.action)].append(shown_row(one, row, mask))
    more = f"files not shown: {len(files) - TOP}" if len(files) > TOP else ""
    distributions = [
        RowCounts("Question length in characters", _binned(questions)),
        RowCounts("Answer length in characters", _binned(answers)),
        RowCounts("User turns", [(str(n), count) for n, count in sorted(turns.items())]),
        RowCounts("Files", files.most_common(TOP), more),
    ]
    n = version.n_rows
    if labels and labels.total() == n and len(labels) <= max(2, n // 4):
        squares = sum(count * count for count in labels.values())
        note = f"{len(labels)} distinct answers, as varied as {n * n / squares:.1f} equally frequent ones"
        distributions.append(
            RowCounts(
                "Most frequent answers",
                [(_cut(mask(answer)), count) for answer, count in labels.most_common(TOP)],
                note,
            )
        )
    return examples, distributions, licences


def _funnel(recipe: Recipe) -> list[FunnelStep]:
    read, seconds = recipe.input, recipe.times.seconds
    return [
        FunnelStep("import", read.n_read, read.n_kept, read.n_rejected, read.n_repaired, 0),
        *(
            FunnelStep(one.check, one.n_in, one.n_out, one.n_drop, one.n_mask, one.n_report, seconds.get(one.check))
            for one in recipe.checks
        ),
    ]


def _effect(check: str, effect: Effect, mask: Mask) -> CheckEffect:
    labels = [f"{_cut(mask(label))} ({n}, {share:.1%})" for label, (n, share) in effect.labels.items()]
    share = effect.n_dropped / effect.n_rows if effect.n_rows else 0.0
    return CheckEffect(check, effect.n_dropped, share, ", ".join(labels), effect_words(effect))


def _label_rows(labels: Sequence[LabelRow], mask: Mask) -> list[RowCounts]:
    counts = [
        (f"{_cut(mask(one.label))} ({one.before} before, {one.cases} cases)", one.after)
        for one in sorted(labels, key=lambda one: (-one.before, one.label))[:TOP]
    ]
    return (
        [RowCounts("Rows by label", counts, f"labels not shown: {len(labels) - TOP}" if len(labels) > TOP else "")]
        if counts
        else []
    )


def _reasons(recipe: Recipe, examples: Examples) -> list[Reason]:
    return [
        *(
            Reason("import", code, one.words, "drop", one.n, [CardRow(one.first, "", "", "")])
            for code, one in recipe.input.reasons.items()
        ),
        *(
            Reason(check.check, code, one.words, action, n, examples.get((code, action), ()))
            for check in recipe.checks
            for code, one in check.reasons.items()
            for action, n in (("drop", one.drop), ("mask", one.mask), ("report", one.report))
            if n
        ),
    ]


def shown_row(one: RowLine, row: Example, mask: Mask, most: int = SHOWN) -> CardRow:
    """Return a row with a finding as it is shown: masked, at most `most` characters, without the text of a case."""
    other = one.other.source if one.other else ""
    overlaps = one.reason.startswith(("overlap_", "held_out"))
    if overlaps or one.contamination:
        return CardRow(one.source, "hidden because it overlaps a case", "", one.detail if overlaps else "", other)
    question, answer = (_cut(mask(text), most) for text in (row.question, row.answer))
    return CardRow(one.source, question, answer, mask(one.detail), other)


def _cut(text: str, most: int = SHOWN) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _bin(length: int) -> int:
    return sum(length > bound for bound in _BOUNDS[1:])


def _binned(counts: Counter[int]) -> list[tuple[str, int]]:
    names = [*(f"{low + 1 if low else 0} to {high}" for low, high in pairwise(_BOUNDS)), f"above {_BOUNDS[-1]}"]
    return [(name, counts[number]) for number, name in enumerate(names[: max(counts, default=-1) + 1])]


def _provenance(recipe: Recipe) -> list[TextPair]:
    depends, settings = recipe.depends, recipe.settings
    judged_by = (
        f"models.{settings['judge']['model']}; hash of the model, rubric and settings: {depends.judge}"
        if depends.judge
        else "none"
    )
    return [
        *((one.name, f"{one.format}, {one.n_kept} rows kept, SHA-256 {one.sha256}") for one in recipe.input.sources),
        *((name, f"{one.n} rows, SHA-256 {one.sha256}") for name, one in recipe.files.items()),
        ("import", recipe.input.id),
        ("cases kept apart", f"{depends.cases.n} cases, hash {depends.cases.sha256}"),
        ("sentence encoder", depends.encoder or "none"),
        ("judge", judged_by),
        ("seed", str(depends.seed)),
        ("code", f"tuneworthy {recipe.code}"),
        *((f"settings of {one.check}", _settings_text(one.settings)) for one in recipe.checks if one.settings),
        *(("teacher", _teacher_text(one)) for one in recipe.teachers),
        ("policy", _settings_text(settings["policy"]) or "as the checks ask for"),
    ]


def _settings_text(settings: JsonMapping) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def _teacher_text(one: TeacherRecord) -> str:
    days = one.first if one.first == one.last else f"{one.first} to {one.last}"
    parameters = _settings_text(one.parameters or {}) or "defaults"
    return f"{name_of(one)}; {one.n_rows} rows, {days or 'day unknown'}; {parameters}"


def _licences(recipe: Recipe, rows: Counter[str]) -> list[str]:
    licence = recipe.licence
    sentences = [f"Licence of all rows: {licence}." if licence else "No licence is stated. Set licence in [data]."]
    sentences += [f"Rows with the licence {licence}: {n}." for licence, n in rows.most_common(TOP)]
    status, reason = terms_of(recipe.teachers)
    if status != "not_applicable":
        sentences.append(f"Teachers' terms of use ({status}): {reason}.")
    return sentences
