"""What leaving rows out does to accuracy: a classical baseline trained with and without them, asked the same questions.

Asked are the dev cases and, cross-fitted, a sample of the rows that stay: each of three seeds holds out another third
of the questions, trains on the rest twice, and answers what it held out. A row that repeats another one is held out
with it. The difference is paired, and nothing of it depends on what is installed.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from tuneworthy.cases import guess_kind
from tuneworthy.cases.normalize import normalise, normalised_bytes
from tuneworthy.cases.task_kind import answer_text, parse_object
from tuneworthy.classical.base import CLASSICAL_MODELS, QuestionAnswer
from tuneworthy.classical.features import TextFeatures
from tuneworthy.classical.linear import LinearSvmClassifier
from tuneworthy.dataset import messages
from tuneworthy.dataset.rows import StoredRows
from tuneworthy.graders.squad import token_f1
from tuneworthy.stats.paired import compare
from tuneworthy.types import UNLABELLED, Case, Example

# Share of the rows below which leaving them out is not measured.
FEW: Final = 0.005
SEEDS: Final = 3
# Rows that are trained on and questions that are asked at most, by kind of task: seconds each.
MOST_ROWS: Final[Mapping[str, tuple[int, int]]] = {"label": (20_000, 6_000), "json": (6_000, 1_500)}
_MOST_OTHER: Final = (6_000, 1_500)
# Fewer questions measure nothing.
MIN_ASKED: Final = 50
MOST_WEIGHT: Final = 3.0
# Labels that are shown: those that lose the greatest share.
SHOWN: Final = 5
# Answers outside the label set, as one class.
_OTHER: Final = " other"

# Rows leave whatever that costs; or too few; or nothing could be asked; or measured.
Status = Literal["certain", "few", "unmeasured", "measured"]
# Answers to questions by a model trained on rows, both by number.
Answers = Callable[[NDArray[np.int64], Sequence[int], int], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What it does to accuracy that rows leave.

    Attributes:
        status: Whether that was measured.
        n_rows: Rows before.
        n_dropped: Rows that leave.
        labels: Of a task that has few: rows that leave, and share of the label's rows; the greatest shares first.
        delta: Accuracy without the rows, less that with them; None unless measured.
        ci95: Of `delta`.
        n: Questions asked.
        baseline: What was trained.
    """

    status: Status
    n_rows: int
    n_dropped: int
    labels: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    delta: float | None = None
    ci95: tuple[float, float] | None = None
    n: int = 0
    baseline: str = ""

    @property
    def costs(self) -> bool:
        """Whether it is shown that leaving the rows out costs accuracy."""
        return self.ci95 is not None and self.ci95[1] < 0

    def document(self) -> dict[str, Any]:
        """Return what the recipe says of it."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectMeter:
    """Measures what it does to accuracy that rows leave.

    Attributes:
        dev: Its cases, which no row repeats.
        labels: Of a task that has few, with the rows of each before the checks.
        cases: Cases of each label. A flood of one label is not what the model is measured on, so each question weighs
            as much as its label does among the cases.
        seed: Of the draws.
    """

    dev: Sequence[Case] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    cases: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

    def measure(
        self, rows: StoredRows, dropped: Collection[int], repeats: Mapping[int, int], *, certain: bool = False
    ) -> Effect:
        """Measure what it does to leave the rows at the places `dropped` out of `rows`.

        Args:
            rows: Before.
            dropped: Places in the file.
            repeats: Place of a row to that of the row that it repeats.
            certain: Whether they leave whatever that costs, so that nothing is trained.
        """
        gone = np.isin(rows.places, np.fromiter(dropped, np.int64, len(dropped)))
        effect = Effect(
            status="few", n_rows=len(rows), n_dropped=int(gone.sum()), labels=self._labels(rows, np.flatnonzero(gone))
        )
        if certain or effect.n_dropped < FEW * len(rows):
            return replace(effect, status="certain" if certain else "few")
        drawn = self._draw(rows, gone, repeats)
        if len(drawn.asked) < MIN_ASKED:
            return replace(effect, status="unmeasured")
        numbers, scores = drawn.scores()
        weights = self._weights([drawn.answers[number] for number in numbers])
        result = compare(scores[:, 0] * weights, weights, scores[:, 1] * weights, weights, alpha=None)
        return replace(
            effect, status="measured", delta=result.delta, ci95=result.ci, n=result.n, baseline=drawn.baseline
        )

    def _draw(self, rows: StoredRows, gone: NDArray[np.bool_], repeats: Mapping[int, int]) -> "AskedSample":
        """Draw at most as many rows and questions as the kind of task allows."""
        expected = [_expected(case) for case in self.dev if case.labelled and case.expected is not None]
        known = [rows[i].answer for i in range(min(200, len(rows)))]
        kind = "label" if self.labels else guess_kind(expected or known).name
        most, ask = MOST_ROWS.get(kind, _MOST_OTHER)
        numbers = np.random.default_rng(self.seed).permutation(len(rows))[:most]
        examples = [rows[int(number)] for number in numbers]
        usable = np.array([bool(row.question.strip() and row.answer.strip()) for row in examples], bool)
        numbers, examples = numbers[usable], [row for row, fits in zip(examples, usable, strict=True) if fits]
        # Equal questions, and what repeats a row, are of one fold.
        owner = [repeats.get(int(rows.places[number]), -1) for number in numbers]
        keys = [_key(row if place < 0 else rows.at(place)) for place, row in zip(owner, examples, strict=True)]
        cases = [case for case in self.dev if case.labelled and case.expected is not None]
        questions = [*(row.question for row in examples), *(case.text for case in cases)]
        answers = [*(row.answer.strip() for row in examples), *expected]
        if self.labels:
            allowed = set(self.labels)
            answers = [answer if answer in allowed else _OTHER for answer in answers]
        stays = ~gone[numbers]
        folds = np.array([xxh3_64_intdigest(key, self.seed) % SEEDS for key in keys], np.int64)
        known_label = np.array([answer != _OTHER for answer in answers], bool)
        n = len(examples)
        asked = [*np.flatnonzero(stays & known_label[:n])[:ask], *(n + np.flatnonzero(known_label[n:]))]
        return AskedSample(
            questions,
            answers,
            stays,
            np.concatenate([folds, np.arange(len(cases)) % SEEDS]),
            np.array(asked, np.int64),
            kind,
        )

    def _weights(self, answers: Sequence[str]) -> NDArray[np.float64]:
        """Return weights by which the labels of `answers` have the shares that they have among the cases."""
        if not self.labels:
            return np.ones(len(answers))
        n = sum(self.cases.get(label, 0) + 1 for label in self.labels)
        counts = Counter(answers)
        wanted = {label: (self.cases.get(label, 0) + 1) / n for label in self.labels}
        return np.array([min(MOST_WEIGHT, wanted[one] * len(answers) / counts[one]) for one in answers])

    def _labels(self, rows: StoredRows, numbers: NDArray[np.int64]) -> dict[str, tuple[int, float]]:
        if not self.labels:
            return {}
        counts = Counter(rows[int(number)].answer.strip() for number in numbers)
        shares = {label: (n, n / self.labels[label]) for label, n in counts.items() if self.labels.get(label)}
        return dict(sorted(shares.items(), key=lambda item: (-item[1][1], item[0]))[:SHOWN])


def effect_words(effect: Effect) -> str:
    """Return an effect for people."""
    if effect.delta is None or effect.ci95 is None:
        if effect.status == "unmeasured":
            return messages.say("effect_unmeasured")
        few = effect.status == "few"
        return messages.say("effect_few", few=FEW) if few else messages.say("effect_certain")
    low, high = (100 * one for one in effect.ci95)
    words = messages.say(
        "effect_measured", delta=100 * effect.delta, low=low, high=high, baseline=effect.baseline, n=effect.n
    )
    return messages.say("effect_costs", effect=words) if effect.costs else words


@dataclass(frozen=True, slots=True)
class AskedSample:
    """Rows and dev cases that are trained on and asked.

    Attributes:
        questions, answers: Of the rows, then of the dev cases.
        stays: Whether each row stays.
        folds: The seed that holds each question out.
        asked: Numbers of the questions that are asked.
        kind: Of the task.
    """

    questions: Sequence[str]
    answers: Sequence[str]
    stays: NDArray[np.bool_]
    folds: NDArray[np.int64]
    asked: NDArray[np.int64]
    kind: str

    @property
    def baseline(self) -> str:
        """The classical baseline for the kind of task."""
        return {"label": "linear", "json": "field_tagger"}.get(self.kind, "nearest")

    def scores(self) -> tuple[list[int], NDArray[np.float64]]:
        """Return the numbers of the asked questions, and their scores: trained with the rows, and without them."""
        answer = self._labels() if self.kind == "label" else self._fitted
        numbers: list[int] = []
        scores: list[tuple[float, float]] = []
        for fold in range(SEEDS):
            asked = self.asked[self.folds[self.asked] == fold]
            train = self.folds[: len(self.stays)] != fold
            arms = [answer(np.flatnonzero(part), asked.tolist(), fold) for part in (train, train & self.stays)]
            numbers += asked.tolist()
            scores += [
                (self._score(one, number), self._score(other, number))
                for one, other, number in zip(*arms, asked.tolist(), strict=True)
            ]
        return numbers, np.array(scores)

    def _labels(self) -> Answers:
        matrix = TextFeatures().fit_transform(self.questions)

        def answers(train: NDArray[np.int64], asked: Sequence[int], seed: int) -> list[str]:
            known = [self.answers[i] for i in train]
            model = LinearSvmClassifier(seed, c_grid=(1.0,)).fit(matrix[train], known, [])
            return model.predict(matrix[asked]) if asked else []

        return answers

    def _fitted(self, train: NDArray[np.int64], asked: Sequence[int], seed: int) -> list[str]:
        rows = [QuestionAnswer(self.questions[i], self.answers[i]) for i in train]
        return CLASSICAL_MODELS.get(self.baseline)(rows, seed).predict([self.questions[i] for i in asked])

    def _score(self, answer: str, number: int) -> float:
        expected = self.answers[number]
        if self.kind == "label":
            return float(answer == expected)
        if self.kind == "json":
            right = parse_object(expected)
            return float(right is not UNLABELLED and parse_object(answer) == right)
        return token_f1(normalise(answer), normalise(expected))


def _key(row: Example) -> bytes:
    return row.group.encode("utf-8", "surrogatepass") if row.group else normalised_bytes(row.question)


def _expected(case: Case) -> str:
    value = case.expected
    return answer_text(value[0] if isinstance(value, list) and value and isinstance(value[0], str) else value).strip()
