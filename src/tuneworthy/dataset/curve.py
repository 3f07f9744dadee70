"""Quality against quantity: learning curves of a frozen version, against raw rows and rows drawn in another way.

The classical baseline trains on nested subsets of doubling size, and answers the questions that `dataset.effect` asks:
dev cases and, cross-fitted, a sample of the rows that stayed; never a test case. Each of three seeds holds out another
third of the rows, so that no model trains on more than two thirds, and draws each subset three times: which rows are
drawn matters as much as which questions are asked, and intervals cover both.

The built rows' own scores, and the size that they recommend, are of all questions. What other rows do is asked of the
dev cases alone: rows that stayed are what a check agrees with, so they favour the built rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from itertools import chain, repeat
from math import hypot
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from tuneworthy.config.project import Project
from tuneworthy.dataset import messages
from tuneworthy.dataset.check_runner import Say
from tuneworthy.dataset.checks.label_errors import out_of_fold
from tuneworthy.dataset.effect import (
    MIN_ASKED,
    MOST_DRAWN,
    SEEDS,
    AskedSample,
    EffectMeter,
)
from tuneworthy.dataset.freeze import Version
from tuneworthy.dataset.records import Difference
from tuneworthy.dataset.sources import cases_hash, measured_cases
from tuneworthy.errors import Undecided, UserError
from tuneworthy.stats.intervals import score_interval
from tuneworthy.stats.paired import compare

# Times that the largest size is halved at most, and the smallest size.
HALVINGS: Final = 4
MIN_SIZE: Final = 10
# Draws of a random subset for each seed.
DRAWS: Final = 3
Numbers = NDArray[np.int64]
# A sample, the numbers of rows in a random order, and a seed, to those numbers in the order in which they are drawn.
Ranking = Callable[[AskedSample, Numbers, int], Numbers]


def hardest_first(sample: AskedSample, rows: Numbers, seed: int) -> Numbers:
    """Return `rows` by difficulty, the easiest last: what a model says of them that was trained on other rows.

    Of labels, the probability of the row's own label; of anything else, the score of the answer.

    Source: Paul, Ganguli and Dziugaite 2021, "Deep Learning on a Data Diet" (arXiv 2107.07075): the norm of the error
    of the predicted probabilities ranks rows; Sorscher et al. 2022 (arXiv 2206.14486): whether hard rows help depends
    on how many there are.
    """
    answers = [sample.accepted[row][0] for row in rows]
    if sample.kind == "label" and len(set(answers)) > 1:
        classes, probabilities = out_of_fold([sample.questions[row] for row in rows], answers, seed=seed)
        known = probabilities.mean(axis=0)[np.arange(len(rows)), np.searchsorted(classes, answers)]
    else:
        known = np.empty(len(rows))
        for half in (0, 1):
            asked = rows[half::2].tolist()
            predicted = sample.answer(rows[1 - half :: 2], asked, seed)
            known[half::2] = [sample.score(one, row) for one, row in zip(predicted, asked, strict=True)]
    return rows[np.argsort(known, kind="stable")]


def farthest_first(sample: AskedSample, rows: Numbers, seed: int) -> Numbers:
    """Return half of `rows`: after the first one, always the row that is least like the nearest of those before it.

    Source: Gonzalez 1985, "Clustering to minimize the maximum intercluster distance" (Theor. Comput. Sci. 38:293); for
    training data Sener and Savarese 2018 (arXiv 1708.00489), k-center greedy.
    """
    matrix = sample.matrix[rows]
    columns, nearest = matrix.T.tocsr(), np.full(len(rows), -np.inf)
    order = [0]
    while True:
        nearest = np.maximum(nearest, (matrix[order[-1]] @ columns).toarray()[0])
        nearest[order[-1]] = np.inf
        if 2 * len(order) >= len(rows):
            return rows[order]
        order.append(int(nearest.argmin()))


# Name to the order in which rows are drawn, besides a random one.
SAMPLES: Final[Mapping[str, Ranking]] = {"difficulty": hardest_first, "diversity": farthest_first}
# Rows, and how many of them.
Subset = tuple[str, int]


@dataclass(frozen=True, slots=True)
class SizePoint:
    """What the baseline reaches with so many of the built rows.

    Attributes:
        size: How many.
        score: On all questions.
        ci95: Of the score.
        against: On dev alone, the score less that of as many other rows: `raw`, or built rows drawn by one of
            `SAMPLES`. Empty where dev has too few cases.
    """

    size: int
    score: float
    ci95: tuple[float, float]
    against: Mapping[str, Difference]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCurve:
    """Learning curves of a version.

    Attributes:
        version: Its id.
        n_built: Its rows that are used.
        n_raw: Raw rows that are used: those before the checks, but for what is held out for dev or overlaps a case.
        baseline: What was trained.
        metric: What a score is.
        n: Questions of `points`.
        n_dev: Questions among them that are dev cases.
        margin: The largest harmless loss.
        points: By size, the smallest first.
        cleaning: On dev alone, the score of all built rows less that of all raw rows; None if that was not measured.
        size: The smallest size that is shown to lose less than `margin` against all rows, as is each larger one; None
            if all rows are not shown to beat the smallest size, as rows then show nothing.
        least: The size above the largest that is shown to lose more than `margin`: from it to `size`, the questions do
            not decide.
        doubling: What the last doubling of the built rows added.
    """

    version: str
    n_built: int
    n_raw: int
    baseline: str
    metric: str
    n: int
    n_dev: int
    margin: float
    points: Sequence[SizePoint]
    cleaning: Difference | None
    size: int | None
    least: int
    doubling: Difference


def curve_of(
    project: Project, version: Version, samples: Sequence[str] = (), say: Say = lambda _: None
) -> DatasetCurve:
    """Measure the learning curves of a version.

    Args:
        project: Names the cases, the margin and the seed.
        version: Its files were compared with their hashes.
        samples: Of `SAMPLES`, to measure as well.
        say: Gets a sentence before the baselines are trained.

    Raises:
        UserError: The cases are other ones than when the version was built, so that rows may overlap with them.
        Undecided: Too few rows or questions.
    """
    cases, split, _ = measured_cases(project)
    if version.recipe.depends.cases.sha256 != cases_hash(cases):
        raise UserError(
            f"The cases have changed since version {version.id} was built, so its rows may overlap them.",
            hint=messages.say("build_again"),
        )
    meter = EffectMeter(
        dev=split.dev if split is not None else (),
        labels={row.label: row.before for row in version.recipe.labels},
        cases={row.label: row.cases for row in version.recipe.labels},
        seed=project.split.seed,
    )
    sample = _sample(version, meter)
    n_raw, largest = sample.fewest_trained()
    sizes = [largest >> halvings for halvings in range(HALVINGS, -1, -1) if largest >> halvings >= MIN_SIZE]
    questions = [*sample.asked.tolist(), *sample.dev.tolist()]
    _require_enough(largest, len(sizes), len(questions))
    others = _others(samples, sample, has_raw=n_raw > largest)
    draws = [(name, size, draw) for size in sizes for name in ("built", *others) for draw in _draws(name, size, sizes)]
    draws += [("raw", n_raw, 0)] if "raw" in others else []
    say(
        f"Training the classical baseline ({sample.baseline}) {SEEDS * len(draws)} times, on up to "
        f"{max(largest, n_raw)} rows"
    )
    scores = sample.scores(partial(_drawn, sample, draws))
    of_all, of_dev = (
        SubsetScores.of(draws, scores[:, first:], meter.weights([sample.accepted[n][0] for n in questions[first:]]))
        for first in (0, len(sample.asked))
    )
    points = []
    for n_rows in sizes:
        compared = [name for name in others if _draws(name, n_rows, sizes)]
        against = {name: of_dev.difference((name, n_rows), ("built", n_rows)) for name in compared}
        points.append(SizePoint(n_rows, *of_all.level(("built", n_rows)), against))
    size, least = _recommended(of_all, sizes, project.task.margin)
    return DatasetCurve(
        version=version.id,
        n_built=int(sample.stays.sum()),
        n_raw=len(sample.stays),
        baseline=sample.baseline,
        metric=messages.METRICS.get(sample.kind, messages.METRICS[""]),
        n=len(questions),
        n_dev=len(sample.dev),
        margin=project.task.margin,
        points=points,
        cleaning=of_dev.difference(("raw", n_raw), ("built", largest)) if "raw" in others else None,
        size=size,
        least=least,
        doubling=of_all.difference(("built", sizes[-2]), ("built", largest)),
    )


def _others(samples: Sequence[str], sample: AskedSample, *, has_raw: bool) -> list[str]:
    if len(sample.dev) < MIN_ASKED:
        return []
    return ["raw", *samples] if has_raw else [*samples]


def _draws(name: str, size: int, sizes: Sequence[int]) -> range:
    """Return the draws of a subset: all rows, and samples, are drawn once, as they depend little on chance."""
    if name in SAMPLES:
        return range(size < sizes[-1])
    return range(1 if name == "built" and size == sizes[-1] else DRAWS)


def _require_enough(largest: int, n_sizes: int, n_questions: int) -> None:
    hint = "Import or distil more rows, then run `tuneworthy data build`."
    if n_sizes < 2:
        raise Undecided(
            f"A learning curve needs at least {2 * MIN_SIZE} rows to train on. Only {largest} remain after the "
            "held-out rows are removed.",
            hint=hint,
        )
    if n_questions < MIN_ASKED:
        raise Undecided(
            f"A learning curve needs at least {MIN_ASKED} dev cases or held-out rows with a known answer. "
            f"There are only {n_questions}.",
            hint=hint,
        )


def _sample(version: Version, meter: EffectMeter) -> AskedSample:
    rng = np.random.default_rng(meter.seed)
    raw = chain(zip(version.examples(), repeat(True)), zip(version.dropped(), repeat(False)))
    rows, stays = zip(*nsmallest(MOST_DRAWN, raw, key=lambda _: rng.random()), strict=True)
    return meter.sample(rows, np.array(stays, np.bool_), rows)


def _drawn(
    sample: AskedSample, draws: Sequence[tuple[str, int, int]], train: NDArray[np.bool_], fold: int
) -> list[Numbers]:
    """Return the rows of each draw of a subset, as far as they may be trained on; those of one draw are nested."""
    orders: dict[tuple[str, int], Numbers] = {}
    for draw in range(DRAWS):
        rng = np.random.default_rng([fold, draw])
        orders["built", draw] = rng.permutation(np.flatnonzero(train & sample.stays))
        orders["raw", draw] = rng.permutation(np.flatnonzero(train))
    for name in {name for name, _, _ in draws} & SAMPLES.keys():
        orders[name, 0] = SAMPLES[name](sample, orders["built", 0], fold)
    return [orders[name, draw][:size] for name, size, draw in draws]


@dataclass(frozen=True, slots=True)
class SubsetScores:
    """The scores of all subsets, with intervals that cover both the choice of the questions and that of the rows.

    Attributes:
        scores: Subset to the scores of the questions times their weights, ``(n_draws, SEEDS, n)``: their sum over the
            seeds is the score; each seed has draws of its own.
        weights: Of the questions, ``(n,)``.
    """

    scores: Mapping[Subset, NDArray[np.float64]]
    weights: NDArray[np.float64]

    @classmethod
    def of(
        cls, draws: Sequence[tuple[str, int, int]], by_seed: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> "SubsetScores":
        """Return those of `by_seed`, the scores ``(SEEDS, n, n_draws)``."""
        columns: dict[Subset, list[NDArray[np.float64]]] = {}
        for place, (name, size, _) in enumerate(draws):
            columns.setdefault((name, size), []).append(by_seed[:, :, place] * weights)
        return cls({one: np.array(several) for one, several in columns.items()}, weights)

    def level(self, subset: Subset) -> tuple[float, tuple[float, float]]:
        """Return the score of a subset, and its 95% interval."""
        level = score_interval(self._mean(subset), self.weights)
        low, high = self._widened(level.value, (level.lo, level.hi), self.scores[subset])
        return level.value, (max(0.0, low), min(1.0, high))

    def _mean(self, subset: Subset) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = self.scores[subset].sum(axis=1).mean(axis=0)
        return np.minimum(mean, self.weights)  # thirds that do not add up to 1 by the last digit

    def difference(self, a: Subset, b: Subset) -> Difference:
        """Return the score of `b` less that of `a`."""
        result = compare(self._mean(a), self.weights, self._mean(b), self.weights, alpha=None)
        bounds = self._widened(result.delta, result.ci, self.scores[b] - self.scores[a])
        return Difference(result.delta, bounds, result.n)

    def _widened(self, value: float, bounds: tuple[float, float], draws: NDArray[np.float64]) -> tuple[float, float]:
        """Return the bounds of an interval over questions, as far apart as the draws of the rows demand.

        Source: Zou and Donner 2008 (Stat. Med. 27:1693), limits of the sum of two independent errors.
        """
        if len(draws) < 2:
            return bounds
        parts = draws.sum(axis=2) / self.weights.sum()
        error = np.sqrt((parts.var(axis=0, ddof=1) / len(draws)).sum())
        half = float(stdtrit(SEEDS * (len(draws) - 1), 0.975) * error)
        return value - hypot(value - bounds[0], half), value + hypot(bounds[1] - value, half)


def _recommended(scores: SubsetScores, sizes: Sequence[int], margin: float) -> tuple[int | None, int]:
    """Return `size` and `least` of the curve: sizes are tested from the largest down, so each at the full 5%."""
    losses = [scores.difference(("built", size), ("built", sizes[-1])).ci95 for size in sizes[:-1]]
    if losses[0][0] <= 0:
        return None, sizes[0]
    high, low = (max((n + 1 for n, loss in enumerate(losses) if loss[end] > margin), default=0) for end in (1, 0))
    return sizes[high], sizes[low]
