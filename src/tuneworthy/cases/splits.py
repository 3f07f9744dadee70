"""Dev and test: drawn once, stratified, grouped, seeded, stored; independent of the order of the files.

If there are at least 200 examples that can be scored, dev is a slice of them and every case is test.
Otherwise the cases are split: test = max(50, half), and dev cases double as examples. No group, and no question that is
asked twice, stands on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NotRequired

from typing_extensions import TypedDict

from tuneworthy.cases.asked import asked_part, tools_of
from tuneworthy.cases.stratified import draw, units_of
from tuneworthy.cases.task_kind import Kind, TaskKind, answer_text, guess_kind, parse_object
from tuneworthy.errors import UserError
from tuneworthy.store.shapes import OpenRecord
from tuneworthy.text import count, plural
from tuneworthy.types import UNLABELLED, Case, Example, content_hash

MIN_EXAMPLES = 200
MIN_DEV = 50
MIN_TEST = 50
MAX_DEV_SHARE = 0.3
# The `source` of an example that is a dev case.
DEV = "dev"
# Different answers from which a task is not one of labels, whatever white space is around them.
_MOST_ANSWERS: Final = 5_000


class CaseFingerprint(TypedDict):
    """A case as a split stores it: its id, and hashes of what is asked and what is expected."""

    id: str
    question: str
    expected: str


class StoredSplit(OpenRecord):
    """What `split.json` holds; `comparisons` is how many were made on test, `additions` what `cases add` added."""

    origin: Literal["examples", "cases"]
    kind: tuple[TaskKind, str]
    seed: int
    dev_size: int
    dev: list[CaseFingerprint]
    test: list[CaseFingerprint]
    counts: NotRequired[dict[str, int]]
    reasons: NotRequired[list[str]]
    comparisons: NotRequired[int]
    additions: NotRequired[list[list[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which cases are dev, which are test, and which examples are left for shots and training.

    Attributes:
        dev: Dev cases, sorted by id.
        test: Test cases, sorted by id.
        shots: Examples that are neither dev nor set aside.
        dev_shots: The dev cases as examples, where the examples are too few: each has its case's source as group, and
            no case is answered with its own.
        explore: Whether dev is large enough (50) to choose among several candidates on it.
        origin: Where dev comes from.
        seed: Seed of the draw.
        dev_size: Largest number of dev cases.
        kind: The kind of task that the expected answers show.
        counts: Numbers by name, for reports.
        reasons: How and why it was drawn so, in words.
        additions: Ids of the test cases that were added later, each time.
    """

    dev: tuple[Case, ...]
    test: tuple[Case, ...]
    shots: Sequence[Example]
    dev_shots: tuple[Example, ...] = ()
    explore: bool
    origin: Literal["examples", "cases"]
    seed: int
    dev_size: int
    kind: Kind
    counts: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    additions: tuple[tuple[str, ...], ...] = ()

    @property
    def pool(self) -> Sequence[Example]:
        """What shots are drawn from and classical baselines learn from."""
        return (*self.shots, *self.dev_shots) if self.dev_shots else self.shots

    @property
    def effective_groups(self) -> float:
        """As how many independent sources the test cases count: all of them, where no two share one."""
        from tuneworthy.stats.ratios import effective_groups

        return effective_groups([case.source for case in self.test])

    def to_dict(self) -> dict[str, Any]:
        """Return what is stored: ids and content hashes, no text of any case."""
        return {
            "origin": self.origin,
            "kind": [self.kind.name, self.kind.reason],
            "seed": self.seed,
            "dev_size": self.dev_size,
            "dev": [fingerprint(case) for case in self.dev],
            "test": [fingerprint(case) for case in self.test],
            "counts": dict(self.counts),
            "reasons": list(self.reasons),
            "additions": [list(ids) for ids in self.additions],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], cases: Iterable[Case], examples: Sequence[Example] = ()) -> Split:
        """Return the stored split with the cases and examples as they are now.

        Cases that were added since then are not in it (see `changes`); examples that were added join the shots.

        Raises:
            UserError: A case of the split is gone, or `data` is not a stored split.
        """
        from tuneworthy.cases.dev_units import asking
        from tuneworthy.cases.example_store import by_id, others, some_of

        pool = by_id(examples)
        known = {case.id: case for case in cases}
        try:
            name, reason = data["kind"]
            kind = Kind(name, reason, labels_of(known.values()) if name == "label" else ())
            taken = set() if data["origin"] == "cases" else {entry["id"] for entry in data["dev"]}
            asked = asking(pool, kind, taken)
            dev_pool = known if data["origin"] == "cases" else _dev_pool(some_of(pool, asked), kind)
            dev = [dev_pool[entry["id"]] for entry in data["dev"]]
            test = [known[entry["id"]] for entry in data["test"]]
            seed, dev_size, origin = data["seed"], data["dev_size"], data["origin"]
        except KeyError as error:
            raise UserError(
                f"The stored split uses the case or example {error.args[0]}, which no longer exists.",
                hint=(
                    "Restore the missing case or example. To draw a new split, delete split.json and "
                    "comparisons.json in .tuneworthy. A new split invalidates earlier test comparisons."
                ),
            ) from None
        return cls(
            dev=tuple(dev),
            test=tuple(test),
            shots=some_of(pool, others(pool, asked)),
            explore=len(dev) >= MIN_DEV,
            origin=origin,
            seed=seed,
            dev_size=dev_size,
            kind=kind,
            counts=data.get("counts", {}),
            reasons=tuple(data.get("reasons", ())),
            additions=tuple(tuple(ids) for ids in data.get("additions", ())),
        )


def fingerprint(case: Case) -> dict[str, str]:
    """Return the id of `case` and the hashes of what is asked and what is expected."""
    expected = "" if case.expected is UNLABELLED else content_hash(case.expected)
    question = content_hash([case.input, list(case.messages), list(case.tools)])
    return {"id": case.id, "question": question, "expected": expected}


@dataclass(frozen=True, slots=True)
class Changes:
    """How cases differ from those of a stored split: ids, sorted.

    Attributes:
        added: Cases that are new.
        removed: Cases that are gone.
        edited: What is asked was changed (old answers no longer apply).
        relabelled: The expected answer was corrected (all variants are scored again).
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.edited or self.relabelled)


def changes(stored: Mapping[str, Any], cases: Iterable[Case], examples: Sequence[Example] = ()) -> Changes:
    """Compare `stored` (of `Split.to_dict`) with the cases, and dev with the examples, as they are now."""
    now = [case for case in cases if case.labelled]
    known = {case.id: fingerprint(case) for case in now}
    before = {entry["id"]: entry for entry in stored["test"]}
    if stored["origin"] == "cases":
        before |= {entry["id"]: entry for entry in stored["dev"]}
    added = known.keys() - before.keys()
    if stored["origin"] == "examples":
        from tuneworthy.cases.dev_units import asking
        from tuneworthy.cases.example_store import some_of

        kind, dev = Kind(*stored["kind"]), {entry["id"]: entry for entry in stored["dev"]}
        pool = _dev_pool(some_of(examples, asking(examples, kind, dev)), kind)
        before |= dev
        known |= {identity: fingerprint(pool[identity]) for identity in dev if identity in pool}
    both = before.keys() & known.keys()
    return Changes(
        tuple(sorted(added)),
        tuple(sorted(before.keys() - known.keys())),
        tuple(sorted(i for i in both if before[i]["question"] != known[i]["question"])),
        tuple(sorted(i for i in both if before[i]["expected"] != known[i]["expected"])),
    )


def example_case(example: Example, kind: Kind | None = None) -> Case | None:
    """Return `example` as a case (see `asked_case`), or None if graders cannot score it: no text, or no JSON where
    JSON is asked."""
    expected: Any = example.answer
    if not expected.strip():
        return None
    if kind is not None and kind.name == "json":
        expected = parse_object(expected)
        if expected is UNLABELLED:
            return None
    elif kind is not None and kind.name == "label":
        expected = expected.strip()
    return asked_case(example, expected)


def asked_case(example: Example, expected: Any = UNLABELLED) -> Case | None:
    """Return what `example` asks, as a case that expects `expected`; None if nobody asks before the answer.

    The input is the user's text if the chat is (system,) user, assistant; else all messages but the last.
    """
    asked, tools = asked_part(example), tools_of(example)
    if asked is None:
        return None
    part: dict[str, Any] = {"input": asked} if isinstance(asked, str) else {"messages": tuple(asked)}
    identity = Case.make_id(asked, tools)
    return Case(id=identity, expected=expected, group=example.group, tags=example.tags, tools=tools, **part)


def case_example(case: Case) -> Example | None:
    """Return `case` as an example, the inverse of `example_case`; None if it has no answer. Of several the first."""
    if not case.labelled or case.expected is None or case.expected == []:
        return None
    several = isinstance(case.expected, list) and not isinstance(case.expected[0], dict)
    first = case.expected[0] if several else case.expected
    asked = case.messages or ({"role": "user", "content": case.text},)
    turns = (*asked, {"role": "assistant", "content": answer_text(first)})
    meta = {"tools": list(case.tools)} if case.tools else {}
    return Example(messages=turns, id=content_hash(turns), group=case.group, tags=case.tags, meta=meta)


def _dev_pool(examples: Iterable[Example], kind: Kind) -> dict[str, Case]:
    """Return the scorable examples as cases, by id; of the same question the first (by example id)."""
    pool: dict[str, Case] = {}
    for example in sorted(examples, key=lambda example: example.id):
        if (case := example_case(example, kind)) is not None:
            pool.setdefault(case.id, case)
    return pool


def make_split(cases: Sequence[Case], examples: Sequence[Example] = (), *, seed: int, dev_size: int) -> Split:
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
    from tuneworthy.cases.example_store import by_id, columns_of

    labelled = sorted((case for case in cases if case.labelled), key=lambda case: case.id)
    if not labelled:
        raise UserError(f"No case is labelled (n = {len(cases)}).", hint="Run `tuneworthy cases label` to label cases.")
    pool = by_id(examples)
    kind = kind_of(labelled, pool)
    n_scorable = int(columns_of(pool).scorable(kind.name).sum())
    if n_scorable >= MIN_EXAMPLES:
        split = _from_examples(labelled, pool, kind, seed=seed, dev_size=dev_size, n_scorable=n_scorable)
    else:
        split = _from_cases(labelled, pool, kind, seed=seed, dev_size=dev_size, n_scorable=n_scorable)
    if not (n_unlabelled := len(cases) - len(labelled)):
        return split
    reasons = (*split.reasons, f"{n_unlabelled} unlabelled {plural(n_unlabelled, 'case is', 'cases are')} left out")
    return replace(split, counts={**split.counts, "unlabelled_cases": n_unlabelled}, reasons=reasons)


def kind_of(cases: Sequence[Case], examples: Sequence[Example]) -> Kind:
    """Guess the kind from the cases; where they are too few to show labels, with the help of the examples."""
    expected = [case.expected for case in cases]
    from tuneworthy.cases.example_store import answer_counts, columns_of

    kind = guess_kind(expected)
    if kind.name != "short_answer" or not examples or len(set(columns_of(examples).answers.tolist())) > _MOST_ANSWERS:
        return kind
    both = guess_kind([*expected, *answer_counts(examples).elements()])
    return both if both.name == "label" else kind


def _stratum(case: Case, kind: Kind) -> str:
    if case.expected is None:
        return "decline"
    return f"label {answer_text(case.expected)}" if kind.name == "label" else "answer"


def _from_examples(
    cases: Sequence[Case],
    pool: Sequence[Example],
    kind: Kind,
    *,
    seed: int,
    dev_size: int,
    n_scorable: int,
) -> Split:
    from tuneworthy.cases.dev_units import units_to_draw
    from tuneworthy.cases.example_store import others, some_of

    take = min(dev_size, int(MAX_DEV_SHARE * len(pool)))
    units, totals = units_to_draw(pool, cases, kind, seed=seed, take=take, convert=example_case)
    drawn = draw(units, take, seed=seed, at_least=False, totals=totals)
    gone = sorted({i for unit in drawn for i in unit.members})
    dev = _dev_pool(some_of(pool, gone), kind)
    if not dev:
        raise UserError(
            f"No dev cases could be drawn from {len(pool)} examples (at most {take} may be used).",
            hint="Raise dev in [split], or put fewer rows in the same group.",
        )
    shots = some_of(pool, others(pool, gone))
    reasons: tuple[str, ...] = (
        f"dev uses {len(dev)} of {n_scorable} scorable examples, and test uses all {len(cases)} cases",
        f"dev is limited to {dev_size} examples and to {MAX_DEV_SHARE:.0%} of all examples",
    )
    if side := len(gone) - len(dev):
        reasons += (
            (
                f"{count(side, 'example shares', 'examples share')} a question or group with dev and "
                f"{plural(side, 'is', 'are')} used for neither dev nor few-shot prompts"
            ),
        )
    split = _split(dev.values(), cases, shots, kind, reasons)
    counts = {**split.counts, "scorable_examples": n_scorable, "set_aside_examples": side}
    return replace(split, origin="examples", seed=seed, dev_size=dev_size, counts=counts)


def _from_cases(
    cases: Sequence[Case], pool: Sequence[Example], kind: Kind, *, seed: int, dev_size: int, n_scorable: int
) -> Split:
    n_test = max(MIN_TEST, (len(cases) + 1) // 2)
    if len(cases) <= n_test:
        message = (
            f"{len(cases)} labelled {plural(len(cases), 'case', 'cases')} and {n_scorable} scorable "
            f"{plural(n_scorable, 'example', 'examples')} are too few. Dev and test need more than {MIN_TEST} "
            f"labelled cases, or {MIN_EXAMPLES} scorable examples."
        )
        raise UserError(
            message, hint="Run `tuneworthy cases sample --from FILE --n 100`, then `tuneworthy cases label`."
        )
    units = units_of(cases)
    for unit in units:
        unit.strata.update(_stratum(cases[i], kind) for i in unit.members)
    chosen = {i for unit in draw(units, n_test, seed=seed, at_least=True) for i in unit.members}
    test = [case for i, case in enumerate(cases) if i in chosen]
    dev = [case for i, case in enumerate(cases) if i not in chosen]
    if not dev:
        message = (
            f"The {len(cases)} cases cannot be split into dev and test. Their "
            f"{count(len(units), 'group is', 'groups are')} so large that no case remains for dev."
        )
        raise UserError(message, hint="Split the largest group, or add cases from other groups.")
    reasons = (
        (
            f"there are too few scorable examples for dev ({n_scorable}), so the cases are split into {len(test)} "
            f"test and {len(dev)} dev cases"
        ),
    )
    split = _split(dev, test, pool, kind, reasons)
    counts = {**split.counts, "scorable_examples": n_scorable}
    return replace(split, seed=seed, dev_size=dev_size, counts=counts)


def _split(
    dev: Iterable[Case], test: Iterable[Case], shots: Sequence[Example], kind: Kind, reasons: tuple[str, ...]
) -> Split:
    """Assemble a split, sorted, with its counts and reasons; the caller fills in how it was asked for."""
    dev, test = (tuple(sorted(rows, key=lambda case: case.id)) for rows in (dev, test))
    explore = len(dev) >= MIN_DEV
    if not explore:
        reasons += (
            (
                f"{len(dev)} dev {plural(len(dev), 'case is', 'cases are')} too few to compare candidates (at least "
                f"{MIN_DEV} needed), so each rung tries only one"
            ),
        )
    balanced = "label" if kind.name == "label" else "whether the model should decline"
    reasons += (f"the split is stratified by {balanced} ({kind.reason})",)
    counts = {
        "dev": len(dev),
        "test": len(test),
        "shots": len(shots),
        "scorable_examples": 0,
        "set_aside_examples": 0,
        "unlabelled_cases": 0,
        "test_groups": len(units_of(test)),
    }
    return Split(
        dev=dev,
        test=test,
        shots=shots,
        explore=explore,
        origin="cases",
        seed=0,
        dev_size=0,
        kind=kind,
        counts=counts,
        reasons=reasons,
    )


def labels_of(cases: Iterable[Case], examples: Sequence[Example] = ()) -> tuple[str, ...]:
    """Return the labels that occur as expected answer or as answer of an example, sorted."""
    from tuneworthy.cases.example_store import answer_counts

    expected = (case.expected for case in cases if case.labelled and case.expected is not None)
    several = (value if isinstance(value, list) else [value] for value in expected)
    found = {answer_text(value).strip() for values in several for value in values}
    return tuple(sorted((found | answer_counts(examples).keys()) - {""}))
