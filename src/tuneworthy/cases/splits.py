"""Dev/test split: drawn once, stratified, grouped, seeded, stored; independent of the order of the files.

With at least 200 scorable examples, dev is a slice of the examples and all cases are test. Otherwise cases are split:
test = max(50, half), real cases before drafted ones, and dev cases double as examples. No group and no question is on
both sides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from tuneworthy.cases.normalize import asked_part, tools_of
from tuneworthy.cases.stratified import Unit, draw, units_of
from tuneworthy.cases.task_kind import Kind, TaskKind, answer_text, guess_kind, parse_object
from tuneworthy.errors import UserError
from tuneworthy.text import count, plural
from tuneworthy.types import (
    UNLABELLED,
    Case,
    Cases,
    CaseTuple,
    Example,
    Examples,
    Ids,
    JsonObject,
    NamedInts,
    NamedTexts,
    TextTuple,
    content_hash,
    positional,
)

MIN_EXAMPLES = 200
MIN_DEV = 50
MIN_TEST = 50
MAX_DEV_SHARE = 0.3
Reason = Literal["exact", "group", "prompt", "ngram", "edit"]
# The `source` of an example that is a dev case.
DEV = "dev"
# Different answers from which a task is not one of labels, whatever white space is around them.
_MOST_ANSWERS = 5_000


@positional
class OverlapHit:
    """A row that overlaps with cases.

    Attributes:
        row: Number of the row.
        reason: `exact` (same letters and digits), `group` (same source), `prompt` (its system prompt quotes the
            question), `ngram` (coverage), `edit` (one or two words apart).
        score: Share of the case's words that the row covers, 0..1; 1 for `exact` and `group`.
        cases: Ids of the cases, the one that is covered most first.
        certain: Whether the row is a copy, which is dropped; else it is a near-duplicate, which stays.
    """

    row: int
    reason: Reason
    score: float
    cases: Ids
    certain: bool

    @property
    def case_id(self) -> str:
        return self.cases[0]


def _groups(cases: Cases) -> float:
    from tuneworthy.stats.ratios import effective_groups

    return effective_groups([case.source for case in cases], [case.weight for case in cases])


@positional
class CaseFingerprint:
    """A case in a stored split: its id, and hashes of the question and the expected answer."""

    id: str
    question: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How a split was drawn.

    Attributes:
        origin: The source of dev.
        seed: Seed of the draw.
        dev_size: Largest number of dev cases.
        counts: Numbers by name, for reports.
        reasons: The method of the draw, in words.
        additions: Ids of the test cases that each `cases add` added.
        by_label: Ids of added cases that were chosen by their label: they count for its recall only.
    """

    origin: Literal["examples", "cases"]
    seed: int
    dev_size: int
    counts: NamedInts = field(default_factory=dict)
    reasons: TextTuple = ()
    additions: tuple[Ids, ...] = ()
    by_label: Ids = ()

    @property
    def facts(self) -> JsonObject:
        return {one.name: getattr(self, one.name) for one in fields(Draw)}


@dataclass(frozen=True, kw_only=True)
class StoredSplit(Draw):
    """The document `split.json`: ids and hashes, no text of any case.

    Attributes:
        comparisons: Number of comparisons made on test; None before the first plan.
        judged: Hash of the rows and cases that `overlaps` is about.
        overlaps: Copies and near-duplicates by comparison (see `dataset.ContaminationReport`).
        groups: Group of each case that has one, copies included, as judged when the case joined the split; None before.
    """

    kind: tuple[TaskKind, str]
    dev: tuple[CaseFingerprint, ...]
    test: tuple[CaseFingerprint, ...]
    comparisons: int | None = None
    judged: str = ""
    overlaps: Mapping[str, tuple[OverlapHit, ...]] = field(default_factory=dict)
    groups: NamedTexts | None = None
    schema_version: Literal[1] = 1

    def compared(self, cases: Cases) -> Cases:
        """Return those of `cases` that are in the split; rows in the file that were never added have no effect."""
        ids = {entry.id for entry in ((*self.dev, *self.test) if self.origin == "cases" else self.test)}
        return [case for case in cases if case.id in ids]


@dataclass(frozen=True, kw_only=True)
class Split(Draw):
    """Dev cases, test cases, and the examples for shots and training.

    Attributes:
        dev: Dev cases, sorted by id.
        test: Test cases that are compared, sorted by id, without those of `by_label`.
        chosen: The cases of `by_label`.
        drafted: Drafted test cases that are answered and shown apart (see `set_apart`).
        shots: Examples that are neither dev nor set aside.
        dev_shots: The dev cases as examples, if there are too few examples: each has its case's source as group, and
            no case is among its own shots.
        kind: The kind of task that the expected answers show.
    """

    dev: CaseTuple
    test: CaseTuple
    shots: Examples
    dev_shots: tuple[Example, ...] = ()
    chosen: CaseTuple = ()
    drafted: CaseTuple = ()
    kind: Kind

    @property
    def explore(self) -> bool:
        return len(self.dev) >= MIN_DEV

    @property
    def pool(self) -> Examples:
        return (*self.shots, *self.dev_shots) if self.dev_shots else self.shots

    @property
    def counted(self) -> CaseTuple:
        return (*self.test, *self.chosen)

    @property
    def asked(self) -> CaseTuple:
        return (*self.counted, *self.drafted)

    @property
    def drawn_dev(self) -> CaseTuple:
        """The dev cases if they are drawn from rows, so that they are no cases of the project's file."""
        return self.dev if self.origin == "examples" else ()

    @property
    def real(self) -> CaseTuple:
        """The test cases that no model drafted."""
        return tuple(case for case in self.test if not case.drafted)

    @property
    def effective_groups(self) -> float:
        """The number of independent cases that the test cases count as."""
        return _groups(self.test)

    @property
    def real_groups(self) -> float:
        """The number of independent cases that the real test cases count as; 0 without real cases."""
        return _groups(self.real) if self.real else 0.0

    def set_apart(self) -> "Split":
        """Return the split with the drafted test cases apart if the real ones are enough for a verdict; else itself."""
        from tuneworthy.stats.ratios import LEAST_GROUPS

        if len(self.real) < MIN_TEST or self.real_groups < LEAST_GROUPS:
            return self
        chosen = tuple(case for case in self.chosen if not case.drafted)
        drafted = tuple(case for case in self.counted if case.drafted)
        return replace(self, test=self.real, chosen=chosen, drafted=drafted)

    def stored(self) -> StoredSplit:
        return StoredSplit(
            **self.facts,
            kind=(self.kind.name, self.kind.reason),
            dev=tuple(map(fingerprint, self.dev)),
            test=tuple(sorted(map(fingerprint, (*self.test, *self.drafted)), key=lambda entry: entry.id)),
        )

    @classmethod
    def restored(cls, stored: StoredSplit, cases: Iterable[Case], examples: Examples = ()) -> "Split":
        """Return the stored split with the cases and examples as they are now.

        Cases that were added since then are not in it (see `changes`); examples that were added join the shots.

        Raises:
            UserError: A case of the split is gone.
        """
        from tuneworthy.cases.example_store import asking, by_id, others, some_of

        pool = by_id(examples)
        known = {case.id: case for case in cases}
        name, reason = stored.kind
        kind = Kind(name, reason, labels_of(known.values()) if name == "label" else ())
        from_cases = stored.origin == "cases"
        taken = asking(pool, kind, () if from_cases else [entry.id for entry in stored.dev])
        dev_pool = known if from_cases else _dev_pool(some_of(pool, taken), kind)
        try:
            dev = tuple(dev_pool[entry.id] for entry in stored.dev)
            asked = {entry.id: known[entry.id] for entry in stored.test}
        except KeyError as error:
            raise UserError(
                f"The stored split uses the case or example {error.args[0]}, which no longer exists.",
                hint=(
                    "Restore the missing case or example. To draw a new split, delete split.json and "
                    "comparisons.json in .tuneworthy. A new split invalidates earlier test comparisons."
                ),
            ) from None
        return cls(
            dev=dev,
            test=tuple(case for case in asked.values() if case.id not in stored.by_label),
            chosen=tuple(map(asked.__getitem__, stored.by_label)),
            shots=some_of(pool, others(pool, taken)),
            kind=kind,
            **stored.facts,
        )


def fingerprint(case: Case) -> CaseFingerprint:
    return CaseFingerprint(
        case.id,
        content_hash([case.input, list(case.messages), list(case.tools)]),
        ("" if case.expected is UNLABELLED else content_hash(case.expected)),
    )


@positional
class Changes:
    """How cases differ from those of a stored split: ids, sorted.

    Attributes:
        added: Cases that are new.
        removed: Cases that are gone.
        edited: The question was changed (old answers no longer apply).
        relabelled: The expected answer was corrected (all variants are scored again).
    """

    added: Ids = ()
    removed: Ids = ()
    edited: Ids = ()
    relabelled: Ids = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.edited or self.relabelled)


def changes(stored: StoredSplit, cases: Iterable[Case], examples: Examples = ()) -> Changes:
    known = {case.id: fingerprint(case) for case in cases if case.labelled}
    before = {entry.id: entry for entry in stored.test}
    dev = {entry.id: entry for entry in stored.dev}
    if stored.origin == "cases":
        before |= dev
    added = known.keys() - before.keys()
    if stored.origin == "examples":
        from tuneworthy.cases.example_store import asking, some_of

        kind = Kind(*stored.kind)
        pool = _dev_pool(some_of(examples, asking(examples, kind, dev)), kind)
        before |= dev
        known |= {identity: fingerprint(pool[identity]) for identity in dev if identity in pool}
    both = sorted(before.keys() & known.keys())
    return Changes(
        tuple(sorted(added)),
        tuple(sorted(before.keys() - known.keys())),
        tuple(identity for identity in both if before[identity].question != known[identity].question),
        tuple(identity for identity in both if before[identity].expected != known[identity].expected),
    )


def example_case(example: Example, kind: Kind | None = None) -> Case | None:
    """Return `example` as a case (see `asked_case`); None if graders cannot score it: no text, or no JSON in a JSON
    task."""
    answer: Any = example.answer
    if not answer.strip():
        return None
    if kind is not None and kind.name == "json":
        answer = parse_object(answer)
        if answer is UNLABELLED:
            return None
    elif kind is not None and kind.name == "label":
        answer = answer.strip()
    return asked_case(example, answer)


def asked_case(example: Example, expected: Any = UNLABELLED) -> Case | None:
    """Return the question of `example` as a case that expects `expected`; None if there is no user turn.

    The input is the user's text if the chat is (system,) user, assistant; else all messages but the last.
    """
    asked, tools = asked_part(example), tools_of(example)
    if asked is None:
        return None
    text, turns = (asked, ()) if isinstance(asked, str) else (None, tuple(asked))
    return Case(
        id=Case.make_id(asked, tools),
        expected=expected,
        group=example.group,
        tags=example.tags,
        tools=tools,
        input=text,
        messages=turns,
    )


def case_example(case: Case) -> Example | None:
    """Return `case` as an example, the inverse of `example_case`; None if it has no answer in words. Of several the
    first."""
    if not case.has_answer or case.expected == [] or case.expects_calls:
        return None
    several = isinstance(case.expected, list) and not isinstance(case.expected[0], dict)
    first = case.expected[0] if several else case.expected
    turns = (
        *(case.messages or ({"role": "user", "content": case.text},)),
        {"role": "assistant", "content": answer_text(first)},
    )
    return Example(
        messages=turns,
        id=content_hash(turns),
        group=case.group,
        tags=case.tags,
        meta={"tools": list(case.tools)} if case.tools else {},
    )


def _dev_pool(examples: Iterable[Example], kind: Kind) -> dict[str, Case]:
    """Return the scorable examples as cases, by id; of the same question the first (by example id)."""
    pool: dict[str, Case] = {}
    for example in sorted(examples, key=lambda example: example.id):
        if (case := example_case(example, kind)) is not None:
            pool.setdefault(case.id, case)
    return pool


def make_split(cases: Cases, examples: Examples = (), *, seed: int, dev_size: int) -> Split:
    """Draw dev and test.

    `examples` must not overlap `cases`: `cases.dataset` drops those that do first.

    Args:
        cases: Those without a label are left out and counted.
        examples: The pool for shots and training.
        seed: Of the draw.
        dev_size: Most dev cases; taken only if dev comes from the examples.

    Raises:
        UserError: A side would be empty.
    """
    from tuneworthy.cases.example_store import by_id, columns_of, others, some_of, units_to_draw

    labelled = sorted((case for case in cases if case.labelled), key=lambda case: case.id)
    if not labelled:
        raise UserError(f"No case is labelled (n = {len(cases)}).", hint="Run `tuneworthy label cases` to label cases.")
    pool = by_id(examples)
    kind = kind_of(labelled, pool)
    n_scorable = int(columns_of(pool).scorable(kind.name).sum())
    n_side, shots = 0, pool
    dev: Cases
    test: Cases = labelled
    from_examples = n_scorable >= MIN_EXAMPLES
    if from_examples:
        take = min(dev_size, int(MAX_DEV_SHARE * len(pool)))
        units = draw(units_to_draw(pool, labelled, kind, example_case), take, seed=seed, at_least=False)
        taken = sorted({i for unit in units for i in unit.members})
        dev = [*_dev_pool(some_of(pool, taken), kind).values()]
        if not dev:
            raise UserError(
                f"No dev cases could be drawn from {len(pool)} examples (at most {take} may be used).",
                hint="Raise dev in [split], or put fewer rows in the same group.",
            )
        shots, n_side = some_of(pool, others(pool, taken)), len(taken) - len(dev)
        reasons = [
            f"dev uses {len(dev)} of {n_scorable} scorable examples, and test uses all {len(labelled)} cases",
            f"dev is limited to {dev_size} examples and to {MAX_DEV_SHARE:.0%} of all examples",
        ]
    else:
        dev, test = _from_cases(labelled, kind, seed=seed, n_scorable=n_scorable)
        reasons = [
            f"there are too few scorable examples for dev ({n_scorable}), so the cases are split into {len(test)} "
            f"test and {len(dev)} dev cases"
        ]
    if n_side:
        reasons.append(
            f"{count(n_side, 'example shares', 'examples share')} a question or group with dev and "
            f"{plural(n_side, 'is', 'are')} used for neither dev nor few-shot prompts"
        )
    if len(dev) < MIN_DEV:
        reasons.append(
            f"{len(dev)} dev {plural(len(dev), 'case is', 'cases are')} too few to compare candidates (at least "
            f"{MIN_DEV} needed), so each rung tries only one"
        )
    balanced = "label" if kind.name == "label" else "whether the model should decline"
    reasons.append(f"the split is stratified by {balanced} ({kind.reason})")
    if n_unlabelled := len(cases) - len(labelled):
        reasons.append(f"{n_unlabelled} unlabelled {plural(n_unlabelled, 'case is', 'cases are')} left out")
    return Split(
        dev=tuple(sorted(dev, key=lambda case: case.id)),
        test=tuple(test),
        shots=shots,
        origin="examples" if from_examples else "cases",
        seed=seed,
        dev_size=dev_size,
        kind=kind,
        counts={
            "dev": len(dev),
            "test": len(test),
            "shots": len(shots),
            "scorable_examples": n_scorable,
            "set_aside_examples": n_side,
            "unlabelled_cases": n_unlabelled,
            "test_groups": len(units_of(test)),
        },
        reasons=tuple(reasons),
    )


def kind_of(cases: Cases, examples: Examples) -> Kind:
    from tuneworthy.cases.example_store import answer_counts, columns_of

    expected = [case.expected for case in cases if not case.expects_calls]
    if cases and not expected:
        return Kind("free_text", "all answers are tool calls")
    kind = guess_kind(expected)
    if kind.name != "short_answer" or not examples or len(set(columns_of(examples).answers.tolist())) > _MOST_ANSWERS:
        return kind
    both = guess_kind([*expected, *answer_counts(examples).elements()])
    return both if both.name == "label" else kind


def _from_cases(cases: Cases, kind: Kind, *, seed: int, n_scorable: int) -> tuple[Cases, Cases]:
    n_test = max(MIN_TEST, (len(cases) + 1) // 2)
    if len(cases) <= n_test:
        raise UserError(
            f"{len(cases)} labelled {plural(len(cases), 'case', 'cases')} and {n_scorable} scorable "
            f"{plural(n_scorable, 'example', 'examples')} are too few. Dev and test need more than {MIN_TEST} "
            f"labelled cases, or {MIN_EXAMPLES} scorable examples.",
            hint="Append labelled cases to the file of [cases]. `tuneworthy cases sample` draws cases from logs.",
        )
    units = units_of(cases)
    for unit in units:
        for i in unit.members:
            expected = cases[i].expected
            stratum = f"label {answer_text(expected)}" if kind.name == "label" else "answer"
            unit.strata["decline" if expected is None else stratum] += 1
    by_origin: dict[bool, list[Unit]] = {False: [], True: []}  # real cases first: a verdict needs so many
    for unit in units:
        by_origin[all(cases[i].drafted for i in unit.members)].append(unit)
    n_real = sum(unit.size for unit in by_origin[False])
    chosen: set[int] = set()
    for some, take in ((False, max(MIN_TEST, (n_real + 1) // 2)), (True, n_test)):
        drawn = draw(by_origin[some], take - len(chosen), seed=seed, at_least=True)
        chosen |= {i for unit in drawn for i in unit.members}
    dev = [case for i, case in enumerate(cases) if i not in chosen]
    if not dev:
        raise UserError(
            f"The {len(cases)} cases cannot be split into dev and test. Their "
            f"{count(len(units), 'group is', 'groups are')} so large that no case remains for dev.",
            hint="Split the largest group, or add cases from other groups.",
        )
    return dev, [case for i, case in enumerate(cases) if i in chosen]


def labels_of(cases: Iterable[Case], examples: Examples = ()) -> TextTuple:
    from tuneworthy.cases.example_store import answer_counts

    expected = (case.expected for case in cases if case.has_answer and not case.expects_calls)
    accepted = (value if isinstance(value, list) else [value] for value in expected)
    labels = {answer_text(value).strip() for values in accepted for value in values}
    return tuple(sorted({*answer_counts(examples), *labels} - {""}))
