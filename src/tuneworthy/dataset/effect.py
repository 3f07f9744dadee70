"""What leaving rows out does to accuracy: a classical baseline trained with and without them, asked the same questions.

Each of three seeds holds out another third of the rows, trains on the rest twice, with and without the dropped rows,
and asks dev cases and held-out rows. The dev cases are unbiased, but few. The held-out rows are many, and biased in a
known direction if most rows are right: those that no check dropped favour dropping; the others disfavour it, as a model
without them does not give their wrong answers. So an interval of both decides: it covers the effect on all held-out
rows and on those that stay. A row that repeats another one is held out with it. The differences are paired.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from xxhash import xxh3_64_intdigest

from tuneworthy.arrays import Bools, Floats, Floats32, Ints
from tuneworthy.cases import guess_kind
from tuneworthy.cases.normalize import normalise, normalised_bytes
from tuneworthy.cases.task_kind import answer_text, parse_object
from tuneworthy.classical.base import CLASSICAL_MODELS, QuestionAnswer
from tuneworthy.classical.embedding import USUAL, fit_head
from tuneworthy.classical.features import TextFeatures
from tuneworthy.classical.linear import LinearSvmClassifier
from tuneworthy.classical.runtime import LinearLabels, mixed
from tuneworthy.dataset import messages
from tuneworthy.dataset.records import Difference, Effect
from tuneworthy.dataset.rows import StoredRows
from tuneworthy.graders.squad import token_f1
from tuneworthy.retrieval.bert import about_pieces
from tuneworthy.retrieval.encoder import AFFORDABLE, Encoder
from tuneworthy.stats.paired import compare
from tuneworthy.types import UNLABELLED, Case, Cases, Example, Examples, NamedInts, Texts, TextTuple, frozen

# Share of the rows below which leaving them out is not measured.
FEW = 0.005
SEEDS = 3
# Rows that are trained on and questions that are asked at most, by kind of task: seconds each.
MOST_ROWS = {"label": (10_000, 3_000), "json": (2_000, 600)}
_MOST_OTHER = (6_000, 1_500)
MOST_DRAWN = max(MOST_ROWS.values())[0]
# Fewer dev cases, or rows, measure nothing.
MIN_ASKED = 50
MOST_WEIGHT = 3.0
# Labels that are shown: those that lose the greatest share.
SHOWN = 5
# Checks that the sentence about a build names: those that drop most rows.
MOST_CHECKS = 3
# Answers outside the label set, as one class.
_OTHER = " other"

# Which of the rows may be trained on, and the seed, to the rows that each arm trains on.
Arms = Callable[[Bools, int], Sequence[Ints]]


@frozen
class EffectMeter:
    """Measures what it does to accuracy that rows leave.

    Attributes:
        dev: Its cases, which no row repeats.
        labels: Of a task that has few, with the rows of each before the checks.
        cases: Cases of each label. A flood of one label is not what the model is measured on, so each question weighs
            as much as its label does among the cases.
        seed: Of the draws.
        encoder: Sentence encoder of the baseline for labels; None for one of words only.
    """

    dev: Cases = ()
    labels: NamedInts = field(default_factory=dict)
    cases: NamedInts = field(default_factory=dict)
    seed: int = 0
    encoder: Encoder | None = None

    def measure(
        self,
        rows: StoredRows,
        dropped: Mapping[int, int | None],
        *,
        certain: bool = False,
        begin: Callable[[], object] = lambda: None,
    ) -> Effect:
        """Measure what it does to leave dropped rows out of `rows`.

        Args:
            rows: Before.
            dropped: Their places in the file, to that of the row that each one repeats, if any.
            certain: Whether they leave whatever that costs, so that nothing is trained.
            begin: Called before models are trained, where there is something to measure.
        """
        gone = np.isin(rows.places, np.fromiter(dropped, np.int64, len(dropped)))
        effect = Effect(
            status="few", n_rows=len(rows), n_dropped=int(gone.sum()), labels=self._labels(rows, np.flatnonzero(gone))
        )
        if certain or effect.n_dropped < FEW * len(rows):
            return replace(effect, status="certain" if certain else "few")
        drawn = self._draw(rows, gone, dropped)
        if max(len(drawn.asked), len(drawn.dev)) < MIN_ASKED or drawn.fewest_trained()[1] == 0:
            return replace(effect, status="unmeasured")
        begin()
        scores = drawn.scores(lambda train, _: (np.flatnonzero(train), np.flatnonzero(train & drawn.stays)))
        questions, stay = np.append(drawn.asked, drawn.dev), np.flatnonzero(drawn.stays[drawn.asked])
        all_rows, staying, dev = (
            self._difference([drawn.accepted[number][0] for number in questions[part]], scores.sum(axis=0)[part])
            for part in (slice(len(drawn.asked)), stay, slice(len(drawn.asked), None))
        )
        effect = replace(
            effect,
            dev=dev,
            rows=staying
            and all_rows
            and replace(
                all_rows, ci95=(min(all_rows.ci95[0], staying.ci95[0]), max(all_rows.ci95[1], staying.ci95[1]))
            ),
            baseline=drawn.baseline,
        )
        return replace(effect, status="measured" if effect.shown else "unmeasured")

    def _difference(self, answers: Texts, scores: Floats) -> Difference | None:
        """Return the paired difference of ``(n, 2)`` scores of questions with these answers; None with too few."""
        if len(answers) < MIN_ASKED:
            return None
        weights = self.weights(answers)
        result = compare(scores[:, 0] * weights, weights, scores[:, 1] * weights, weights, alpha=None)
        return Difference(result.delta, result.ci, result.n)

    def _draw(self, rows: StoredRows, gone: Bools, dropped: Mapping[int, int | None]) -> "AskedSample":
        numbers = np.random.default_rng(self.seed).permutation(len(rows))[:MOST_DRAWN]
        # Equal questions, and what repeats a row, are of one fold.
        owners = [rows.at(_root(int(rows.places[number]), dropped)) for number in numbers]
        return self.sample([rows[int(number)] for number in numbers], ~gone[numbers], owners)

    def sample(self, rows: Examples, stays: Bools, owners: Examples) -> "AskedSample":
        """Return the dev cases and the first of `rows`, as many as the kind of task allows.

        Args:
            rows: In a random order. Those without a question or an answer are left out.
            stays: Whether each row stays.
            owners: The row that each one repeats, of whose fold it is; mostly itself.
        """
        cases = [case for case in self.dev if case.has_answer]
        expected = [_accepted(case) for case in cases]
        kind = self._kind([one[0] for one in expected], [row.answer for row in rows[:200]])
        most, ask = MOST_ROWS.get(kind, _MOST_OTHER)
        usable = [n for n, row in enumerate(rows[:most]) if row.question.strip() and row.answer.strip()]
        accepted = [(rows[n].answer.strip(),) for n in usable] + expected
        if self.labels:
            accepted = [
                tuple(answer for answer in several if answer in self.labels) or (_OTHER,) for several in accepted
            ]
        is_label = np.array([several[0] != _OTHER for several in accepted], bool)
        stays = stays[usable]
        return AskedSample(
            questions=[rows[n].question for n in usable] + [case.text for case in cases],
            accepted=accepted,
            stays=stays,
            folds=np.array([_fold_of(owners[n], self.seed) for n in usable], np.int64),
            asked=np.flatnonzero(is_label[: len(stays)])[:ask],
            dev=len(stays) + np.flatnonzero(is_label[len(stays) :]),
            kind=kind,
            encoder=self.encoder,
        )

    def _kind(self, expected: Texts, answers: Texts) -> str:
        kind = "label" if self.labels else guess_kind(expected or answers).name
        if kind == "json" and not any(isinstance(parse_object(answer), dict) for answer in answers):
            return "free_text"  # lists have no fields to tag
        return kind

    def weights(self, answers: Texts) -> Floats:
        if not self.labels:
            return np.ones(len(answers))
        n = sum(self.cases.get(label, 0) + 1 for label in self.labels)
        counts = Counter(answers)
        wanted = {label: (self.cases.get(label, 0) + 1) / n for label in self.labels}
        return np.array([min(MOST_WEIGHT, wanted[one] * len(answers) / counts[one]) for one in answers])

    def _labels(self, rows: StoredRows, numbers: Ints) -> dict[str, tuple[int, float]]:
        if not self.labels:
            return {}
        counts = Counter(rows[int(number)].answer.strip() for number in numbers)
        shares = {label: (n, n / self.labels[label]) for label, n in counts.items() if self.labels.get(label)}
        return dict(sorted(shares.items(), key=lambda item: (-item[1][1], item[0]))[:SHOWN])


def effect_words(effect: Effect) -> str:
    if shown := effect.shown or effect.rows:
        words = "not measurable: " * (shown.ci95[0] <= 0 <= shown.ci95[1]) + _words(effect, shown)
        return f"{words}. Dropping them costs accuracy, so they are only reported" if effect.loss else words
    if effect.status == "unmeasured":
        return f"not measured, because there are fewer than {MIN_ASKED} labelled dev cases"
    return (
        (
            f"not measured, because fewer than {FEW:.1%} of the rows are dropped (rows that are always dropped do not "
            "count)"
        )
        if effect.status == "few"
        else "not measured, because these rows are always dropped"
    )


def build_words(n_rows: int, dropped: NamedInts, effect: Effect) -> str:
    """Return in a sentence what a build dropped, and what that does to accuracy.

    Args:
        n_rows: Rows before.
        dropped: Rows that each check dropped.
        effect: Of all checks together, but for those whose rows leave whatever that costs.
    """
    counts = +Counter(dropped)
    if not counts:
        return f"The checks dropped none of the {n_rows} rows."
    if shown := effect.shown:
        change = messages.say(
            "accuracy_higher" if shown.ci95[0] > 0 else "accuracy_lower" if shown.costs else "accuracy_open",
            n=effect.n_dropped,
            effect=_words(effect, shown),
        )
    elif not effect.n_dropped:
        change = ". These rows are always dropped, so the effect on accuracy is not measured"
    else:
        change = f". The effect on accuracy is {effect_words(effect)}"
    most = ", ".join(f"{check} {n}" for check, n in counts.most_common(MOST_CHECKS))
    return f"The checks dropped {counts.total()} of {n_rows} rows (most: {most}){change}."


def _words(effect: Effect, shown: Difference) -> str:
    where = "on dev" if shown is effect.dev else "on held-out rows, with and without the dropped rows"
    delta, low, high = (round(100 * one, 1) + 0.0 for one in (shown.delta, *shown.ci95))
    return f"{delta:+.1f} points [{low:+.1f}, {high:+.1f}] {where} ({effect.baseline}, n = {shown.n})"


@dataclass(frozen=True)
class AskedSample:
    """Rows and dev cases that are trained on and asked.

    Attributes:
        questions: Of the rows, then of the dev cases.
        accepted: The right answers to each: of a row one.
        stays: Whether each row stays.
        folds: The seed that holds each row out.
        asked: Numbers of the rows that are asked.
        dev: Numbers of the dev cases.
        kind: Of the task.
        encoder: Of the baseline for labels, if it has one.
    """

    questions: Texts
    accepted: Sequence[TextTuple]
    stays: Bools
    folds: Ints
    asked: Ints
    dev: Ints
    kind: str
    encoder: Encoder | None

    @property
    def baseline(self) -> str:
        of_kind = {"label": "linear" if self.vectors is None else "embedding", "json": "field_tagger"}
        return of_kind.get(self.kind, "nearest")

    def fewest_trained(self) -> tuple[int, int]:
        """Return the fewest rows to train on, whichever fold is held out: of all rows and of those that stay."""
        rows, staying = (np.bincount(some, minlength=SEEDS) for some in (self.folds, self.folds[self.stays]))
        return int((rows.sum() - rows).min()), int((staying.sum() - staying).min())

    @cached_property
    def matrix(self) -> Any:
        return TextFeatures().fit_transform(self.questions)

    @cached_property
    def vectors(self) -> Floats32 | None:
        """Of the questions, ``(n_questions, dim)``; None where nothing encodes them, or it takes too long."""
        affordable = self.kind == "label" and sum(map(about_pieces, self.questions)) <= AFFORDABLE
        return self.encoder.encode(self.questions) if self.encoder and affordable else None

    def scores(self, arms: Arms) -> Floats:
        """Return the scores of the rows that are asked, then of the dev cases, ``(SEEDS, n_questions, n_arms)``.

        Their sum over the seeds is the score: 0 where another seed asks, and a part of each seed for a dev case.
        """
        from threadpoolctl import threadpool_limits

        questions, parts = np.concatenate([self.asked, self.dev]), []
        of_dev = np.arange(len(questions)) >= len(self.asked)
        for fold in range(SEEDS):
            held_out = np.concatenate([self.folds[self.asked] == fold, np.ones(len(self.dev), np.bool_)])
            asked = questions[held_out].tolist()
            with threadpool_limits(1):  # the products are small: threads only wait for one another
                answers = [self.answer(rows, asked, fold) for rows in arms(self.folds != fold, fold)]
            part = np.zeros((len(questions), len(answers)))
            part[held_out] = np.array(
                [[self.score(text, number) for text, number in zip(arm, asked, strict=True)] for arm in answers]
            ).T
            part[of_dev] /= SEEDS
            parts.append(part)
        return np.array(parts)

    def answer(self, train: Ints, asked: Sequence[int], seed: int) -> list[str]:
        known = [self.accepted[i][0] for i in train]
        if self.kind == "label":
            model = LinearSvmClassifier(seed, c_grid=(1.0,)).fit(self.matrix[train], known, [])
            if not asked:
                return []
            shares = model.probabilities(self.matrix[asked])
            if self.vectors is not None:
                codes = np.searchsorted(np.array(model.labels, dtype=object), np.array(known, dtype=object))
                head = LinearLabels(**fit_head(self.vectors[train], codes, model.labels))
                shares = mixed(np.stack([shares, head.of_vectors(self.vectors[asked])]), np.array(USUAL))
            return [model.labels[i] for i in shares.argmax(axis=1)]
        rows = [QuestionAnswer(self.questions[i], answer) for i, answer in zip(train, known, strict=True)]
        return CLASSICAL_MODELS.get(self.baseline)(rows, seed).predict([self.questions[i] for i in asked])

    def score(self, answer: str, number: int) -> float:
        return max(self._likeness(answer, expected) for expected in self.accepted[number])

    def _likeness(self, answer: str, expected: str) -> float:
        if self.kind == "label":
            return float(answer == expected)
        if self.kind == "json":
            right = parse_object(expected)
            return float(right is not UNLABELLED and parse_object(answer) == right)
        return token_f1(normalise(answer), normalise(expected))


def _root(place: int, dropped: Mapping[int, int | None]) -> int:
    passed = {place}
    while (other := dropped.get(place)) is not None and other not in passed:
        passed.add(place := other)
    return place


def _fold_of(owner: Example, seed: int) -> int:
    group = owner.group.encode("utf-8", "surrogatepass") if owner.group else normalised_bytes(owner.question)
    return xxh3_64_intdigest(group, seed) % SEEDS


def _accepted(case: Case) -> TextTuple:
    value = case.expected
    several = value if isinstance(value, list) and value and isinstance(value[0], str) else [value]
    return tuple(answer_text(one).strip() for one in several)
