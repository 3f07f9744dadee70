"""What training is expected to gain: a lower bound from a pilot of small trainings, or `unknown`.

The protocol: at least 4 sizes with 2 seeds each, extrapolated at most twofold. Raw against built data is compared
apart, at equal steps (`built_against_raw`): a curve that mixes both says nothing of either.

What the lower bound covers is the score of *one* training of that size, scored on the same cases. Nothing that was not
observed is claimed: no form of a curve is assumed, as a step or a late rise beyond the largest pilot cannot be told
from it. The bound starts from the score of the largest size, or from where the curve bends to at the forecast size if
it bends down, less the noise of trainings. An upper bound is given only where the curve has flattened; a rise after it
is not excluded. Measured by `scripts/simulations/forecasts.py`.

Source: Viering and Loog 2021 (https://arxiv.org/abs/2103.10948), section 6: learning curves that are no power laws.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from tuneworthy.arrays import Floats
from tuneworthy.config.ladder import Economics
from tuneworthy.errors import join_sentences
from tuneworthy.train.plan import Expected
from tuneworthy.types import Bounds, frozen
from tuneworthy.verdict.base import Forecast

FEWEST_SIZES, FEWEST_SEEDS = 4, 2
# A size is forecast up to this multiple of the largest pilot.
FARTHEST = 2.0
# One-sided error for each bound: so that the lower one covers 90% of every family of curves that was simulated, and
# lies at most 15 points below what a power law reaches.
BOUND_ALPHA = 0.075
# A curve has flattened where twice the data gain less than this, by the upper bound of the last doubling.
FLAT = 0.03
EPOCHS = 3
# An epoch of 2,000 rows takes at most 1.5 h on one 24 GB GPU (8B, QLoRA). Source: 2M tokens at 30 to 45% of 165
# TFLOP/s.
HOURS_PER_ROW = 1.5 / 2000


@frozen
class PilotPoint:
    """One training of a pilot.

    Attributes:
        size: Examples it was trained on.
        seed: Of draw and training.
        score: Of the primary grader on dev, 0..1.
        data: `built` for data that passed the gates, `raw` for the same rows as they came, `continued` for built rows
            after raw text.
        steps: Optimiser steps; raw and built are compared at equal ones. None if not known.
    """

    size: int
    seed: int
    score: float
    data: Literal["built", "raw", "continued"] = "built"
    steps: int | None = None


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
    estimate = (
        f"at most {hours:.1f} GPU hours (${hours * usd_per_hour:.2f}) for an 8B model; the speed of this base "
        "model is unknown"
    )
    if found is not None:
        price = f", at most ${found.duration.high / 3600 * usd_per_hour:.2f},"
        on_gpu = found.device == "cuda"
        estimate = f"{found.duration}{price if on_gpu else ''} for {found.base}"
    return (
        f"A pilot takes up to {FEWEST_SEEDS * (len(sizes) + 1)} short training runs: {', '.join(map(str, sizes))} "
        f"examples with {FEWEST_SEEDS} seeds each, and the largest size again on the raw rows if the checks "
        f"dropped any. Estimate: {estimate}."
    )


def forecast(
    points: Sequence[PilotPoint],
    n_examples: int,
    baseline: float,
    *,
    cost: Callable[[int], str] = pilot_cost,
) -> Forecast:
    """Forecast the gain over `baseline` of training on `n_examples`.

    Args:
        points: The pilot, in any order; raw points are left out.
        n_examples: Size to forecast; brought down to twice the largest pilot if it is beyond.
        baseline: Score of the model before any training, on the cases of the pilot.
        cost: Says what a pilot for a number of examples would cost.

    Returns:
        `unknown`, with what a pilot would cost, if it is too small: there is no gain to tell.
    """
    built = sorted((p for p in points if p.data == "built"), key=lambda p: (p.size, p.seed, p.score))
    seeds = defaultdict(set)
    for point in built:
        seeds[point.size].add(point.seed)
    measured = tuple((point.size, point.seed, point.score) for point in built)
    enough = [size for size, found in seeds.items() if len(found) >= FEWEST_SEEDS]
    if len(enough) < FEWEST_SIZES:
        return Forecast(
            status="unknown",
            points=measured,
            cost=join_sentences(
                cost(n_examples),
                f"Sizes measured with {FEWEST_SEEDS} seeds so far: {len(enough)} of {FEWEST_SIZES}." if enough else "",
            ),
        )
    size = min(n_examples, int(FARTHEST * max(seeds)))
    expected, low, high = _bounds(built, size)
    return Forecast(
        status="measured",
        baseline=baseline,
        gain=expected - baseline,
        ci95=(low - baseline, None if high is None else high - baseline),
        n_examples=size,
        points=measured,
    )


def built_against_raw(points: Sequence[PilotPoint]) -> tuple[float, Bounds] | None:
    """Return the gain of the built over the raw rows, from pairs of equal size, seed and steps; None below two pairs.

    Returns:
        The mean of the paired differences, and its 95% interval (Student's t).
    """
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
    return mean, (mean - half, mean + half)


def _bounds(points: Sequence[PilotPoint], size: int) -> tuple[float, float, float | None]:
    """Return the score that is expected at `size` and its one-sided bounds; None where the curve has not flattened.

    Expected is the mean of the largest size, or the parabola in the logarithm of the size where that bends down to
    less. The noise of one more training is that between seeds.
    """
    sizes = np.unique([point.size for point in points])
    cells = [np.array([point.score for point in points if point.size == one]) for one in sizes]
    means, counts = np.array([cell.mean() for cell in cells]), np.array([cell.size for cell in cells])
    x, at = np.log2(sizes / sizes[-1]), np.log2(size / sizes[-1])
    powers, here = np.vander(x, 3), np.vander([at], 3)[0]
    solved = np.linalg.solve(powers.T @ (counts[:, None] * powers), powers.T * counts)
    ahead, leverage = float(here @ solved @ means), float(here @ solved @ (here @ solved / counts))
    bends = ahead < means[-1]
    expected = float(np.clip(ahead if bends else means[-1], 0.0, 1.0))
    deviation, freedom = _noise(points, cells)
    t = float(stdtrit(freedom, 1 - BOUND_ALPHA))
    low = max(0.0, expected - t * deviation * (1 + (leverage if bends else 1 / float(counts[-1]))) ** 0.5)
    rises = np.diff(means) / np.diff(x)
    steepest = rises[-1] + t * deviation * (1 / counts[-1] + 1 / counts[-2]) ** 0.5 / (x[-1] - x[-2])
    if max(steepest, rises[-2]) >= FLAT:
        return expected, low, None
    half = t * deviation * (1 + 1 / counts[-1]) ** 0.5
    # A curve that is straight in the size gains twice as much with each doubling as with the one before.
    return expected, low, min(1.0, float(means[-1] + half + 2 * max(0.0, steepest) * max(0.0, at)))


def _noise(points: Sequence[PilotPoint], cells: Sequence[Floats]) -> Bounds:
    """Return the standard deviation between trainings of one size, and its degrees of freedom.

    Seeds that are better or worse as a whole are few however many sizes there are (Satterthwaite).
    """
    freedom = sum(cell.size - 1 for cell in cells)
    variance = float(sum(((cell - cell.mean()) ** 2).sum() for cell in cells)) / freedom
    level = {size: cell.mean() for size, cell in zip(sorted({p.size for p in points}), cells, strict=True)}
    of_seed = defaultdict(list)
    for point in points:
        of_seed[point.seed].append(point.score - level[point.size])
    whole = [sum(rest) ** 2 / len(rest) for rest in of_seed.values()]
    n_seeds = len(whole)
    between = sum(whole) / max(1, n_seeds - 1)
    n_sizes = len(cells)
    within = max(0.0, (variance * freedom - sum(whole)) / max(1, freedom - (n_seeds - 1)))
    parts = (between / n_sizes, n_seeds - 1), ((n_sizes - 1) * within / n_sizes, freedom - (n_seeds - 1))
    spread = sum(part**2 / df for part, df in parts if df > 0)
    return variance**0.5, max(1.0, sum(part for part, _ in parts) ** 2 / spread) if spread > 0 else float(freedom)
