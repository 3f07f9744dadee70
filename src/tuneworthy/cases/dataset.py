"""The data of a project: cases and examples, read once, split once, and searched for contamination once.

`run`, `data build`, `train` and the pilot take their rows from here. Invariant: no example of `shots` overlaps a case,
and no row of `dev_shots` overlaps a test case.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tuneworthy.cases.normalize import asked_id, question_of
from tuneworthy.cases.readers.reader import read_cases, read_examples
from tuneworthy.cases.splits import (
    DEV,
    MIN_EXAMPLES,
    Changes,
    OverlapHit,
    Split,
    StoredSplit,
    case_example,
    changes,
    fingerprint,
    labels_of,
    make_split,
)
from tuneworthy.cases.task_kind import Kind, guess_kind, parse_object
from tuneworthy.cases.writer import json_lines
from tuneworthy.config.project import Project
from tuneworthy.errors import UserError
from tuneworthy.store import Folder, write_atomic
from tuneworthy.text import count
from tuneworthy.types import (
    Case,
    CaseOrExample,
    Cases,
    Example,
    Examples,
    NamedFloats,
    NamedInts,
    TextTuple,
    content_hash,
    frozen,
    grouped,
    positional,
)

if TYPE_CHECKING:
    from tuneworthy.cases.contamination_index import Match

R = TypeVar("R", Case, Example)


@positional
class AnswerLoss:
    """Rows of one answer that are dropped as copies: a label, or the keys of JSON answers.

    Attributes:
        answer: The answer.
        n_dropped: Its rows that are dropped.
        n_rows: All its rows.
    """

    answer: str
    n_dropped: int
    n_rows: int

    @property
    def share(self) -> float:
        return self.n_dropped / self.n_rows


@dataclass(frozen=True)
class Overlaps(Generic[R]):
    """The decision about each row: dropped as a copy of a case, a near-duplicate that stays, or (no hit) clean.

    Attributes:
        rows: The rows that were searched.
        hits: Copies and near-duplicates, by row.
    """

    rows: Sequence[R]
    hits: Sequence[OverlapHit]

    @property
    def dropped(self) -> list[OverlapHit]:
        return [hit for hit in self.hits if hit.certain]

    @cached_property
    def remaining(self) -> Sequence[R]:
        """The rows that are no copies, in their order."""
        from tuneworthy.cases.example_store import others, some_of

        return some_of(self.rows, others(self.rows, (hit.row for hit in self.dropped)))

    @property
    def by_reason(self) -> NamedInts:
        counts: Counter[str] = Counter(hit.reason for hit in self.dropped)
        return {reason: counts[reason] for reason in ("exact", "prompt", "ngram", "edit", "group")}


def search(
    rows: Sequence[R], cases: Iterable[Case], *, among: Sequence[CaseOrExample] | None = None
) -> list[OverlapHit]:
    """Return the rows whose question overlaps with one of `cases`, in order.

    Args:
        rows: Examples (or dev cases).
        cases: Cases that no row may overlap.
        among: All rows, which show how frequent words are, if `rows` is a part.
    """
    from tuneworthy.cases.contamination_index import ContaminationIndex

    cases = list(cases)
    if not len(rows) or not cases:
        return []
    return hits_of(ContaminationIndex(cases, rows if among is None else among).matches(rows), cases)


def hits_of(matches: Iterable[tuple[int, "Match"]], cases: Sequence[Case]) -> list[OverlapHit]:
    """Return the decision about each row with matches, in order."""
    from tuneworthy.cases.contamination_index import COMMON, REASONS

    by_row = grouped(matches)
    quotes = Counter(one.case for some in by_row.values() for one in some if REASONS[one.rank] == "prompt")
    shared = {case for case, n in quotes.items() if n > COMMON}  # a prompt of many rows is no copy of a case
    hits = []
    for row, own in sorted(by_row.items()):
        some = sorted(
            one._replace(doubtful=True) if REASONS[one.rank] == "prompt" and one.case in shared else one for one in own
        )
        first = some[0]
        alike = [cases[one.case].id for one in some if first.doubtful or one[:2] == first[:2]]
        hits.append(
            OverlapHit(row, REASONS[first.rank], -first.minus_score, tuple(dict.fromkeys(alike)), not first.doubtful)
        )
    return hits


def find_overlaps(
    rows: Sequence[R], cases: Iterable[Case], *, among: Sequence[CaseOrExample] | None = None
) -> Overlaps[R]:
    return Overlaps(rows, search(rows, cases, among=among))


def answer_losses(rows: Examples, cases: Iterable[Case], hits: Iterable[OverlapHit]) -> list[AnswerLoss]:
    """Return the rows that each answer loses, the largest share first; empty for free text."""
    from tuneworthy.cases.example_store import answer_counts

    kind = guess_kind(case.expected for case in cases).name
    if kind not in {"label", "json"}:
        return []
    n_rows: Counter[str] = Counter()
    for answer, n in answer_counts(rows).items():
        n_rows[_answer_group(answer, kind)] += n
    n_dropped = Counter(_answer_group(rows[hit.row].answer.strip(), kind) for hit in hits if hit.certain)
    return sorted(
        (AnswerLoss(answer, n, n_rows[answer]) for answer, n in n_dropped.items() if n_rows[answer]),
        key=lambda loss: (-loss.share, loss.answer),
    )


def _answer_group(answer: str, kind: str) -> str:
    value = parse_object(answer) if kind == "json" else None
    return ", ".join(sorted(value)) if isinstance(value, dict) and value else answer


# The file of the dropped rows, in the store.
DROPPED = "overlaps.jsonl"
# The test cases to label first where only today's answers are known, with their weights, in the store.
SAMPLE = "sample"
# Share of the examples that may overlap cases without a warning.
MANY_DROPPED = 0.1


@frozen
class ContaminationReport:
    """The decision about each row, by comparison.

    Attributes:
        cases: Examples compared with all cases; those dropped are nowhere in the split.
        dev: The remaining examples compared with dev; those dropped are no shots.
        dev_test: Dev compared with test. Copies are no shots; `left_out` leave dev, the others are reported.
    """

    cases: Overlaps[Example]
    dev: Overlaps[Example]
    dev_test: Overlaps[Case]

    @property
    def left_out(self) -> list[OverlapHit]:
        """Dev cases with the question or group of a test case: a group that was declared after the draw."""
        return [hit for hit in self.dev_test.dropped if hit.reason in ("exact", "group")]

    @property
    def alike(self) -> frozenset[str]:
        """Ids of cases with a near-duplicate in an example that stays, or in dev; copies among dev count as well."""
        hits = [*(hit for hit in self.cases.hits if not hit.certain), *self.dev_test.hits]
        return frozenset(case for hit in hits for case in hit.cases)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        return {name: getattr(self, name).by_reason for name in ("cases", "dev", "dev_test")}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Cases and examples of a project; the split is drawn on first use and kept.

    Attributes:
        cases: Every case of the file, labelled or not.
        examples: Every example of the file.
        seed: Seed of the draw.
        dev_size: Largest number of dev cases that are drawn from the examples.
        stored: The split of the first run; None before it.
        notes: Guesses, conversions and omissions of the readers.
        with_shots: Whether the split has shots, which must be compared with dev.
    """

    cases: Cases
    examples: Examples
    seed: int
    dev_size: int
    stored: StoredSplit | None = None
    notes: TextTuple = ()
    with_shots: bool = True

    @property
    def split(self) -> Split:
        """Dev, test and the shots, which overlap neither.

        Raises:
            UserError: A side would be empty, or a case of the stored split is gone.
        """
        return self._drawn[0]

    @property
    def contamination(self) -> ContaminationReport:
        """The dropped examples with reasons; errors as in `split`."""
        return self._drawn[1]

    @property
    def agreement(self) -> str:
        """The model whose recorded answers test compares with in place of right answers; "" if people gave those."""
        return min((case.today.model if case.today.borrowed else "" for case in self.cases if case.today), default="")

    @property
    def many_dropped(self) -> bool:
        """Whether so many examples overlap cases that few-shot prompts and classifiers learn from far fewer."""
        dropped = len(self.contamination.cases.dropped) + len(self.contamination.dev.dropped)
        return dropped > MANY_DROPPED * len(self.examples)

    @property
    def changes(self) -> Changes:
        """How cases and examples differ from those of the stored split; empty without a stored split."""
        return Changes() if self.stored is None else changes(self.stored, self.cases, self.examples)

    @cached_property
    def _drawn(self) -> tuple[Split, ContaminationReport]:
        from tuneworthy.cases.example_store import others, some_of
        from tuneworthy.cases.near_duplicates import group_near_duplicates

        stored = self.stored
        compared, groups = (stored.compared(self.cases), stored.groups) if stored else (self.cases, None)
        in_cases = Overlaps(self.examples, self._hits("cases", self.examples, compared))
        cases, n_near = group_near_duplicates(compared, groups)
        split = (
            Split.restored(stored, cases, in_cases.remaining)
            if stored
            else make_split(cases, in_cases.remaining, seed=self.seed, dev_size=self.dev_size)
        )
        if split.origin == "examples":
            dev, n_near_dev = group_near_duplicates(split.dev, groups)
            split = replace(split, dev=dev)
            n_near += n_near_dev
        shots = split.shots if self.with_shots else ()
        in_dev = Overlaps(shots, self._hits("dev", shots, split.dev))
        between = Overlaps(split.dev, self._hits("dev_test", split.dev, split.test))
        report = ContaminationReport(cases=in_cases, dev=in_dev, dev_test=between)
        dev = tuple(some_of(split.dev, others(split.dev, (hit.row for hit in report.left_out))))
        if not dev:
            raise UserError(
                "Every dev case has the question or group of a test case.",
                hint="Undo the change of `group` in the cases or examples.",
            )
        dev_shots = _dev_shots(between.remaining) if split.origin == "cases" else ()
        reasons = list(split.reasons)
        for n, one, many in (
            (
                len(in_cases.dropped),
                "example overlaps with the cases and is",
                "examples overlap with the cases and are",
            ),
            (len(in_dev.dropped), "example overlaps with dev and is", "examples overlap with dev and are"),
            (
                len(report.left_out),
                "dev case shares a source with test and is",
                "dev cases share a source with test and are",
            ),
        ):
            reasons += [f"{count(n, one, many)} dropped"] if n else []
        if dev_shots:
            reasons.append(
                f"{len(dev_shots)} dev cases double as examples, because fewer than {MIN_EXAMPLES} examples can be "
                "scored; a dev case is never among its own few-shot examples"
            )
        counts = {
            **split.counts,
            "dev": len(dev),
            "shots": len(in_dev.remaining) + len(dev_shots),
            "overlaps_cases": len(in_cases.dropped),
            "overlaps_dev": len(in_dev.dropped),
            "dev_near_test": len(between.dropped),
            "near_duplicates": n_near,
        }
        test = [case for case in split.test if not (case.today and case.today.borrowed)]
        if not self.agreement and len(test) < len(split.test):
            reasons.append(f"{len(test)} test cases are labelled, as a weighted sample of {len(split.test)}")
            split = replace(split, test=tuple(test))
        split = split.set_apart()
        if n_drafted := len(split.drafted):
            reasons.append(
                f"{count(n_drafted, 'drafted test case')} are scored apart, because {len(split.test)} real test cases "
                "are enough for a verdict"
            )
        counts["test"] = len(split.test)
        return replace(
            split,
            dev=dev,
            shots=in_dev.remaining,
            dev_shots=dev_shots,
            counts=counts,
            reasons=tuple(dict.fromkeys(reasons)),  # a stored split already has the reasons of the draw
        ), report

    def _key(self, stored: StoredSplit) -> str:
        """Return the hash of the compared rows, questions and groups; a label that is corrected changes no decision."""
        from tuneworthy.cases.example_store import columns_of, ids_of

        rows = columns_of(self.examples)
        cases = [[case.group, case.id, fingerprint(case).question] for case in stored.compared(self.cases)]
        return content_hash(
            [ids_of(self.examples), rows.groups.tolist(), [*rows.names], cases, [entry.id for entry in stored.test]]
        )

    def _hits(self, side: str, rows: Sequence[R], cases: Cases) -> Sequence[OverlapHit]:
        """Return the stored decisions; new ones before the first run, and once rows were added or examples changed.

        An example that was drawn for dev stays in dev.
        """
        from tuneworthy.cases.example_store import asking

        stored = self.stored
        if stored and stored.judged and stored.judged == self._key(stored):
            return stored.overlaps.get(side, ())
        hits = find_overlaps(rows, cases, among=None if side == "dev_test" else self.examples).hits
        if stored is None or side != "cases":
            return hits
        drawn = set(asking(self.examples, Kind(*stored.kind), [entry.id for entry in stored.dev]).tolist())
        return [replace(hit, certain=hit.certain and hit.row not in drawn) for hit in hits]

    def settled(self) -> StoredSplit:
        """Return the split to store, with the decisions about rows."""
        stored = self.stored or self.split.stored()
        report = self.contamination
        now = {case.id: case.group for case in (*report.dev_test.rows, *self.split.asked) if case.group}
        return replace(
            stored,
            judged=self._key(stored),
            overlaps={name: tuple(getattr(report, name).hits) for name in ("cases", "dev", "dev_test")},
            groups=now if stored.groups is None else stored.groups,
        )

    def write_dropped(self, folder: Folder) -> Path:
        """Write the dropped rows, each with its case and the reason, a line per row, and return the file."""
        report = self.contamination
        known = {case.id: case for case in (*report.dev_test.rows, *self.cases)}
        left: list[tuple[Overlaps[Any], list[OverlapHit]]] = [(one, one.dropped) for one in (report.cases, report.dev)]
        lines = [
            {
                "row": question_of(overlaps.rows[hit.row]),
                "case": hit.case_id,
                "question": question_of(known[hit.case_id]),
                "reason": hit.reason,
            }
            for overlaps, hits in (*left, (report.dev_test, report.left_out))
            for hit in hits
        ]
        folder.create()
        write_atomic(folder.path / DROPPED, json_lines(lines))
        return folder.path / DROPPED


def _dev_shots(cases: Cases) -> tuple[Example, ...]:
    """Return dev cases as examples with the source of their case; empty if they share one source."""
    shots = tuple(
        replace(row, source=DEV)
        for row in [case_example(replace(case, group=case.source)) for case in cases]
        if row is not None
    )
    return shots if len({row.group for row in shots}) > 1 else ()


def read_dataset(project: Project, *, examples: bool = True) -> Dataset:
    """Read the files that `project` names, and the split of its first run.

    Args:
        project: The project.
        examples: Whether to read the examples; training on a frozen version does not need them.

    Raises:
        UserError: A file is missing or wrong.
    """
    case_file = read_cases(project.path(project.cases.path))
    cases = answered_today(case_file.cases, Folder(project.root).read(SAMPLE, dict[str, float]))
    rows: Examples = ()
    notes = case_file.notes
    if project.examples and examples:
        example_file = read_examples(project.path(project.examples.path))
        rows, notes = example_file.examples, notes + example_file.notes
    return dataset_of(project, cases, rows, notes=notes)


def answered_today(cases: Cases, sample: NamedFloats | None = None) -> Cases:
    """Return cases with today's answers in place of the right ones that are missing.

    A score on test is either agreement with today's model on all cases, or right on all: until the whole sample is
    labelled, labels do not count. Then they do, with their weights, and the other cases only serve dev.
    """
    sample = sample or {}
    if all(case.labelled for case in cases if case.today):
        return cases
    settled = sample.keys() <= {case.id for case in cases if case.labelled} and bool(sample)
    return [
        replace(case, weight=sample.get(case.id, 1.0))
        if not case.today or (settled and case.labelled)
        else replace(case, expected=case.today.answer, today=replace(case.today, borrowed=True))
        for case in cases
    ]


def unlisted_labels(project: Project, cases: Cases, examples: Examples) -> NamedInts:
    """Return the answers of examples that the first grader does not list and no case expects, with numbers of rows."""
    from tuneworthy.cases.example_store import answer_counts

    if not (listed := getattr(project.graders[0], "labels", None)):
        return {}
    known = {*(label.strip() for label in listed), *labels_of(cases)}
    return {label: n for label, n in answer_counts(examples).items() if label not in known}


def dataset_of(project: Project, cases: Cases, examples: Examples, *, notes: TextTuple = ()) -> Dataset:
    stored = Folder(project.root).read("split", StoredSplit)
    if wrong := unlisted_labels(project, cases, examples):
        from tuneworthy.cases.example_store import some_of

        dev = {case.id for case in stored.dev} if stored else set()  # of the first run, which stay as they are
        kept = [at for at, row in enumerate(examples) if row.answer.strip() not in wrong or asked_id(row) in dev]
        notes += (f"{count(len(examples) - len(kept), 'example')} left out, whose labels the grader does not list.",)
        examples = some_of(examples, kept)
    return Dataset(
        cases=cases,
        examples=examples,
        seed=project.split.seed,
        dev_size=project.split.dev,
        stored=stored,
        notes=notes,
    )
