"""What a project's training data is built from: its rows, the cases that they must not give away, an encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, ClassVar

from tuneworthy.cases import Dataset, guess_kind, labels_of, read_dataset
from tuneworthy.cases.splits import Split, example_case, fingerprint
from tuneworthy.config.project import Project
from tuneworthy.dataset.base import Context, Encoder, Finding
from tuneworthy.dataset.importing.importer import Import, import_files, latest_import
from tuneworthy.dataset.review.log import FILE_NAME as REVIEWS
from tuneworthy.dataset.review.log import content_of, found_bad
from tuneworthy.dataset.rows import Rows
from tuneworthy.errors import UserError
from tuneworthy.store import Folder
from tuneworthy.types import Case, Example, content_hash

NO_ENCODER = (
    "no sentence encoder: rows and overlaps in other words were not looked for "
    "(pip install torch, or name one in [data] encoder)"
)
_MIN_OF_A_LABEL = 4
_LONGEST_LABEL = 100

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows that are dev: drawn from the examples, they are measured on and never trained on.

    Args:
        dev: Ids of the dev cases.
    """

    dev: frozenset[str] = field(repr=False)
    split: Split = field(repr=False)

    code: ClassVar[str] = "held_out"
    reasons: ClassVar[Mapping[str, str]] = {"held_out": "a row of dev, which is measured on"}
    whole: ClassVar[bool] = False

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield a finding for each row of dev."""
        for number, row in enumerate(rows):
            case = example_case(row, self.split.kind) if row.messages else None
            if case is not None and case.id in self.dev:
                yield Finding(number, "held_out")


@dataclass(frozen=True, slots=True)
class FoundBad:
    """Rows that people found bad in a review of an earlier version; they run last, as rows are reviewed as frozen.

    Args:
        bad: Hashes of their content.
    """

    bad: frozenset[str] = field(repr=False)

    code: ClassVar[str] = "review"
    reasons: ClassVar[Mapping[str, str]] = {"found_bad": "people found it bad in a review"}
    whole: ClassVar[bool] = False

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield a finding for each row that was found bad."""
        for number, row in enumerate(rows):
            if content_of(row) in self.bad:
                yield Finding(number, "found_bad")


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a build starts from.

    Attributes:
        rows: The import that holds the rows.
        cases: Dev and test. held_out: Takes the rows of dev out, if dev is drawn from the examples.
        found_bad: Takes those out that reviews found bad, if there are any.
        labels: Of a task that has few.
        notes: What a reader of the version must know.
    """

    rows: Import
    cases: Sequence[Case]
    held_out: HeldOut | None
    found_bad: FoundBad | None
    labels: Sequence[str]
    notes: Sequence[str]

    @property
    def depends(self) -> dict[str, Any]:
        """Hashes of all this, for the recipe."""
        return {
            "rows": self.rows.document["sha256"],
            "cases": {"n": len(self.cases), "sha256": content_hash(sorted(map(str, map(fingerprint, self.cases))))},
            "labels": {"n": len(self.labels), "sha256": content_hash(list(self.labels))},
            "held_out": len(self.held_out.dev) if self.held_out else 0,
            "found_bad": content_hash(sorted(self.found_bad.bad)) if self.found_bad else None,
        }


def gather(project: Project, store: Folder, say: Say = lambda _: None) -> Gathered:
    """Read what the training data of `project` is built from: its latest import, else its examples file.

    Raises:
        UserError: There are no rows, or no cases to compare them with, or a file is wrong.
    """
    rows = latest_import(store)
    if rows is None:
        if project.examples is None:
            hint = "run `tuneworthy data import FILE`, or name a file in [examples]"
            raise UserError("expected rows to build from, got neither an import nor an examples file", hint=hint)
        rows = import_files(store, [project.root / project.examples.path], say=say, latest=False)
    dataset = read_dataset(project)
    cases = list(dataset.cases)
    split, notes = _split(dataset)
    held_out = None
    if split is not None and split.origin == "examples":
        held_out = HeldOut(frozenset(case.id for case in split.dev), split)
        cases += split.dev
    bad = found_bad(project.root / REVIEWS)
    labels = _labels(cases, Rows(rows.folder / "rows.jsonl"))
    return Gathered(rows, cases, held_out, FoundBad(bad) if bad else None, labels, notes)


def _split(dataset: Dataset) -> tuple[Split | None, list[str]]:
    """Return the split as it stands, or as the first run will draw it; None if it cannot be drawn yet."""
    try:
        return dataset.split, []
    except UserError as error:
        if dataset.stored is not None:
            raise
        n = len(dataset.cases)
        return None, [f"dev and test cannot be drawn yet ({error.message}): all {n} cases are kept apart"]


def _labels(cases: Sequence[Case], rows: Rows) -> Sequence[str]:
    """Return the labels of a task that has few; those that only rows have if they are given several times."""
    expected = [case.expected for case in cases if case.labelled]
    answers: Counter[str] = Counter()
    for row in rows:
        if len(answer := row.answer.strip()) <= _LONGEST_LABEL:
            answers[answer] += 1
    kind = guess_kind(expected)
    if kind.name == "short_answer":
        kind = guess_kind([*expected, *answers.elements()])
    if kind.name != "label":
        return ()
    usual = {answer for answer, n in answers.items() if n >= _MIN_OF_A_LABEL and answer}
    return tuple(sorted(usual | set(labels_of(cases))))


def encoder_of(project: Project, store: Folder, say: Say = lambda _: None) -> tuple[Encoder | None, str | None]:
    """Return the sentence encoder that `[data] encoder` asks for, and its name; None if there is none.

    Raises:
        ModelError: It is asked for by name and cannot be used.
    """
    from tuneworthy.dataset.dedup.vectors import RememberingEncoder

    asked = project.data.encoder
    if asked == "off" or (asked == "auto" and find_spec("torch") is None):
        return None, None
    from tuneworthy.retrieval.encoder import SPEC, load_encoder

    spec = SPEC if asked == "auto" else asked
    say(f"sentence encoder: {spec}")
    path = store.path / "vectors" / f"{content_hash(spec)}.bin"
    return RememberingEncoder(load_encoder(spec), path), spec
