"""Quality against quantity: learning curves of a frozen version, and of the raw rows.

The classical baseline trains on nested subsets of doubling size, and answers the questions that `dataset.effect` asks:
dev cases and, cross-fitted, a sample of the rows that stayed; never a test case. Each of three seeds holds out another
third of the rows, so that no model trains on more than two thirds, and draws each subset three times: which rows are
drawn matters as much as which questions are asked, and intervals cover both.

The built rows' own scores, and the size that they recommend, are of all questions. Built and raw rows are compared on
dev cases only: rows that stayed are those that the checks agree with, so they favour the built rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from heapq import nsmallest
from itertools import chain, repeat
from math import hypot

import numpy as np
from scipy.special import stdtrit

from tuneworthy.arrays import Bools, Floats, Ints
from tuneworthy.config.project import Project
from tuneworthy.dataset import messages
from tuneworthy.dataset.effect import (
    MIN_ASKED,
    MOST_DRAWN,
    SEEDS,
    AskedSample,
    EffectMeter,
)
from tuneworthy.dataset.freeze import Version
from tuneworthy.dataset.records import Difference
from tuneworthy.dataset.sources import cases_hash, encoder_of, measured_cases
from tuneworthy.errors import Undecided, UserError
from tuneworthy.stats.intervals import score_interval
from tuneworthy.stats.paired import compare
from tuneworthy.store import Folder
from tuneworthy.types import Bounds, Say, frozen, positional

# Times that the largest size is halved at most, and the smallest size.
HALVINGS = 4
MIN_SIZE = 10
# Draws of a random subset for each seed.
DRAWS = 3
# Rows, and how many of them.
Subset = tuple[str, int]


@positional
class SizePoint:
    """What the baseline reaches with so many of the built rows.

    Attributes:
        size: How many.
        score: On all questions.
        ci95: Of the score.
        raw: On dev only, the score less that of as many raw rows; None where dev has too few cases.
    """

    size: int
    score: float
    ci95: Bounds
    raw: Difference | None


@frozen
class DatasetCurve:
    """Learning curves of a version.

    Attributes:
        version: Its id.
        n_built: Its rows that are used.
        n_raw: Raw rows that are used: the built rows and those that were dropped, but for overlaps with cases.
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


def curve_of(project: Project, version: Version, say: Say = lambda _: None) -> DatasetCurve:
    """Measure the learning curves of a version.

    Args:
        project: Names the cases, the margin and the seed.
        version: Its files were compared with their hashes.
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
        encoder=encoder_of(project, Folder(project.root), labels=bool(version.recipe.labels))[0],
    )
    sample = _sample(version, meter)
    n_raw, largest = sample.fewest_trained()
    sizes = [largest >> halvings for halvings in range(HALVINGS, -1, -1) if largest >> halvings >= MIN_SIZE]
    questions = [*sample.asked.tolist(), *sample.dev.tolist()]
    hint = "Import or distil more rows, then run `tuneworthy data build`."
    if len(sizes) < 2:
        raise Undecided(
            f"A learning curve needs at least {2 * MIN_SIZE} rows to train on. Only {largest} remain after the "
            "held-out rows are removed.",
            hint=hint,
        )
    if len(questions) < MIN_ASKED:
        raise Undecided(
            f"A learning curve needs at least {MIN_ASKED} dev cases or held-out rows with a known answer. "
            f"There are only {len(questions)}.",
            hint=hint,
        )
    has_raw = n_raw > largest and len(sample.dev) >= MIN_ASKED
    draws = [("built", size, draw) for size in sizes[:-1] for draw in range(DRAWS)] + [("built", largest, 0)]
    if has_raw:
        draws += [("raw", size, draw) for size in sizes for draw in range(DRAWS)] + [("raw", n_raw, 0)]
    say(
        f"Training the classical baseline ({sample.baseline}) {SEEDS * len(draws)} times, on up to "
        f"{max(largest, n_raw)} rows"
    )
    scores = sample.scores(partial(_drawn, sample, draws))
    of_all, of_dev = (
        SubsetScores.of(draws, scores[:, first:], meter.weights([sample.accepted[n][0] for n in questions[first:]]))
        for first in (0, len(sample.asked))
    )
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
        points=[
            SizePoint(n, *of_all.level(("built", n)), of_dev.difference(("raw", n), ("built", n)) if has_raw else None)
            for n in sizes
        ],
        cleaning=of_dev.difference(("raw", n_raw), ("built", largest)) if has_raw else None,
        size=size,
        least=least,
        doubling=of_all.difference(("built", sizes[-2]), ("built", largest)),
    )


def _sample(version: Version, meter: EffectMeter) -> AskedSample:
    rng = np.random.default_rng(meter.seed)
    raw = chain(zip(version.examples(), repeat(True)), zip(version.dropped(), repeat(False)))
    rows, stays = zip(*nsmallest(MOST_DRAWN, raw, key=lambda _: rng.random()), strict=True)
    sample = meter.sample(rows, np.array(stays, np.bool_), rows)
    return replace(sample, asked=sample.asked[sample.stays[sample.asked]])


def _drawn(sample: AskedSample, draws: Sequence[tuple[str, int, int]], train: Bools, fold: int) -> list[Ints]:
    orders = {}
    for draw in range(DRAWS):
        rng = np.random.default_rng([fold, draw])
        orders["built", draw] = rng.permutation(np.flatnonzero(train & sample.stays))
        orders["raw", draw] = rng.permutation(np.flatnonzero(train))
    return [orders[name, draw][:size] for name, size, draw in draws]


@positional
class SubsetScores:
    """The scores of all subsets, with intervals that cover both the choice of the questions and that of the rows.

    Attributes:
        scores: Subset to the scores of the questions times their weights, ``(n_draws, SEEDS, n)``: their sum over the
            seeds is the score; each seed has draws of its own.
        weights: Of the questions, ``(n,)``.
    """

    scores: Mapping[Subset, Floats]
    weights: Floats

    @classmethod
    def of(cls, draws: Sequence[tuple[str, int, int]], by_seed: Floats, weights: Floats) -> "SubsetScores":
        columns: dict[Subset, list[Floats]] = {}
        for place, (name, size, _) in enumerate(draws):
            columns.setdefault((name, size), []).append(by_seed[:, :, place] * weights)
        return cls({one: np.array(several) for one, several in columns.items()}, weights)

    def level(self, subset: Subset) -> tuple[float, Bounds]:
        level = score_interval(self._mean(subset), self.weights)
        low, high = self._widened(level.value, (level.lo, level.hi), self.scores[subset])
        return level.value, (max(0.0, low), min(1.0, high))

    def _mean(self, subset: Subset) -> Floats:
        mean: Floats = self.scores[subset].sum(axis=1).mean(axis=0)
        return np.minimum(mean, self.weights)  # thirds that do not add up to 1 by the last digit

    def difference(self, a: Subset, b: Subset) -> Difference:
        result = compare(self._mean(a), self.weights, self._mean(b), self.weights, alpha=None)
        return Difference(
            result.delta, self._widened(result.delta, result.ci, self.scores[b] - self.scores[a]), result.n
        )

    def _widened(self, value: float, bounds: Bounds, draws: Floats) -> Bounds:
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
