"""What training is expected to gain: an interval from a pilot of small trainings, or `unknown`.

The protocol: at least 4 sizes with 2 seeds each, extrapolated at most twofold. Raw against built data is compared
apart, at equal steps (`built_against_raw`): a curve that mixes both says nothing of either.

What the interval covers is the score of *one* training of that size, scored on the same cases. It is made wide by
what two seeds and four sizes cannot know: the form of the curve, the draw, the noise of a training. Over simulated
curves it covers at least 94 % where trainings differ as much as seeds do, and about 88 % where whole seeds differ
four times as much as trainings (two that agree by luck hide it; six seeds bring it back): see the tests.

Source: Hestness et al. 2017 (https://arxiv.org/abs/1712.00409) and Kaplan et al. 2020
(https://arxiv.org/abs/2001.08361) for the power law of learning curves; Viering and Loog 2021
(https://arxiv.org/abs/2103.10948) for its limits: no form fits always, so several are weighed here.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from tuneworthy.config.ladder import Economics
from tuneworthy.errors import join_sentences
from tuneworthy.train.plan import Expected
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import Forecast

Floats = NDArray[np.float64]

FEWEST_SIZES, FEWEST_SEEDS = 4, 2
# A size is forecast up to this multiple of the largest pilot.
FARTHEST = 2.0
# Of the power laws ``a - b * n ** -c``; c = 0 is the log-linear form.
EXPONENTS = (0.25, 0.5, 1.0)
FORMS = 1 + len(EXPONENTS)
BOOTSTRAPS = 400
# The interval reaches at least this multiple of what the forms miss the largest pilot by: they may be the wrong ones,
# which no residual tells.
MISSED_BEFORE = 2.0
EPOCHS = 3
# An epoch of 2,000 rows takes at most 1.5 h on one 24 GB GPU (8B, QLoRA). Source: 2M tokens at 30 to 45% of 165
# TFLOP/s.
HOURS_PER_ROW = 1.5 / 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotPoint:
    """One training of a pilot.

    Attributes:
        size: Examples it was trained on.
        seed: Of draw and training.
        score: Of the primary grader on dev, 0..1.
        data: `built` for data that passed the gates, `raw` for the same rows as they came.
        steps: Optimiser steps; raw and built are compared at equal ones. None if not known.
    """

    size: int
    seed: int
    score: float
    data: Literal["built", "raw"] = "built"
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltGain:
    """What building the data gained over the raw rows, at equal size, seed and steps.

    Attributes:
        gain: Mean of the paired differences, with its 95% interval (Student's t).
        n: Pairs.
    """

    gain: float
    ci95: tuple[float, float]
    n: int


def pilot_sizes(n_examples: int) -> list[int]:
    """Return the sizes of a pilot that may be extrapolated to `n_examples`: halves of halves.

    >>> pilot_sizes(1000)
    [62, 125, 250, 500]
    """
    return [max(1, n_examples // 2**power) for power in range(FEWEST_SIZES, 0, -1)]


def pilot_cost(
    n_examples: int, settings: Economics | None = None, expect: Callable[[int], Expected | None] = lambda _: None
) -> str:
    """Say what a pilot would cost: trainings, time and US dollars; an estimate, in sentences.

    Args:
        n_examples: Size that is to be forecast.
        settings: The section `[economics]`, for the price of the GPU.
        expect: From a number of rows to how long training on them takes here; an 8B model on a GPU is assumed where it
            returns None.
    """
    sizes, usd_per_hour = pilot_sizes(n_examples), (settings or Economics()).gpu_usd_per_hour
    rows = FEWEST_SEEDS * (sum(sizes) + sizes[-1])  # and the raw rows once more, at the largest size
    found, hours = expect(rows), rows * EPOCHS * HOURS_PER_ROW
    estimate = messages.say("pilot_hours", hours=hours, usd=hours * usd_per_hour)
    if found is not None:
        price = messages.say("pilot_usd", usd=found.duration.high / 3600 * usd_per_hour)
        on_gpu = found.device == "cuda"
        estimate = messages.say("pilot_duration", duration=found.duration, usd=price if on_gpu else "", base=found.base)
    return messages.say(
        "pilot_plan",
        n=FEWEST_SEEDS * (len(sizes) + 1),
        sizes=", ".join(map(str, sizes)),
        seeds=FEWEST_SEEDS,
        estimate=estimate,
    )


def forecast(
    points: Sequence[PilotPoint],
    n_examples: int,
    baseline: float,
    *,
    seed: int = 0,
    cost: Callable[[int], str] = pilot_cost,
) -> Forecast:
    """Forecast the gain over `baseline` of training on `n_examples`.

    Args:
        points: The pilot, in any order; raw points are left out.
        n_examples: Size to forecast; brought down to twice the largest pilot if it is beyond.
        baseline: Score of what training must beat, on the cases of the pilot.
        seed: Of the bootstrap.
        cost: Says what a pilot for a number of examples would cost.

    Returns:
        `unknown`, with what a pilot would cost, if it is too small: there is no gain to tell.
    """
    built = sorted((p for p in points if p.data == "built"), key=lambda p: (p.size, p.seed, p.score))
    seeds: dict[int, set[int]] = defaultdict(set)
    for point in built:
        seeds[point.size].add(point.seed)
    measured = tuple((point.size, point.seed, point.score) for point in built)
    enough = [size for size, found in seeds.items() if len(found) >= FEWEST_SEEDS]
    if len(enough) < FEWEST_SIZES:
        so_far = messages.say("pilot_so_far", n=len(enough), sizes=FEWEST_SIZES, seeds=FEWEST_SEEDS) if enough else ""
        return Forecast(status="unknown", points=measured, cost=join_sentences(cost(n_examples), so_far))
    size = min(n_examples, int(FARTHEST * max(seeds)))
    expected, lo, hi = _predict(built, size, seed)
    return Forecast(
        status="measured",
        gain=expected - baseline,
        ci95=(lo - baseline, hi - baseline),
        n_examples=size,
        points=measured,
    )


def built_against_raw(points: Sequence[PilotPoint]) -> BuiltGain | None:
    """Return what building the data gained, from pairs of equal size, seed and steps; None with fewer than two."""
    scores = {(point.size, point.seed, point.steps, point.data): point.score for point in points}
    differences = [
        scores[size, seed, steps, "built"] - raw
        for (size, seed, steps, data), raw in scores.items()
        if data == "raw" and (size, seed, steps, "built") in scores
    ]
    n = len(differences)
    if n < 2:
        return None
    mean = float(np.mean(differences))
    half = float(stdtrit(n - 1, 0.975)) * float(np.std(differences, ddof=1)) / n**0.5
    return BuiltGain(gain=mean, ci95=(mean - half, mean + half), n=n)


def _predict(points: Sequence[PilotPoint], size: int, seed: int) -> tuple[float, float, float]:
    """Return the expected score at `size` and the interval of one training: the wider of two, clipped to 0..1.

    One is Student's t over the weighed forms (fit, form, draw and noise add up); the other a bootstrap of whole
    seeds and sizes that draws new noise.
    """
    n = np.array([point.size for point in points], dtype=np.float64)
    y = np.array([point.score for point in points], dtype=np.float64)
    seeds = np.array([point.seed for point in points])
    x, at = _features(n), _features(np.array([float(size)]))[:, 0]
    level, slope, rss = _fit(x, y, np.ones((1, y.size)))
    weights = _weigh(rss, y.size)[0]
    each = (level + slope * at)[0]
    expected = float(weights @ each)
    freedom = y.size - 3  # two parameters and the choice of the form
    residuals = y - weights @ (level[0][:, None] + slope[0][:, None] * x)
    noise = float(residuals @ residuals) / freedom
    centred = x - x.mean(axis=1, keepdims=True)
    leverage = 1 / y.size + (at - x.mean(axis=1)) ** 2 / (centred**2).sum(axis=1)
    of_form = float(weights @ (each - expected) ** 2)
    variance = noise * (1 + float(weights @ leverage)) + of_form + _between_seeds(residuals, seeds)
    half = float(stdtrit(freedom, 0.975)) * variance**0.5
    low, high = _bootstrap(x, at, (y, n, seeds), (residuals, freedom), seed)
    half = max(half, MISSED_BEFORE * _missed(x, y, n))
    lo, hi = min(expected - half, low), max(expected + half, high)
    return tuple(float(np.clip(value, 0.0, 1.0)) for value in (expected, lo, hi))  # type: ignore[return-value]


def _missed(x: Floats, y: Floats, n: Floats) -> float:
    """Return by how much the forms, fitted to the smaller sizes, miss the mean score of the largest."""
    last = n == n.max()
    level, slope, rss = _fit(x, y, (~last)[None, :].astype(np.float64))
    weights = _weigh(rss, int((~last).sum()))[0]
    there = level[0] + slope[0] * x[:, last][:, 0]
    return abs(float(weights @ there) - float(y[last].mean()))


def _features(n: Floats) -> Floats:
    """Return what each form is linear in, `(n_forms, n_points)`."""
    return np.stack([np.log(n), *(-(n**-c) for c in EXPONENTS)])


def _fit(x: Floats, y: Floats, counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit every form by least squares to every weighting of the points.

    Args:
        x: `(n_forms, n_points)`.
        y: `(n_points,)`.
        counts: How often each point counts, `(n_fits, n_points)`.

    Returns:
        Level, slope and residual sum of squares, each `(n_fits, n_forms)`.
    """
    total = counts.sum(axis=1, keepdims=True)
    mean_x, mean_y = counts @ x.T / total, (counts @ y)[:, None] / total
    xx = counts @ (x.T**2) - total * mean_x**2
    xy = counts @ (x * y).T - total * mean_x * mean_y
    yy = (counts @ y**2)[:, None] - total * mean_y**2
    slope = xy / np.maximum(xx, 1e-12)
    return mean_y - slope * mean_x, slope, np.maximum(yy - slope * xy, 0.0)


def _weigh(rss: Floats, n_points: int) -> Floats:
    """Return the weight of each form, `(n_fits, n_forms)`: its likelihood, as all have as many parameters."""
    score = n_points / 2 * np.log(rss + 1e-9)
    weights = np.exp(score.min(axis=1, keepdims=True) - score)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _between_seeds(residuals: Floats, seeds: NDArray[np.int64]) -> float:
    """Return the variance of one more seed that comes from whole seeds being better or worse, beyond their noise."""
    groups = [residuals[seeds == seed_of_run] for seed_of_run in np.unique(seeds)]
    if len(groups) < 2:
        return 0.0
    means = np.array([group.mean() for group in groups])
    within = float(np.mean([group.var(ddof=1) / group.size for group in groups if group.size > 1] or [0.0]))
    return max(0.0, float(means.var(ddof=1)) - within) * (1 + 1 / len(groups))


def _bootstrap(
    x: Floats,
    at: Floats,
    points: tuple[Floats, Floats, NDArray[np.int64]],
    noise: tuple[Floats, int],
    seed: int,
) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of one training at `at`: seeds, sizes and its noise are drawn again.

    Args:
        x: Features of the points, `(n_forms, n_points)`.
        at: Of the size, `(n_forms,)`.
        points: Scores, sizes and seeds.
        noise: Residuals and their degrees of freedom.
        seed: Of the draws.
    """
    y, n, seeds = points
    residuals, freedom = noise
    rng = np.random.default_rng(seed)
    sizes, runs = np.unique(n), np.unique(seeds)
    of_size = rng.multinomial(sizes.size, np.full(sizes.size, 1 / sizes.size), BOOTSTRAPS)
    of_size = of_size[(of_size > 0).sum(axis=1) >= 3]  # a line through two sizes says nothing of the form
    of_seed = rng.multinomial(runs.size, np.full(runs.size, 1 / runs.size), len(of_size))
    counts = of_size[:, np.searchsorted(sizes, n)] * of_seed[:, np.searchsorted(runs, seeds)]
    counts = counts[((counts > 0) @ (n[:, None] == sizes[None, :]).astype(np.int64) > 0).sum(axis=1) >= 3].astype(
        np.float64
    )
    level, slope, rss = _fit(x, y, counts)
    weights = _weigh(rss, y.size)
    drawn = rng.choice(residuals, len(counts)) * (y.size / freedom) ** 0.5
    low, high = np.quantile((weights * (level + slope * at)).sum(axis=1) + drawn, [0.025, 0.975])
    return float(low), float(high)
