"""What question and answer say about a row without labels: whether they fit, which is which, how the answer ends.

Each score is high where a row looks right. The same score of faults that are made up from the rows (answers to other
questions, sides exchanged, answers cut anywhere) shows how wrong rows score, so the rows themselves give the share of
wrong rows and the threshold at a stated share of right rows below it. No phrase is looked for.

Source: Elkan and Noto 2008, "Learning classifiers from only positive and unlabeled data" (one part of a mixture is
known by examples); Blum and Mitchell 1998, "Combining labeled and unlabeled data with co-training" (`unlike`).
"""

import re
from collections import Counter
from typing import Any

import numpy as np

from tuneworthy.arrays import Bools, Floats, Ints
from tuneworthy.classical.features import TextFeatures, fit_quietly
from tuneworthy.types import Texts, frozen

# Share of the rows that may be right and dropped, by each kind of evidence.
FALSE_DROPS = 0.0025
# Share of rows like the faults below which they may be right, and above which the score cannot tell; share of the
# faults from which rows are counted, and up to which an answer does not fit.
MIN_FAULTY, MOST_FAULTY, MIN_FOUND, MOST_FOUND = 0.02, 0.4, 0.5, 0.9
# Share of the pairs that must score above nearly all made-up ones before any row is judged.
_FIT = 0.55
_BINS, _FOLDS, _SAMPLE, _PASSES = 20, 4, 200, 3
# Cases from which the sides of a pair are learned.
_CASES = 30
# Width of the gap between rows whose sides are exchanged and the others, in margins.
_VALLEY = 0.5
# Characters of a text that show its side and its words, and of an end.
_HEAD, _TAIL = 600, 5
_SHORTEST = 8
# Share of the rows below which their words are no kind of words.
_FEW = 0.005
# Share of the rows with odd words whose answer does not fit its question.
_PURE = 0.6
# Share of the faults below which an answer surely does not fit, and least share of such rows with odd words.
_SURE_FOUND, _SURE = 0.7, 0.35


@frozen
class FaultScores:
    """Scores of rows, of faults that are made up from them, and of the cases, which are right.

    Attributes:
        rows: ``(n_rows,)``, high where a row looks right.
        faults: ``(n_faults,)``.
        cases: ``(n_cases,)``.
    """

    rows: Floats
    faults: Floats
    cases: Floats

    @property
    def tells(self) -> bool:
        """Whether so many cases score above nearly all faults that rows can be judged; with few cases, so many rows."""
        right = self.cases if len(self.cases) >= _CASES else self.rows
        clear = float((right > np.quantile(self.faults, 0.95)).mean()) >= _FIT
        return clear and (right is self.cases or self.share <= MOST_FAULTY)

    @property
    def share(self) -> float:
        """Return the share of the rows that are like the faults."""
        found = np.arange(0.5, 0.91, 1 / _BINS)
        return float(np.median(self._below(found)[1] / found))

    def faulty(self) -> Bools:
        """Return the rows that are like the faults, at most `FALSE_DROPS` of all rows right ones by estimate."""
        share, found = self.share, np.arange(MIN_FOUND, 1, 1 / _BINS)
        edges, below = self._below(found)
        enough = np.flatnonzero(below - share * found <= FALSE_DROPS)  # the others below an edge are right
        edge = edges[enough[-1]] if len(enough) else -np.inf
        return (self.rows <= edge) & self.tells & (share > MIN_FAULTY)

    def _below(self, found: Floats) -> tuple[Floats, Floats]:
        """Return the scores below which shares of the faults are, and the shares of the rows below these."""
        edges = np.quantile(self.faults, found)
        return edges, np.searchsorted(np.sort(self.rows), edges, side="right") / len(self.rows)


class PairAgreement:
    """Whether answers fit questions: the terms that they share, against those shared with other rows.

    Args:
        questions: ``(n_rows,)``.
        answers: ``(n_rows,)``.
        seed: Of the draws.
        n_cases: Of the last pairs are cases.

    Attributes:
        scores: Of the rows, of pairs that are drawn, and of the cases.
    """

    def __init__(self, questions: Texts, answers: Texts, seed: int, n_cases: int = 0) -> None:
        n, rng = len(questions), np.random.default_rng(seed)
        matrix = TextFeatures().fit_transform([*questions, *answers])
        self._sides = matrix[:n], matrix[n:]
        drawn = rng.permutation(n)[:_SAMPLE]
        self._usual = [
            (own @ other[drawn].T).toarray() for own, other in zip(self._sides, self._sides[::-1], strict=True)
        ]
        rows = np.arange(n)
        own, others = self._terms(rows, rows), self._terms(rows, (rows + rng.integers(1, n, n)) % n)
        self._spread = others.std(axis=0) + 1e-3
        scores, faults = ((terms / self._spread).sum(axis=1) for terms in (own, others))
        self.scores = FaultScores(rows=scores[: n - n_cases], faults=faults, cases=scores[n - n_cases :])
        self.limit = float(np.quantile(self.scores.faults, MOST_FOUND))

    def fits(self, questions: Ints, answers: Ints) -> Bools:
        """Whether answers of rows fit questions of rows, better than nearly all pairs that are drawn."""
        return np.asarray((self._terms(questions, answers) / self._spread).sum(axis=1) > self.limit)

    def _terms(self, questions: Ints, answers: Ints) -> Floats:
        own = np.asarray(self._sides[0][questions].multiply(self._sides[1][answers]).sum(axis=1)).ravel()
        of_question, of_answer = self._usual[0][questions], self._usual[1][answers]
        mean = of_answer.mean(axis=1)
        ranks = [-np.log((usual >= own[:, None]).mean(axis=1) + 1 / _SAMPLE) for usual in (of_question, of_answer)]
        beyond = np.log(own + 0.01) - np.log(mean + 0.01), (own - mean) / (of_answer.std(axis=1) + 1e-3)
        return np.stack([*beyond, *ranks], axis=1)


def exchanged_sides(questions: Texts, answers: Texts, seed: int, n_right: int) -> Bools:
    """Whether the question looks like the answers of other rows and the answer like their questions.

    Right rows thin out towards such scores, so there are no more of them below a threshold than closely above it. The
    last `n_right` pairs are cases, which are right: with enough of them, any share of the rows may be exchanged.
    """
    n = len(questions)
    matrix = _features([text[:_HEAD] for text in (*questions, *answers)])
    is_answer, owners = np.arange(2 * n) >= n, np.tile(np.arange(n), 2)
    is_right, has_cases = np.arange(n) >= n - n_right, n_right >= _CASES
    right = np.ones(n)
    for number in range(_PASSES):  # rows that are found exchanged teach the next model
        taught = np.tile(is_right, 2) if has_cases and number == 0 else np.ones(2 * n, bool)
        margins = _out_of_fold(matrix, is_answer ^ np.tile(right < 0, 2), owners, seed, taught)
        right = np.where(is_right, 1.0, margins[n:] - margins[:n])
    steps = -np.arange(0, _VALLEY + max(0.0, -right.min()), _VALLEY / 4)
    ordered = np.sort(right)
    above = np.searchsorted(ordered, steps + _VALLEY) - np.searchsorted(ordered, steps)
    exchanged = right < steps[np.argmax(above <= FALSE_DROPS * n)]
    return exchanged if has_cases or exchanged.mean() <= MOST_FAULTY else np.zeros(n, bool)


def endings(answers: Texts, seed: int, n_cases: int = 0) -> FaultScores:
    """Score how much the answer ends as other answers do, and not as those that are cut anywhere.

    Args:
        answers: ``(n_rows + n_cases,)``, of the rows and of the cases.
        seed: Of the cuts.
        n_cases: Of the last answers are expected by cases.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    n, rng = len(answers), np.random.default_rng(seed)
    cut = [
        text[: max(_SHORTEST, int(share * (len(text) - 1)))].rstrip()
        for text, share in zip(answers, rng.uniform(0.25, 1, n), strict=True)
    ]
    ends = CountVectorizer(token_pattern=r"\S+", lowercase=False, binary=True, min_df=2)
    words = Counter(word for text in answers for word in {*re.findall(r"\w+", text.lower())})
    matrix = ends.fit_transform([_end(text, words) for text in (*answers, *cut)])
    margins = _out_of_fold(matrix, np.arange(2 * n) < n, np.tile(np.arange(n), 2), seed)
    return FaultScores(rows=margins[: n - n_cases], faults=margins[n:], cases=margins[n - n_cases : n])


def unlike(questions: Texts, answers: Texts, scores: FaultScores, seed: int) -> Bools:
    """Whether the words of an answer are those of answers that do not fit their questions, and not those of cases.

    What the question explains is another kind of question, which is right to be answered in other words.

    Args:
        questions: ``(n_rows + n_cases,)``.
        answers: ``(n_rows + n_cases,)``.
        scores: Of their agreement.
        seed: Of the folds.
    """
    both, n = np.concatenate([scores.rows, scores.cases]), len(scores.rows)
    misfits, sure = (both <= np.quantile(scores.faults, found) for found in (MOST_FOUND, _SURE_FOUND))
    rows = np.arange(len(both))
    by_question = _out_of_fold(_features([text[:_HEAD] for text in questions]), misfits, rows, seed)
    matrix = _features([text[:_HEAD] for text in answers])
    odd = misfits = misfits & (rows < n)
    weights = np.where(rows < n, 1, n / max(1, len(both) - n))  # a case is as many right rows
    for _ in range(_PASSES):
        margins = _out_of_fold(matrix, odd, rows, seed)
        margins[margins <= by_question] = -np.inf
        order = np.argsort(-margins, kind="stable")
        gains = np.cumsum(
            (weights * (misfits - _PURE - (1 - _PURE) * misfits[:n].mean()))[order]
        )  # greatest where rows below are as pure as chance has it
        best = int(gains.argmax())
        odd = np.isin(rows, order[: best + 1]) & (rows < n) if gains[best] > _FEW * n else np.zeros(len(both), bool)
    return odd[:n] if sure[odd].sum() >= _SURE * odd.sum() else np.zeros(n, bool)


def _features(texts: Texts) -> Any:
    return TextFeatures().fit_transform(texts)


def _out_of_fold(matrix: Any, targets: Bools, owners: Ints, seed: int, taught: Bools | bool = True) -> Floats:
    """Return the margin of each text by a model that has not seen any text of its row, only those that are `taught`."""
    from sklearn.svm import LinearSVC

    folds = np.random.default_rng(seed).permutation(owners.max() + 1)[owners] % _FOLDS
    margins = np.zeros(len(targets))
    for fold in range(_FOLDS):
        known = (folds != fold) & taught
        if len(np.unique(targets[known])) == 2:
            model = LinearSVC(tol=0.1, max_iter=100, class_weight="balanced", random_state=seed)
            fit_quietly(model, matrix[known], targets[known])
            margins[folds == fold] = model.decision_function(matrix[folds == fold])
    return margins


def _shape(character: str) -> str:
    kinds = ((character.isupper(), "A"), (character.isalpha(), "a"), (character.isdigit(), "9"))
    return next((kind for is_one, kind in kinds if is_one), "_" if character.isspace() else character)


def _end(text: str, known: Counter[str]) -> str:
    """Return the shape of the end of a text, and its last words, as the tokens of a text."""
    text = text.rstrip()
    shapes = "".join(map(_shape, text[-_TAIL:]))
    words = text[-200:].lower().split()[-2:]
    line = re.split(r"[.!?:;\n]\s", text[-400:])[-1].split()
    rare = words and known[re.sub(r"\W+", "", words[-1])] < 2
    unclosed = (("rare", rare), ("q", text.count('"') % 2), ("p", text.count("(") > text.count(")")))
    marks = "".join(name for name, is_open in unclosed if is_open)
    ends = [f"s={shapes[-size:]}" for size in (1, 2, 3, _TAIL)]
    since = f"n={len(line).bit_length()}"
    return " ".join(
        [
            *ends,
            *(f"w{place}={word}" for place, word in enumerate(reversed(words))),
            f"m={marks}",
            since,
            f"{ends[0]}{since}{marks}",
            f"{since}{line[0][0] if line else ''}",
            f"end={text[-4:].lower().replace(' ', '_')}",
        ]
    )
