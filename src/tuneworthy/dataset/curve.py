"""Quality against quantity: learning curves of built, raw, reviewed and difficult rows.

The classical baseline trains on nested subsets of doubling size, and answers the questions that `dataset.effect` asks:
dev cases and, cross-fitted, a sample of the rows that stayed; never a test case. Each of three seeds holds out another
third of the rows, so that no model trains on more than two thirds, and draws each subset three times: which rows are
drawn matters as much as which questions are asked, and intervals cover both.

The built rows' own scores, and the size that they recommend, are of all questions. The other rows are compared with
built rows on dev cases only: rows that stayed are those that the checks agree with, so they favour the built rows.
Reviewed rows are those that people found good. The most difficult rows are built rows that baselines answer wrong most
often when they train on the other half of the rows.
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
from tuneworthy.dataset.freeze import Version, latest_version
from tuneworthy.dataset.records import Difference
from tuneworthy.dataset.sources import cases_hash, encoder_of, measured_cases
from tuneworthy.errors import Undecided, UserError
from tuneworthy.people.review_log import FILE_NAME, Ledger, content_of
from tuneworthy.stats.intervals import score_interval
from tuneworthy.stats.paired import compare
from tuneworthy.store import Folder
from tuneworthy.types import Bounds, Say, frozen, grouped, positional

# Times that the largest size is halved at most, and the smallest size.
HALVINGS = 4
MIN_SIZE = 10
# Draws of a random subset for each seed.
DRAWS = 3
# Of the stored document.
NAME = "curve"
# Rows by their key in `DatasetCurve.arms`.
NAMES = {"built": "built rows", "raw": "raw rows", "reviewed": "reviewed rows", "hard": "most difficult rows"}
# Rows, and how many of them.
Subset = tuple[str, int]


@positional
class SizePoint:
    """Score of the baseline with a number of rows.

    Attributes:
        size: Rows.
        score: Share of the questions.
        ci95: Of the score.
        gain: The score less that of as many built rows; None of built rows themselves.
    """

    size: int
    score: float
    ci95: Bounds
    gain: Difference | None = None


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
        points: Of built rows by size, the smallest first.
        arms: Points on dev cases by the kind of rows, a key of `NAMES`; empty where dev has too few cases.
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
    arms: Mapping[str, Sequence[SizePoint]]
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
    sample, reviewed = _sample(version, meter, Ledger.read(project.root / FILE_NAME).judged())
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
    arms, draws = _plan(sample, reviewed, sizes)
    say(
        f"Training the classical baseline ({sample.baseline}) {SEEDS * (len(draws) + 2 * DRAWS)} times, on up to "
        f"{max(largest, n_raw)} rows"
    )
    scores = sample.scores(partial(_drawn, sample, reviewed, draws))
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
        points=[SizePoint(n, *of_all.level(("built", n))) for n in sizes],
        arms={name: _points(of_dev, name, several) for name, several in arms.items()},
        cleaning=of_dev.difference(("raw", n_raw), ("built", largest)) if "raw" in arms else None,
        size=size,
        least=least,
        doubling=of_all.difference(("built", sizes[-2]), ("built", largest)),
    )


def _plan(
    sample: AskedSample, reviewed: Bools, sizes: Sequence[int]
) -> tuple[dict[str, list[int]], list[tuple[str, int, int]]]:
    """Return the sizes by kind of rows, and the subsets to draw: (kind, size, number of the draw)."""
    (n_raw, largest), n_reviewed = sample.fewest_trained(), replace(sample, stays=reviewed).fewest_trained()[1]
    arms = {
        "built": [*sizes],
        "raw": [*sizes] * (n_raw > largest),
        "reviewed": sorted({*(n for n in sizes if n < n_reviewed), n_reviewed}) * (n_reviewed >= MIN_SIZE),
        "hard": [*sizes[:-1]],  # all rows have no order
    }
    arms = {name: several for name, several in arms.items() if several and len(sample.dev) >= MIN_ASKED}
    subsets = {(name, n) for name, several in arms.items() for n in several}
    subsets |= {("built", n) for n in (*sizes, *arms.get("reviewed", ()))}
    draws = [(*one, draw) for one in sorted(subsets - {("built", largest)}) for draw in range(DRAWS)]
    return arms, [*draws, ("built", largest, 0), *([("raw", n_raw, 0)] if "raw" in arms else [])]


def _points(scores: "SubsetScores", name: str, sizes: Sequence[int]) -> list[SizePoint]:
    gains = [None if name == "built" else scores.difference(("built", n), (name, n)) for n in sizes]
    return [SizePoint(n, *scores.level((name, n)), gain) for n, gain in zip(sizes, gains, strict=True)]


def _sample(version: Version, meter: EffectMeter, verdicts: Mapping[str, bool]) -> tuple[AskedSample, Bools]:
    rng = np.random.default_rng(meter.seed)
    raw = chain(zip(version.examples(), repeat(True)), zip(version.dropped(), repeat(False)))
    rows, stays = zip(*nsmallest(MOST_DRAWN, raw, key=lambda _: rng.random()), strict=True)
    reviewed = np.array([stay and verdicts.get(content_of(row), False) for row, stay in zip(rows, stays, strict=True)])
    sample = meter.sample(rows, np.array(stays, np.bool_), rows)
    return replace(sample, asked=sample.asked[sample.stays[sample.asked]]), meter.sample(rows, reviewed, rows).stays


def _drawn(
    sample: AskedSample, reviewed: Bools, draws: Sequence[tuple[str, int, int]], train: Bools, fold: int
) -> list[Ints]:
    orders, ease = {}, np.zeros(len(train))
    for draw in range(DRAWS):
        rng = np.random.default_rng([fold, draw])
        orders["built", draw] = built = rng.permutation(np.flatnonzero(train & sample.stays))
        orders["raw", draw] = rng.permutation(np.flatnonzero(train))
        orders["reviewed", draw] = rng.permutation(np.flatnonzero(train & reviewed))
        for known, asked in (built[::2], built[1::2]), (built[1::2], built[::2]):
            answers = sample.answer(known, asked.tolist(), fold)
            ease[asked] += [sample.score(text, number) for text, number in zip(answers, asked.tolist(), strict=True)]
    for draw in range(DRAWS):
        built = orders["built", draw]
        orders["hard", draw] = built[np.argsort(ease[built], kind="stable")]
    return [orders[name, draw][:size] for name, size, draw in draws]


def finding(curve: DatasetCurve) -> str:
    """Return from which rows the baseline learns more than from as many built rows; "" where none are compared.

    Each kind of rows is compared at its largest size.
    """
    parts = grouped(
        (
            "more" if gain.ci95[0] > 0 else "less" if gain.costs else "not measurably more or less",
            f"{NAMES[name]} ({100 * gain.delta:+.1f} points, {points[-1].size:,} rows)",
        )
        for name, points in curve.arms.items()
        if (gain := points[-1].gain)
    )
    learns = "; ".join(f"{word} from {' and '.join(several)}" for word, several in parts.items())
    return learns and f"Compared with as many random built rows, the classical baseline learns {learns}"


def stored_curve(store: Folder, version: Version | None = None) -> DatasetCurve | None:
    """Return the curve of a version (the latest one if None) that `data curve` measured last; None without one."""
    found, version = store.read(NAME, DatasetCurve), version or latest_version(store)
    return found if found is not None and version is not None and found.version == version.id else None


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
