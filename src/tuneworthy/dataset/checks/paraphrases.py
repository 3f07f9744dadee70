"""Rows that ask a case's question in other words, and files of rows that are closer to the cases than to other rows.

No cosine says how close is too close: rows and cases of one traffic ask the same things. In BANKING77, nine of ten
training rows are closer to a question of the test set than a free rewording of it is. So a row's distance to a case is
compared with its distance to other rows. In one row of such a set that is weak evidence; in many rows of one file it is
strong: a row that has nothing to do with the cases is as often closer to one of so many rows as to one of as many
cases, whatever its style and its subject.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuneworthy.cases.contamination_index import ContaminationIndex
from tuneworthy.cases.normalize import normalise, normalised_bytes, question_of
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import DATA_CHECKS, WHOLE_SET, CheckContext, RowFinding
from tuneworthy.dataset.records import Action
from tuneworthy.retrieval.encoder import Encoder
from tuneworthy.types import Case, Example

# Rows that each row is compared with, at most: drawn, seeded.
CONTROLS: Final = 10_000
# Below it MiniLM takes two questions for strangers.
MIN_COSINE: Final = 0.5
MIN_OF_A_FILE: Final = 20
# Probability that any file without an overlap is reported.
DOUBT: Final = 0.01
_BATCH: Final = 20_000
_BLOCK: Final = 1_024


@dataclass(frozen=True, slots=True)
class Nearness:
    """How close rows are to the cases and to other rows.

    Attributes:
        case: (n_rows,) the number of the nearest case.
        cosine: (n_rows,) to it.
        margin: (n_rows,) by how much the nearest case is nearer than the nearest other row.
        lean: (n_rows,) how often a case is the nearest where as many cases as other rows are drawn, 0..1: half of the
            time on average, where rows have nothing to do with the cases.
    """

    case: NDArray[np.int64]
    cosine: NDArray[np.float64]
    margin: NDArray[np.float64]
    lean: NDArray[np.float64]


def nearness(
    rows: NDArray[np.float32], cases: NDArray[np.float32], others: NDArray[np.float32], same: NDArray[np.bool_]
) -> Nearness:
    """Compare rows with cases and with other rows by meaning.

    Args:
        rows: Unit vectors, ``(n_rows, dim)``.
        cases: Unit vectors, ``(n_cases, dim)``.
        others: Unit vectors, ``(n_others, dim)``.
        same: ``(n_rows, n_others)`` whether the other row asks the same text, or is the row itself: it does not count.
    """
    to_cases, to_others = (rows @ cases.T).astype(np.float64), (rows @ others.T).astype(np.float64)
    to_others[same] = -1
    case, cosine, other = to_cases.argmax(axis=1), to_cases.max(axis=1), to_others.max(axis=1, initial=-1)
    n_others = len(others) - same.sum(axis=1)
    rarer = np.minimum(len(cases) / np.maximum(n_others, 1), 1), np.minimum(n_others / len(cases), 1)
    nearer = (to_others > cosine[:, None]).sum(axis=1), (to_cases > other[:, None]).sum(axis=1)
    few_cases = (1 - rarer[0]) ** nearer[0]
    few_others = 1 - (1 - rarer[1]) ** nearer[1]
    return Nearness(case, cosine, cosine - other, np.where(len(cases) <= n_others, few_cases, few_others))


def leaning(lean: NDArray[np.float64], case: NDArray[np.int64]) -> tuple[float, float]:
    """Return by how much rows lean to the cases on average, and in how many standard errors.

    Rows with one nearest case count as one draw (a cluster), as they say much the same.

    Args:
        lean: As in `Nearness`.
        case: As in `Nearness`.
    """
    off = lean - 0.5
    _, cluster = np.unique(case, return_inverse=True)
    sums = np.bincount(cluster, off)
    error = float(np.sqrt((sums**2).sum())) / len(off)
    return float(off.mean()), float(off.mean()) / error if error else 0.0


@DATA_CHECKS.rule("paraphrases", codes=messages.REASONS["paraphrases"], whole=True)
@dataclass(frozen=True, slots=True)
class Paraphrases:
    """Rows that ask a case's question in other words. They are reported for a person to look at, and need an encoder.

    Of the rows that are closer to a case than to any other row, those with the largest difference are reported: at most
    `false_alarms` of all rows, so that no more clean rows can be (at 2 %, no row of fewer than 50). Expect it to find
    few free rewordings where rows and cases come from one traffic, as other customers' questions are as close there. So
    each file of at least 20 rows is compared as a whole, too: it is reported if its rows are closer to the cases than
    to as many other rows, beyond chance. Then either it was made from the cases, or it is the only file of their kind.

    Bad: a file of questions that a model wrote after it was shown the test set.
    """

    false_alarms: float = 0.02
    n: int = 8
    threshold: float = 0.5
    action: Action = "report"

    def __call__(self, rows: Sequence[Example], context: CheckContext) -> Iterator[RowFinding]:
        cases = list({normalise(question_of(case)): case for case in context.cases}.values())
        if context.encoder is None or not cases or not rows:
            return
        places, keys, files = self._clean_rows(rows, cases)
        drawn = np.sort(np.random.default_rng(context.seed).permutation(len(places))[:CONTROLS])
        near = _compare(_Questions(rows, places, keys), cases, drawn, context.encoder)
        close = np.flatnonzero((near.margin > 0) & (near.cosine >= MIN_COSINE))
        most = int(self.false_alarms * len(rows))
        close = np.sort(close[np.argsort(-near.margin[close], kind="stable")[:most]])
        for place in close.tolist():
            yield RowFinding(
                row=int(places[place]),
                code="overlap_paraphrase",
                message=messages.say("case", case=cases[int(near.case[place])].id),
                score=float(near.cosine[place]),
                action=self.action,
            )
        yield from _leaning_files(near, files)

    def _clean_rows(
        self, rows: Sequence[Example], cases: Sequence[Case]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.str_]]:
        """Return the rows without an overlap in words: their places, hashes of their questions, and their files."""
        from xxhash import xxh3_64_intdigest

        places: list[int] = []
        keys: list[int] = []
        files: list[str] = []
        index = ContaminationIndex(cases, n=self.n, threshold=self.threshold)
        for first in range(0, len(rows), _BATCH):
            batch = rows[first : first + _BATCH]
            overlapping = {hit.row for hit in index.find(batch)}
            for number, row in enumerate(batch):
                if number not in overlapping:
                    places.append(first + number)
                    keys.append(xxh3_64_intdigest(normalised_bytes(question_of(row))))
                    files.append(row.source.rpartition(":")[0] or row.source)
        return np.array(places, np.int64), np.array(keys, np.uint64), np.array(files, np.str_)


@dataclass(frozen=True, slots=True)
class _Questions:
    """The rows at `places` of `rows`, and hashes of what they ask."""

    rows: Sequence[Example]
    places: NDArray[np.int64]
    keys: NDArray[np.uint64]

    def at(self, numbers: NDArray[np.int64]) -> list[str]:
        """Return the questions of some of them."""
        return [question_of(self.rows[int(place)]) for place in self.places[numbers]]


def _compare(questions: _Questions, cases: Sequence[Case], drawn: NDArray[np.int64], encoder: Encoder) -> Nearness:
    """Compare the rows with the cases and with those of them that were `drawn`, a batch at a time."""
    others, targets = encoder.encode(questions.at(drawn)), encoder.encode([question_of(case) for case in cases])
    parts = [Nearness(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0))]
    for first in range(0, len(questions.places), _BATCH):
        numbers = np.arange(first, min(first + _BATCH, len(questions.places)))
        vectors = encoder.encode(questions.at(numbers))
        for start in range(0, len(numbers), _BLOCK):
            own = questions.keys[numbers[start : start + _BLOCK]]
            same = own[:, None] == questions.keys[drawn]
            parts.append(nearness(vectors[start : start + _BLOCK], targets, others, same))
    return Nearness(
        case=np.concatenate([part.case for part in parts]),
        cosine=np.concatenate([part.cosine for part in parts]),
        margin=np.concatenate([part.margin for part in parts]),
        lean=np.concatenate([part.lean for part in parts]),
    )


def _leaning_files(near: Nearness, files: NDArray[np.str_]) -> Iterator[RowFinding]:
    from scipy.special import ndtri

    names, counts = np.unique(files, return_counts=True)
    names = names[counts >= MIN_OF_A_FILE]
    for name in names.tolist():
        own = files == name
        off, z = leaning(near.lean[own], near.case[own])
        if z > ndtri(1 - DOUBT / len(names)):
            yield RowFinding(
                row=WHOLE_SET,
                code="leaning_file",
                message=messages.say("leaning_file", file=name, n=int(own.sum()), share=0.5 + off, z=z),
                score=0.5 + off,
                action="report",
            )
